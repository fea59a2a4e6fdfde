"""The parent's end of a process that holds one bundle; see child.py."""

import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Self

from nexus_edge import errors
from nexus_edge.errors import InputError, NexusEdgeError

# It finds modules where this process does, and not in the folder that the user happens to be in (-P).
START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from nexus_edge.compare.child import main; main()"


class Side:
    """A running process; leaving the `with` block ends it.

    Args:
        name: of the bundle, for messages
        setup: see `child.Child`
    """

    def __init__(self, name: str, setup: Mapping[str, Any]) -> None:
        self._name = name
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", START, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._send(json.dumps(setup))

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
        self._send(request)
        assert self._process.stdout is not None
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

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):  # it has ended; its reply, or that there is none, says how
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
