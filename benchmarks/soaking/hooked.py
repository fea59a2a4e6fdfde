"""`nexus-edge` to which something happens at its n-th call that touches files below a folder.

    python hooked.py kill|fill|count N FOLDER export ...

`kill`: SIGKILL before the call; `fill`: the disk of FOLDER is full from then on; `count`: nothing, and the number of
calls is printed on stderr at the end. Random moments of the clock would miss what matters and takes milliseconds.
"""

import atexit
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CALLS = (
    "open",
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.chmod",
    "os.link",
    "os.truncate",
    "shutil.rmtree",
)


def kill(folder: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fill(folder: Path) -> None:
    """Write until nothing more goes in."""
    with (folder / "filler").open("wb", buffering=0) as file:
        for size in (2**20, 4096, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue


def hook(folder: Path, at: int, happens: Callable[[Path], None]) -> list[int]:
    """Let it happen before call `at`; returns a list with the number of calls so far."""
    done, inside = [0], str(folder)

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event in CALLS and any(isinstance(given, str | os.PathLike) and os.fspath(given).startswith(inside)
                                  for given in arguments[:2]):  # fmt: skip
            done[0] += 1
            if done[0] == at:
                happens(folder)

    sys.addaudithook(audit)
    return done


if __name__ == "__main__":
    from nexus_edge.cli.app import main

    what, at, folder, *arguments = sys.argv[1:]
    sys.argv = ["nexus-edge", *arguments]
    number = int(at)
    if what == "count":
        calls = hook(Path(folder), 0, kill)
        atexit.register(lambda: sys.stderr.write(f"{calls[0]}\n"))
    else:
        hook(Path(folder), number, {"kill": kill, "fill": fill}[what])
    main()
