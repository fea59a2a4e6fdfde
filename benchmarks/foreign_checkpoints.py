"""Whether the ladder's limits hold for checkpoints that nobody set them on: exports them all, and counts rejections.

    python benchmarks/foreign_checkpoints.py /tmp/foreign                       # every family, scheme and target
    python benchmarks/foreign_checkpoints.py /tmp/foreign --family biomedclip --scheme int8 --target openvino --count 5

Every checkpoint is sound, so every rejection is a false one. What P4 finds with right weights is none: it compares two
models in PyTorch, and a checkpoint that its scheme costs more than P4 allows is "over budget", as a user would be told.
The folder keeps what was found: the same command goes on where it stopped. The table is Markdown.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from foreign import FAMILIES
from foreign.reuse import translated_once

from nexus_edge.axes import targets
from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import open_checkpoint
from nexus_edge.errors import ParityError
from nexus_edge.parity import ladder
from nexus_edge.parity.ladder import RUNGS
from nexus_edge.parity.report.report import Report, utilisation
from nexus_edge.pipeline.export import export
from nexus_edge.pipeline.request import WeightFormat
from nexus_edge.recipe import find_recipe

SCHEMES = tuple(get_args(WeightFormat))
OVER_BUDGET = "over budget"
IMAGES = 48  # held-out ones that P4 looks at, of 150


@dataclass
class Known:
    """What runs share: translated graphs, and what need not be judged again.

    Attributes:
        translations: see `translated_once`
        original: families that P1 has vouched for
        graphs: families, checkpoints and targets that P2 has judged
    """

    translations: dict[Any, Any] = field(default_factory=dict)
    original: set[str] = field(default_factory=set)
    graphs: set[tuple[str, str, str]] = field(default_factory=set)

    def rungs(self, family: str, name: str, targets: Sequence[str]) -> list[str]:
        """Those to be judged: P1 says nothing of a checkpoint, and P2 nothing of a scheme."""
        wanted = {(family, name, target) for target in targets}
        left_out = ("P1" if family in self.original else "", "P2" if wanted <= self.graphs else "")
        self.original.add(family)
        self.graphs |= wanted
        return [rung for rung in RUNGS if rung not in left_out]


@dataclass(frozen=True)
class Row:
    """One checkpoint in one scheme on one target.

    Attributes:
        share: of its tolerance that the tightest gate uses; weights are left out, of which the worst is always rounded
            by half a step, and that is the limit
        gate: which one that is
        failed: what every gate says that failed
        seconds: of CPU time
    """

    family: str
    checkpoint: str
    scheme: str
    target: str
    verdict: str
    share: float
    gate: str
    failed: tuple[str, ...]
    seconds: float


def judge(family: str, name: str, wanted: Mapping[str, Sequence[str]], known: Known) -> Iterator[Row]:
    """Export one checkpoint in some schemes, and run its ladder once for all targets of a scheme.

    Args:
        family, name: see `FAMILIES`
        wanted: scheme -> targets
        known: of earlier calls
    """
    with tempfile.TemporaryDirectory(prefix="nexus-edge-") as folder:
        source = Path(folder) / "checkpoint"
        FAMILIES[family].checkpoints[name](source)
        for scheme, targets in wanted.items():
            started = time.process_time()
            recipe = find_recipe(family, scheme).with_targets(tuple(targets))
            checkpoint = open_checkpoint(str(source), recipe.checkpoint)
            bundle = Path(folder) / scheme
            with translated_once(json.dumps(checkpoint.config, sort_keys=True), known.translations):
                export(checkpoint, recipe, bundle, parity=False)
                run = ladder.prepare(Bundle.open(bundle, check=None), checkpoint)
                run.held_out_images = IMAGES
                report = ladder.run(run, known.rungs(family, name, targets))
            seconds = time.process_time() - started
            for target in targets:
                yield Row(family, name, scheme, target, *_verdict(report, target), round(seconds / len(targets), 1))


def _verdict(report: Report, target: str) -> tuple[str, float, str, tuple[str, ...]]:
    """Of one target: the verdict, the gate nearest to its limit, and all that failed, with the rungs they are on."""
    checks = [(rung.name, check) for rung in report.rungs for check in rung.checks if check.target in ("", target)]
    failed = tuple(f"{rung} {check.finding}" for rung, check in checks if check.status == "failed")
    share, gate = max(
        (utilisation(check), f"{rung} {check.finding}")
        for rung, check in checks
        if check.gate is not None and check.gate.metric != "steps"
    )
    not_run = [rung.name for rung in report.rungs if rung.status_of(target) == "not run"]
    if not failed:
        return f"{', '.join(not_run)} not run" if not_run else "passed", share, gate, failed
    costs = all(rung == "P4" and check.gate for rung, check in checks if check.status == "failed")
    stored = any(check.status == "failed" and check.stage.endswith(("weights", "numbers")) for _, check in checks)
    return OVER_BUDGET if costs and not stored else "rejected", share, gate, failed


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
    return {"passed": f"{row.share:.2f}", OVER_BUDGET: row.verdict}.get(row.verdict, f"**{row.verdict}**")


def main(
    folder: Annotated[Path, typer.Argument(help="Where results are kept, one JSON line each.")],
    family: Annotated[list[str] | None, typer.Option(help="; ".join(FAMILIES))] = None,
    scheme: Annotated[list[str] | None, typer.Option(help="; ".join(SCHEMES))] = None,
    target: Annotated[list[str] | None, typer.Option(help="; ".join(targets()))] = None,
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
    known = Known(graphs={(row.family, row.checkpoint, row.target) for row in rows})
    for chosen in family or list(FAMILIES):
        for name in islice(FAMILIES[chosen].checkpoints, count):
            formats = target or list(targets())
            wanted = {s: [t for t in formats if (chosen, name, s, t) not in done] for s in scheme or SCHEMES}
            for row in judge(chosen, name, {s: left for s, left in wanted.items() if left}, known):
                rows.append(row)
                with kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(row)) + "\n")
                print(f"{row.seconds:6.1f} s  {row.verdict:9} {row.share:5.2f}  {row}", file=sys.stderr, flush=True)
    print("\n".join(table(rows)))
    rejected = [row for row in rows if row.verdict not in ("passed", OVER_BUDGET)]
    costly = [row for row in rows if row.verdict == OVER_BUDGET]
    print(f"\n{len(rows)} ladders, {len(rejected)} rejected, {len(costly)} over budget")
    print(f"{sum(row.seconds for row in rows) / 60:.0f} minutes of CPU time")
    for row in rejected + costly:
        print(f"- {row.family}, {row.checkpoint}, {row.scheme}, {row.target}: {'; '.join(row.failed)}")
    if rejected:
        raise typer.Exit(ParityError.exit_code)


if __name__ == "__main__":
    typer.run(main)
