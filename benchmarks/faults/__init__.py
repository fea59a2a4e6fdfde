"""Faults that the parity ladder must find, one file for what they break: each knows the rung and the place to be named.

Seeded and deterministic: the same fault is made in the same place every time.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np

from nexus_edge.bundle import Bundle

PHI3, BIOMEDCLIP = "phi3-vision-int4", "biomedclip-int8"


@dataclass
class Scene:
    """What one fault is made in.

    Attributes:
        bundle: a copy that may be damaged
        stack: holds patches of code, which end with the fault
        goldens: folder with a copy of the original's goldens, for what damages the reference
    """

    bundle: Bundle
    stack: ExitStack
    goldens: Any = None

    def patch(self, owner: Any, name: str, value: Any) -> None:
        """Replace an attribute of a module or class until the fault ends."""
        self.stack.enter_context(mock.patch.object(owner, name, value))


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        name: what is wrong, in words
        kind: weights, layout, order, positions, configuration, preprocessing, cache or structure
        bundle: recipe and target of the bundle that is damaged: `phi3-vision-int4 onnx`
        rung: the one that should turn red first
        place: fnmatch pattern of the place that should be named
        make: damages the scene
        rungs: those that run, in this order, until one is red
        cases: names of a vision-language model's cases; none: all of them
    """

    name: str
    kind: str
    bundle: str
    rung: str
    place: str
    make: Callable[[Scene], None]
    rungs: tuple[str, ...] = ("P0", "P3")
    cases: tuple[str, ...] = field(default=())


def rng(text: str) -> np.random.Generator:
    """A generator that a fault's name seeds."""
    return np.random.default_rng(list(text.encode()))
