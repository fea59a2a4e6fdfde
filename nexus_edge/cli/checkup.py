"""What `nexus-edge doctor` finds out."""

import importlib.metadata
import os
import platform
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nexus_edge.axes import engine_module, engines, targets
from nexus_edge.interfaces.engine_info import EngineInfo, EngineState

PACKAGE = "nexus-edge"
# What decides how fast quantized graphs run; as /proc/cpuinfo names them on x86 and on Arm.
FEATURES = (
    "avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm",
    "bf16", "sve",
)  # fmt: skip
REQUIREMENT = re.compile(r"""(?P<name>[A-Za-z0-9._-]+)[^;]*(?:;.*extra\s*==\s*['"](?P<extra>[\w-]+)['"])?""")


@dataclass(frozen=True)
class ExtraState:
    """An extra, the packages of it that are not installed, and the command that brings them."""

    name: str
    missing: tuple[str, ...]
    install: str


@dataclass(frozen=True)
class Place:
    """A folder that is written to, or would be."""

    name: str
    path: str
    free_bytes: int
    writable: bool


@dataclass
class Checkup:
    """All of it; `problems` are what keeps this installation from working."""

    versions: dict[str, str]
    system: str
    processor: str
    cores: int | None
    features: tuple[str, ...]
    memory_bytes: int | None
    memory_free_bytes: int | None
    engines: tuple[EngineState, ...]
    extras: tuple[ExtraState, ...]
    places: tuple[Place, ...]
    problems: list[str] = field(default_factory=list)


def examine(environment: Mapping[str, str] = os.environ) -> Checkup:
    """Look at everything; imports the engines that are installed."""
    from nexus_edge import __version__
    from nexus_edge.runtimes.machine import machine

    required = requirements()
    memory = _memory()
    found = Checkup(
        versions={"nexus-edge": __version__, "python": platform.python_version(), **_versions(required)},
        system=f"{platform.system()} {platform.release()}, {platform.machine()}",
        processor=machine(),
        cores=os.cpu_count(),
        features=_features(),
        memory_bytes=memory.get("MemTotal"),
        memory_free_bytes=memory.get("MemAvailable"),
        engines=tuple(_state(info) for info in engines().values()),
        extras=tuple(_extra(name, required.get(name, ())) for name in user_extras()),
        places=_places(environment),
    )
    missing = [name for name in required.get("", ()) if not _installed(name)]
    if missing:
        found.problems.append(f"{', '.join(missing)} is not installed; run pip install {PACKAGE} again")
    if not required:
        found.problems.append(f"{PACKAGE} is not installed as a package, so what it needs is not known")
    base = [engine for engine in found.engines if not engines()[engine.name].extra and not engine.usable]
    if not missing:
        found.problems += [f"{engines()[engine.name].title} does not work: {engine.state}" for engine in base]
    for place in found.places:
        if not place.writable:
            found.problems.append(f"{place.path} cannot be written to ({place.name}); change its permissions")
    return found


def user_extras() -> tuple[str, ...]:
    """Extras of pyproject.toml that are for users: an export's, those of targets and engines, and DICOM's."""
    of_axes = [*(info.extra for info in targets().values()), *(info.extra for info in engines().values())]
    return tuple(extra for extra in dict.fromkeys(("export", *of_axes, "dicom")) if extra)


def _state(engine: EngineInfo) -> EngineState:
    found: EngineState = engine_module(engine, engine.state).state()
    return found


def requirements(lines: Sequence[str] | None = None) -> dict[str, tuple[str, ...]]:
    """Extra -> names of the packages that it needs; "" has those of the base install. Empty if nothing is installed."""
    if lines is None:
        try:
            lines = importlib.metadata.requires(PACKAGE) or ()
        except importlib.metadata.PackageNotFoundError:
            return {}
    found: dict[str, list[str]] = {}
    for line in lines:
        match = REQUIREMENT.match(line)
        if match is not None and match["name"].lower() != PACKAGE:
            found.setdefault(match["extra"] or "", []).append(match["name"])
    return {extra: tuple(names) for extra, names in found.items()}


def _installed(name: str) -> str | None:
    """The version of a package, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _versions(required: Mapping[str, Sequence[str]]) -> dict[str, str]:
    names = {name for extra in ("", *user_extras()) for name in required.get(extra, ())}
    return {name: version for name in sorted(names) if (version := _installed(name)) is not None}


def _extra(name: str, packages: Sequence[str]) -> ExtraState:
    missing = tuple(package for package in packages if not _installed(package))
    return ExtraState(name, missing, f"pip install '{PACKAGE}[{name}]'")


def _features() -> tuple[str, ...]:
    """Those of `FEATURES` that Linux lists; empty where it cannot be asked."""
    try:
        listed = Path("/proc/cpuinfo").read_bytes().decode("ascii", "replace")
    except OSError:
        return ()
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", listed, flags=re.MULTILINE)
    words = set(flags[1].split()) if flags else set()
    return tuple(name for name in FEATURES if name in words)


def _memory() -> dict[str, int]:
    """Bytes by the names of /proc/meminfo; empty where there is none."""
    try:
        lines = Path("/proc/meminfo").read_bytes().decode("ascii", "replace").splitlines()
    except OSError:
        return {}
    pairs = (re.fullmatch(r"(\w+):\s+(\d+) kB", line) for line in lines)
    return {pair[1]: 1024 * int(pair[2]) for pair in pairs if pair is not None}


def _places(environment: Mapping[str, str]) -> tuple[Place, ...]:
    from nexus_edge.runtimes.tuned import cache_file

    hub = environment.get("HF_HUB_CACHE") or str(
        Path(environment.get("HF_HOME") or Path.home() / ".cache" / "huggingface") / "hub"
    )
    names = (("bundles", Path.cwd()), ("tuning", cache_file().parent), ("downloads", Path(hub)))
    return tuple(_place(name, path) for name, path in names)


def _place(name: str, path: Path) -> Place:
    """A folder, judged by its nearest ancestor where it is still to be made."""
    there = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    return Place(name, str(path), free, os.access(there, os.W_OK | (os.X_OK if sys.platform != "win32" else 0)))
