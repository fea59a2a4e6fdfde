"""What each recipe costs the embedded checkpoint: exact match on images that it was never trained on.

    python benchmarks/held_out.py                                 # every recipe of export/phi3-vision
    python benchmarks/held_out.py --recipe int4 --recipe mine.toml

Each bundle answers in the runtime that ships, greedily. The table is Markdown; nothing in it says anything about the
real model.
"""

import tempfile
from pathlib import Path
from typing import Annotated, get_args

import typer

import nexus_edge
from nexus_edge.assets.heldout import Accuracy, exact_match, held_out_questions
from nexus_edge.pipeline.request import WeightFormat

MODEL = "phi3-vision"
LONGEST = 96  # tokens; the longest right answer has about 60


def measure(recipe: str, folder: Path, limit: int | None) -> tuple[Accuracy, float]:
    """Exact match of one recipe's bundle, and its size in MB."""
    chosen = {"recipe": Path(recipe)} if recipe.endswith(".toml") else {"precision": recipe}
    bundle = nexus_edge.export(MODEL, checkpoint="tiny", out=folder / Path(recipe).stem, parity=False, **chosen)
    model = nexus_edge.load(bundle)
    accuracy = exact_match(
        lambda image, question: "".join(model.generate(question, [image], max_new_tokens=LONGEST)),
        held_out_questions(limit),
    )
    return accuracy, sum(file.size for file in bundle.manifest.files.values()) / 1e6


def main(
    recipe: Annotated[list[str] | None, typer.Option(metavar="NAME|FILE", help="Repeat it for several.")] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", help="Only the first questions.")] = None,
) -> None:
    """Print one row for each recipe, and one column for each kind of question."""
    recipes = recipe or list(reversed(get_args(WeightFormat)))
    with tempfile.TemporaryDirectory() as folder:
        rows = {name: measure(name, Path(folder), limit) for name in recipes}
    kinds = next(iter(rows.values()))[0].per_kind
    print(
        "| recipe | MB | exact match | " + " | ".join(f"{kind} ({asked})" for kind, (_, asked) in kinds.items()) + " |"
    )
    print("|---|" + "---|" * (len(kinds) + 2))
    for name, (found, size) in rows.items():
        each = " | ".join(f"{right / asked:.0%}" for right, asked in found.per_kind.values())
        print(f"| `{Path(name).stem}` | {size:.1f} | {found.right} of {found.asked}, {found.share:.1%} | {each} |")


if __name__ == "__main__":
    typer.run(main)
