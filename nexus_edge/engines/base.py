"""What a runtime has to offer, and which one runs a bundle; none of them imports torch."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import cast

from nexus_edge._arguments import require_kind, require_text, require_whole
from nexus_edge._extras import needs_extra
from nexus_edge._typed import suggest
from nexus_edge.axes import engine_module, engines, engines_of
from nexus_edge.bundle import Bundle
from nexus_edge.engines.openvino.settings import CPU, OpenVinoSettings
from nexus_edge.errors import BundleError, InputError, MissingExtraError
from nexus_edge.interfaces.engine import Engine
from nexus_edge.interfaces.engine_info import EngineInfo
from nexus_edge.interfaces.family import Kind

DEVICES = (CPU, "GPU", "NPU", "AUTO", "HETERO", "MULTI", "BATCH")
"""What OpenVINO's names of devices begin with; a number, options or further devices may follow: GPU.1, AUTO:GPU,CPU."""

MOST_THREADS = 1024
"""Beyond the cores of any machine that this is for; ONNX Runtime would start 100,000, and none of them ever works."""


@dataclass(frozen=True)
class EngineOptions:
    """How an engine uses the machine.

    Attributes:
        threads: that compute one operator; None leaves it to the engine (one per core)
        keep_vision: keep the vision encoder loaded between images. Off, its memory is free while text is generated,
            and each new image pays for loading it again.
        engine: by its name; None takes the first that runs a target of the bundle and is installed, an evaluator only
            if there is no other; "auto" the one that `nexus-edge tune` found to be the fastest
        openvino: how OpenVINO computes; None: as `nexus-edge tune` found best, or as measured best elsewhere
        device: what computes, as OpenVINO names it: CPU, GPU, GPU.1, NPU, or AUTO. Any but CPU takes an engine that
            knows devices, and decides for itself how it computes.
        sessions: answers that a VLM makes at the same time; each has a KV cache of its own, which is made when it is
            first needed, and any more wait for their turn
    """

    threads: int | None = None
    keep_vision: bool = False
    engine: str | None = None
    openvino: OpenVinoSettings | None = None
    device: str = CPU
    sessions: int = 2

    def __post_init__(self) -> None:
        """Raises InputError for a value of another type, or out of range."""
        require_whole("sessions", self.sessions)
        if self.threads is not None:
            require_whole("threads", self.threads)
        if self.engine is not None:
            require_text("engine", self.engine)
            if self.engine not in (*engines(), "auto"):
                raise InputError(f"no engine {self.engine!r}{suggest(self.engine, (*engines(), 'auto'))}")
        require_text("device", self.device)
        if re.split("[.:]", self.device)[0] not in DEVICES:
            raise InputError(f"no device {self.device!r}{suggest(self.device.upper(), DEVICES)}")
        require_kind("keep_vision", self.keep_vision, bool, "True or False")
        require_kind("openvino", self.openvino, (OpenVinoSettings, type(None)), "OpenVinoSettings")
        if self.sessions < 1:
            raise InputError(f"sessions is {self.sessions}; it must be 1 or more")
        if self.threads is not None and not 1 <= self.threads <= MOST_THREADS:
            raise InputError(f"threads is {self.threads}; it must be 1 to {MOST_THREADS}")


def closed() -> InputError:
    """What whoever asks a closed model is told."""
    return InputError("this model is closed; load it again")


def open_engine(bundle: Bundle, options: EngineOptions) -> Engine:
    """The engine that `options` asks for; raises as `choose_engine`."""
    return cast(Engine, choose_engine(bundle, "vlm", options).open_engine(bundle, options))


def choose_engine(bundle: Bundle, kind: Kind, options: EngineOptions) -> ModuleType:
    """The module of an engine that runs a target of the bundle.

    Args:
        bundle: the bundle
        kind: of its model
        options: which one is asked for

    Raises:
        BundleError: the bundle has no target of the engine, or none that runs here
        InputError: the engine that is asked for does not know the device that is
        MissingExtraError: the engine's package is not installed
    """
    from nexus_edge.runtimes.tuned import tuned  # a runtime is made of engines, and imports this module

    wanted = tuned(bundle, options.threads).engine if options.engine == "auto" else options.engine
    usable = {info.name: info for info in engines_of(bundle.manifest.targets) if kind in info.modules}
    if options.device != CPU:
        wanted = _with_devices(options, usable.values())
    if not usable or (wanted is not None and wanted not in usable):
        raise _not_held(bundle, wanted, options.device)
    # Of those that are alike the first; which of them is installed is known only when it is imported.
    order = sorted(usable.values(), key=lambda info: (info.name != wanted, info.is_reference()))
    if wanted is not None and (options.engine != "auto" or options.device != CPU):
        order = [usable[wanted]]
    missing: MissingExtraError | None = None
    for info in order:
        try:
            with needs_extra(f"engine {info.name}", info.extra):
                return cast(ModuleType, engine_module(info, info.modules[kind]))
        except MissingExtraError as error:
            missing = missing or error
    assert missing is not None  # `order` is not empty
    raise missing


def _not_held(bundle: Bundle, engine: str | None, device: str) -> BundleError:
    """Which engine was asked for, what it runs, and what the bundle holds instead."""
    held = f"{bundle.root}: was exported for {', '.join(bundle.manifest.targets)}"
    if engine is None:
        return BundleError(f"{held}, which no engine here runs; export it again for one of {', '.join(engines())}")
    target = engines()[engine].target
    option = f"device {device!r} takes engine {engine!r}, which" if device != CPU else f"engine {engine!r}"
    return BundleError(
        f"{held}, and {option} runs graphs for {target}; leave the option out, or export the bundle for that as well "
        f"(nexus-edge export --target {target})"
    )


def _with_devices(options: EngineOptions, usable: Iterable[EngineInfo]) -> str:
    """The engine for a device that is not the CPU; raises InputError if another one is asked for."""
    able = {info.name: info for info in (*usable, *engines().values()) if info.devices}
    if options.engine in (None, "auto"):
        return next(iter(able))
    if options.engine not in able:
        titles = " or ".join(info.title for info in able.values())
        raise InputError(
            f"device {options.device!r} is {titles}'s to use; leave it out, or the engine {options.engine!r}"
        )
    return options.engine
