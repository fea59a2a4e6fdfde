"""What a year of users would meet, in half an hour: damaged files, kills, full disks, long runs, many clients.

    make soak                                            # everything, as a Markdown table
    python benchmarks/soak.py --only mutations --seed 7  # one part, other random choices

Every part counts what went wrong and how often it tried; the exit code is 1 if anything did. Weights are the embedded
checkpoints. Nothing is written outside of a temporary folder.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import soak_clients
import soak_exports
import soak_memory
import soak_mutations
import typer
from soak_parts import Desk, Row

from nexus_edge.runtimes.machine import machine

PARTS: dict[str, Callable[[Desk], list[Row]]] = {
    "mutations": soak_mutations.run,
    "kills": soak_exports.run_kills,
    "disks": soak_exports.run_full_disks,
    "memory": soak_memory.run,
    "clients": soak_clients.run,
}


def main(
    only: Annotated[list[str] | None, typer.Option(metavar="|".join(PARTS), help="Repeat it for several.")] = None,
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 0,
    scale: Annotated[float, typer.Option(help="Share of the work: 0.01 is a quick look.")] = 1.0,
) -> None:
    """Run the parts and print a row for each thing that was tried."""
    unknown = [name for name in only or () if name not in PARTS]
    if unknown:
        raise typer.BadParameter(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    print(f"{machine()}, seed {seed}, scale {scale:g}\n")
    print("| what | tried | wrong | measured | s |\n|---|---|---|---|---|")
    wrong: list[str] = []
    for name in only or PARTS:
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            started = time.perf_counter()
            rows = PARTS[name](Desk(Path(folder), seed, scale))
            seconds = time.perf_counter() - started
        for index, row in enumerate(rows):
            spent = f"{seconds:.0f}" if index == 0 else ""
            print(f"| {row.what} | {row.tried:,} | {len(row.wrong)} | {row.measured} | {spent} |", flush=True)
            wrong += [f"{row.what}: {problem}" for problem in row.wrong]
    for problem in wrong[:20]:
        print(f"\n{problem}")
    raise typer.Exit(1 if wrong else 0)


if __name__ == "__main__":
    typer.run(main)
