"""Whether the ladder's limits hold for checkpoints that nobody set them on: exports them all, and counts rejections.

    python benchmarks/foreign_checkpoints.py /tmp/foreign                       # every family, scheme and target
    python benchmarks/foreign_checkpoints.py /tmp/foreign --family biomedclip --scheme int8 --target openvino --count 5

Every checkpoint is sound, so every rejection is a false one. The folder keeps what was found: the same command goes on
where it stopped. The table is Markdown.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, get_args

import typer
from foreign import FAMILIES

from nexus_edge.checkpoints import open_checkpoint
from nexus_edge.errors import ParityError
from nexus_edge.parity.report import Report, from_json, utilisation
from nexus_edge.pipeline import export
from nexus_edge.recipe import find_recipe
from nexus_edge.request import Precision
from nexus_edge.targets import TARGETS

SCHEMES = tuple(get_args(Precision))


@dataclass(frozen=True)
class Row:
    """One checkpoint in one scheme on one target; `share` is that of its tolerance that the tightest gate uses."""

    family: str
    checkpoint: str
    scheme: str
    target: str
    verdict: str
    share: float
    gate: str
    seconds: float


def climb(family: str, name: str, scheme: str, targets: Sequence[str]) -> Iterator[Row]:
    """Export one checkpoint with its ladder, once for all targets."""
    with tempfile.TemporaryDirectory(prefix="nexus-edge-") as folder:
        source, out = Path(folder) / "checkpoint", Path(folder) / "bundle"
        FAMILIES[family].checkpoints[name](source)
        recipe = find_recipe(family, scheme).with_targets(tuple(targets))
        started = time.perf_counter()
        with suppress(ParityError):  # what the report says, too
            export(open_checkpoint(str(source), recipe.checkpoint), recipe, out)
        seconds = time.perf_counter() - started
        report = from_json((out / "parity" / "report.json").read_text("utf-8"))
    for target in targets:
        yield Row(family, name, scheme, target, *_verdict(report, target), round(seconds / len(targets), 1))


def _verdict(report: Report, target: str) -> tuple[str, float, str]:
    """Of one target: the verdict, and the gate nearest to its limit with the rung it is on."""
    statuses = {rung.name: rung.status_of(target) for rung in report.rungs}
    gated = [
        (utilisation(check), f"{rung.name} {check.finding}")
        for rung in report.rungs
        for check in rung.checks
        if check.target in ("", target) and check.gate is not None
    ]
    share, gate = max(gated)
    not_run = [name for name, status in statuses.items() if status == "not run"]
    if "failed" in statuses.values():
        return "rejected", share, gate
    return ("passed" if not not_run else f"{', '.join(not_run)} not run"), share, gate


def table(rows: Sequence[Row]) -> Iterator[str]:
    """A line for each checkpoint, a column for each scheme and target: the share that its tightest gate uses."""
    columns = sorted({(row.scheme, row.target) for row in rows}, key=lambda c: (SCHEMES.index(c[0]), c[1]))
    yield "| family | checkpoint | " + " | ".join(f"{scheme} {target}" for scheme, target in columns) + " |"
    yield "|---|---|" + "---|" * len(columns)
    found = {(row.family, row.checkpoint, row.scheme, row.target): row for row in rows}
    for family, name in dict.fromkeys((row.family, row.checkpoint) for row in rows):
        cells = [_cell(found.get((family, name, *column))) for column in columns]
        yield f"| {family} | {name} | " + " | ".join(cells) + " |"


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    return f"{row.share:.2f}" if row.verdict == "passed" else f"**{row.verdict}**"


def main(
    folder: Annotated[Path, typer.Argument(help="Where results are kept, one JSON line each.")],
    family: Annotated[list[str] | None, typer.Option(help="; ".join(FAMILIES))] = None,
    scheme: Annotated[list[str] | None, typer.Option(help="; ".join(SCHEMES))] = None,
    target: Annotated[list[str] | None, typer.Option(help="; ".join(TARGETS))] = None,
    count: Annotated[int | None, typer.Option(help="Only so many checkpoints of a family.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Forget what was found before.")] = False,
) -> None:
    """Export every foreign checkpoint, and print a table; exit code 3 if one was rejected."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "rows.jsonl"
    if again:
        kept.unlink(missing_ok=True)
    lines = kept.read_text("utf-8").splitlines() if kept.is_file() else []
    rows = [Row(**json.loads(line)) for line in lines]
    done = {(row.family, row.checkpoint, row.scheme, row.target) for row in rows}
    for chosen in family or list(FAMILIES):
        for name in islice(FAMILIES[chosen].checkpoints, count):
            for precision in scheme or list(SCHEMES):
                open_targets = [t for t in target or list(TARGETS) if (chosen, name, precision, t) not in done]
                for row in climb(chosen, name, precision, open_targets) if open_targets else ():
                    rows.append(row)
                    with kept.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(asdict(row)) + "\n")
                    print(f"{row.seconds:6.1f} s  {row.verdict:9} {row.share:5.2f}  {row}", file=sys.stderr, flush=True)
    print("\n".join(table(rows)))
    rejected = [row for row in rows if row.verdict != "passed"]
    print(f"\n{len(rows)} ladders, {len(rejected)} rejected, {sum(row.seconds for row in rows) / 60:.0f} minutes")
    for row in rejected:
        print(f"- {row.family}, {row.checkpoint}, {row.scheme}, {row.target}: {row.gate}")
    if rejected:
        raise typer.Exit(ParityError.exit_code)


if __name__ == "__main__":
    typer.run(main)
