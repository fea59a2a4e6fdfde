"""What `nexus-edge tune` found to be the fastest for a bundle on this machine, kept in the user's cache folder.

The file is a convenience: one that is missing or damaged means that nothing was measured yet.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nexus_edge._atomic import replaced_when_done
from nexus_edge._text import parse_json, read_text
from nexus_edge.bundle import Bundle
from nexus_edge.engines.openvino.settings import OpenVinoSettings
from nexus_edge.errors import OutputError
from nexus_edge.runtimes.machine import machine

FOLDER_VARIABLE = "NEXUS_EDGE_CACHE"


@dataclass(frozen=True)
class Tuned:
    """The engine that was fastest, None if none was measured, and how OpenVINO is to compute."""

    engine: str | None = None
    openvino: OpenVinoSettings = field(default_factory=OpenVinoSettings)


def cache_file() -> Path:
    """tuning.json in the folder that NEXUS_EDGE_CACHE names, else in the user's cache folder."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder:
        return Path(folder) / "tuning.json"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nexus-edge" / "tuning.json"


def tuned(bundle: Bundle, threads: int | None) -> Tuned:
    """What was found for this bundle with this number of threads; the defaults if nothing was."""
    entry = _read().get(_key(bundle, threads))
    if not isinstance(entry, dict):
        return Tuned()
    try:
        return Tuned(entry["engine"], OpenVinoSettings(**entry["openvino"]))
    except (KeyError, TypeError, ValueError):
        return Tuned()


def remember(bundle: Bundle, threads: int | None, found: Tuned | None) -> None:
    """Keep what was found, or forget it if None; raises OutputError if the folder cannot be written."""
    entries = dict(_read())
    entries.pop(_key(bundle, threads), None)
    if found is not None:
        entries[_key(bundle, threads)] = asdict(found)
    try:
        cache_file().parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{cache_file()}: cannot be written: {error.strerror}") from error
    with replaced_when_done(cache_file()) as path:
        path.write_text(json.dumps(entries, indent=2) + "\n", "utf-8")


def _read() -> Mapping[str, Any]:
    try:
        entries = parse_json(read_text(cache_file()))
    except (OSError, ValueError, RecursionError):
        return {}
    return entries if isinstance(entries, dict) else {}


def _key(bundle: Bundle, threads: int | None) -> str:
    """The machine, the threads, and the files of the graphs: another export is another model to measure."""
    files = sorted(
        file for graphs in bundle.manifest.graphs.values() for graph in graphs.values() for file in graph.files
    )
    hashes = [bundle.manifest.files[file].sha256[:8] for file in files if file in bundle.manifest.files]
    return f"{machine()}, threads {threads or 'all'}, {'-'.join(hashes)}"
