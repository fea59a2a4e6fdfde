"""What each rung of the parity ladder costs: seconds of a processor, and peak memory.

    python benchmarks/make_checkpoint.py /tmp/phi3-vision-synthetic
    nexus-edge export phi3-vision --int4 --checkpoint /tmp/phi3-vision-synthetic --out /tmp/bundle --no-parity
    python benchmarks/ladder_cost.py /tmp/bundle --checkpoint /tmp/phi3-vision-synthetic --max-memory 8

Seconds of a processor, because other work on the machine changes them less than seconds of a clock. A rung that comes
first pays for the passes that later ones use as well. Linux only.
"""

import re
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from nexus_edge.bundle import Bundle
from nexus_edge.errors import NexusEdgeError
from nexus_edge.parity.ladder import RUNGS, prepare, run

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak() -> float:
    """The largest resident memory since `RESET` was written, in GB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())
    assert found is not None
    return int(found[1]) * 1024 / 1e9


def main(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.")],
    checkpoint: Annotated[str | None, typer.Option(help="Default: what the bundle was made from.")] = None,
    max_memory: Annotated[float | None, typer.Option(help="GB that models may fill.")] = None,
    rungs: Annotated[str, typer.Option(help="Which, in their order.")] = ",".join(RUNGS),
) -> None:
    """Run rung by rung in one process and print a table."""
    try:
        allowed = None if max_memory is None else int(max_memory * 1e9)
        prepared = prepare(Bundle.open(bundle), checkpoint, max_memory=allowed)
        print("| rung | verdict | seconds of a processor | peak memory, GB |\n|---|---|---|---|")
        for name in rungs.split(","):
            RESET.write_text("5")  # the peak starts anew
            started = time.process_time()
            (rung,) = run(prepared, (name,)).rungs
            print(f"| {name} | {rung.status} | {time.process_time() - started:.0f} | {peak():.2f} |", flush=True)
            for note in rung.not_run(prepared.manifest.targets):
                print(note, file=sys.stderr)
    except NexusEdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from error


if __name__ == "__main__":
    typer.run(main)
