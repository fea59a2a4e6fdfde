"""A process that holds one bundle: its setup and requests on stdin, replies on stdout, a line each.

Its own process, so that peak memory is that of one bundle, and so that two bundles can take turns. What libraries print
goes to stderr.
"""

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nexus_edge.bundle import Bundle
from nexus_edge.compare.inputs import Inputs, carried
from nexus_edge.compare.record import encode
from nexus_edge.compare.subjects import Load, Subject, subject_of
from nexus_edge.errors import NexusEdgeError
from nexus_edge.runtimes import EngineOptions


class Child:
    """Answers requests; `setup` is what `run` made."""

    def __init__(self, setup: Mapping[str, Any]) -> None:
        self._bundle = Bundle.open(setup["bundle"], allow_rejected=setup["allow_rejected"])
        self._target: str = setup["target"]
        self._options = EngineOptions(setup["threads"], engine=setup["engine"], device=setup["device"])
        asked = setup["inputs"]
        self._inputs: Inputs = carried(Bundle.open(setup["carrier"])) if asked is None else Inputs.of_plain(asked)
        load = Load(setup["prompt_tokens"], setup["new_tokens"], tuple(Path(image) for image in setup["images"]))
        self._subject: Subject = subject_of(self._bundle, self._options, load)

    def reply(self, request: str) -> dict[str, Any]:
        """To one of: load, speeds, ask, trace, end."""
        if request == "load":
            return {"seconds": self._subject.load()}
        if request == "speeds":
            return {"speeds": self._subject.speeds()}
        if request == "ask":
            replies, vectors = self._subject.ask(self._inputs)
            found = [{"item": reply.item, "text": reply.text, "right": reply.right} for reply in replies]
            return {"replies": found, "vectors": {name: encode(rows) for name, rows in vectors.items()}}
        if request == "trace":
            return self._trace()
        from nexus_edge.runtimes.machine import peak_rss_bytes

        return {"peak_bytes": peak_rss_bytes()}

    def _trace(self) -> dict[str, Any]:
        from nexus_edge.compare.drift import trace
        from nexus_edge.parity.report.report import NotRunError

        try:
            layers, vectors = trace(self._bundle, self._target, self._inputs)
        except NotRunError as error:
            return {"not_run": str(error)}
        return {
            "layers": {name: [encode(rows) for rows in values] for name, values in layers.items()},
            "vectors": {name: encode(rows) for name, rows in vectors.items()},
        }


def main() -> None:
    """Serve until stdin ends, which it does with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, who ends this process
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    setup = json.loads(sys.stdin.readline() or "null")
    child: Child | None = None
    for line in sys.stdin:
        try:
            child = child or Child(setup)
            reply = child.reply(line.strip())
        except NexusEdgeError as error:
            reply = {"error": [type(error).__name__, str(error)]}
        channel.write(json.dumps(reply) + "\n")
        channel.flush()
