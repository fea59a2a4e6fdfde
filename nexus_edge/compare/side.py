"""The parent's end of a process that holds one bundle; see child.py."""

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Self

from nexus_edge import errors
from nexus_edge.errors import InputError, NexusEdgeError


class Side:
    """A running process; leaving the `with` block ends it.

    Args:
        name: of the bundle, for messages
        setup: see `child.Child`
    """

    def __init__(self, name: str, setup: Mapping[str, Any]) -> None:
        self._name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", "nexus_edge.compare.child", json.dumps(setup)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.kill()
        self._process.wait()

    def ask(self, request: str) -> dict[str, Any]:
        """The reply to a request.

        Raises:
            NexusEdgeError: what the process raised, or an InputError if it ended
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(request + "\n")
            self._process.stdin.flush()
        except OSError:
            pass  # it has ended; what follows says how
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            why = "killed, most likely because memory ran out" if code in (-9, 137) else f"exit code {code}"
            raise InputError(f"{self._name}: the process that measured it ended ({why}) at {request!r}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            name, text = reply["error"]
            kind = getattr(errors, name, NexusEdgeError)
            raise kind(text)
        return reply
