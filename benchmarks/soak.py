"""What a year of users would meet, in half an hour: damaged files, kills, full disks, long runs, many clients.

    make soak                                            # everything, as a Markdown table
    python benchmarks/soak.py --only mutations --seed 7  # one part, other random choices

Every part counts what went wrong and how often it tried; the exit code is 1 if anything did. Weights are the embedded
checkpoints. An interrupted run goes on where it stopped: finished steps are kept in --work, until the seed, the scale,
the code or the machine is another one. Nothing else is written outside of a temporary folder.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from soaking import clients, exports, memory, mutations
from soaking.desk import Desk, Row, Step
from soaking.record import Record, header

PARTS: dict[str, Callable[[Desk], Iterator[Step]]] = {
    "mutations": mutations.steps,
    "kills": exports.kills,
    "disks": exports.full_disks,
    "memory": memory.steps,
    "clients": clients.steps,
}
SHOWN = 20  # of the things that went wrong


def main(
    only: Annotated[list[str] | None, typer.Option(metavar="|".join(PARTS), help="Repeat it for several.")] = None,
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 0,
    scale: Annotated[float, typer.Option(help="Share of the work: 0.01 is a quick look.")] = 1.0,
    work: Annotated[Path, typer.Option(help="Where finished steps are kept.")] = Path("out/soak"),
) -> None:
    """Run the parts, say on stderr how far they are, and print a row for each thing that was tried."""
    unknown = [name for name in only or () if name not in PARTS]
    if unknown:
        raise typer.BadParameter(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    record = Record(work / "rows.jsonl", header(seed, scale))
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        desk = Desk(Path(folder), record.bundles, seed, scale)
        rows = [row for name in only or PARTS for step in PARTS[name](desk) for row in [finished(step, desk, record)]]
    wrong = [f"{row.what}: {problem}" for row in rows for problem in row.wrong]
    print(f"{record.header.machine}, {record.header.code}, seed {seed}, scale {scale:g}\n")
    print("| what | tried | wrong | measured | s | CPU s |\n|---|---|---|---|---|---|")
    for row in joined(rows):
        times = f"{row.seconds:.0f} | {row.cpu_seconds:.0f}"
        print(f"| {row.what} | {row.tried:,} | {len(row.wrong)} | {row.measured} | {times} |")
    print(f"\n{sum(row.tried for row in rows):,} tries, {len(wrong)} wrong, {sum(row.seconds for row in rows):.0f} s")
    for problem in wrong[:SHOWN]:
        print(f"\n{problem}")
    raise typer.Exit(1 if wrong else 0)


def finished(step: Step, desk: Desk, record: Record) -> Row:
    """The row of a step, which is worked out now unless an interrupted run did."""
    known = record.rows.get(step.name)
    if known is not None:
        return known
    row = step.timed(desk)
    record.add(step.name, row)
    print(f"{time.strftime('%H:%M:%S')} {step.name}: {row.tried:,} tried, {len(row.wrong)} wrong", file=sys.stderr)
    for problem in row.wrong[:3]:
        print(f"    {problem}", file=sys.stderr)
    return row


def joined(rows: list[Row]) -> list[Row]:
    """Steps of the same thing as one row, in the order of their first."""
    found: dict[str, Row] = {}
    for row in rows:
        found[row.what] = row + found[row.what] if row.what in found else row
    return list(found.values())


if __name__ == "__main__":
    typer.run(main)
