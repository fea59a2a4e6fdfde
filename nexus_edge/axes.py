"""Finds what grows by one folder or one file: a room is scanned, and nothing is listed by hand.

Records are torch-free, so that the runtime and the command line can read them, too. Families are in `families.py`,
quantizers in `quant/registry.py`.
"""

import pkgutil
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any

from nexus_edge.interfaces.engine_info import EngineInfo
from nexus_edge.interfaces.target import TargetInfo


def folders(room: str) -> list[str]:
    """Names of the packages in the package `room`, by name; none of them is imported."""
    return sorted(found.name for found in pkgutil.iter_modules(import_module(room).__path__) if found.ispkg)


def files(room: str) -> list[str]:
    """Names of the modules in the package `room` that are single files, by name; none of them is imported."""
    return sorted(found.name for found in pkgutil.iter_modules(import_module(room).__path__) if not found.ispkg)


@cache
def targets() -> Mapping[str, TargetInfo]:
    """Name -> format that an export can write, by name."""
    return {name: import_module(f"nexus_edge.targets.{name}").TARGET for name in folders("nexus_edge.targets")}


def deployments() -> dict[str, int]:
    """What a recipe's `deployment` can be -> its version, of all targets."""
    return {name: version for info in targets().values() for name, version in info.deployments.items()}


@cache
def engines() -> Mapping[str, EngineInfo]:
    """Name -> engine, those of the base install first, by name."""
    found = [import_module(f"nexus_edge.engines.{name}").ENGINE for name in folders("nexus_edge.engines")]
    return {info.name: info for info in sorted(found, key=lambda info: (info.extra != "", info.name))}


def engines_of(targets: Sequence[str]) -> list[EngineInfo]:
    """The engines that run some of these targets, in the order of the targets; of one target its namesake first."""
    return [
        info
        for target in targets
        for info in sorted(engines().values(), key=lambda info: (info.name != target, info.name))
        if info.target == target
    ]


def engine_module(engine: EngineInfo, name: str) -> Any:
    """A module in an engine's folder, by its name there; raises ImportError where its runtime is not installed."""
    return import_module(f"nexus_edge.engines.{engine.name}.{name}")
