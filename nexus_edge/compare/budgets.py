"""How much worse than its baseline a bundle may be: the `[gates]` table of a recipe, or of a file of its own.

    [gates]
    size_ratio = 1.05            # at most this many times the baseline's bytes
    tokens_per_s_ratio = 0.9     # at least this share of the baseline's speed, measured in the same run
    answers_changed = 0.02       # at most this share of the greedy answers
    cosine = 0.999               # at least, of each embedding with the baseline's

Speed and load time are budgets only as ratios within one run: a number of seconds says more about the machine than
about the bundle. Bytes do not depend on the machine, so size and peak memory may be limited in GB as well.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from nexus_edge._typed import suggest
from nexus_edge.errors import RecipeError


@dataclass(frozen=True)
class Budget:
    """One gate.

    Attributes:
        label: what is measured, in words
        at_least: whether the limit is the smallest value that holds, not the largest
        unit: "x" of the baseline, "GB", "%" (the value is a share, 0..1), or "" for a plain number
        same_run: whether it can only be judged where both sides ran in the same run
        why: for the reader of a failure
        of: the only kind of models that it is measured of; "" where that is any
    """

    label: str
    at_least: bool
    unit: str
    same_run: bool
    why: str
    of: Literal["vlm", "dual_encoder", ""] = ""

    def holds(self, value: float, limit: float) -> bool:
        """NaN never does."""
        return value >= limit if self.at_least else value <= limit

    def text(self, value: float) -> str:
        """The value with its unit."""
        if self.unit == "%":
            return f"{value:.1%}"
        digits = f"{value:.4f}" if self.unit == "" else f"{value:.3g}"
        return f"{digits}{self.unit}" if self.unit in ("", "x") else f"{digits} {self.unit}"


_SPEED = "Both sides ran in turns in this run, so another job on the machine slows both."
BUDGETS: Mapping[str, Budget] = {
    "size_ratio": Budget("size", False, "x", False, "What a user downloads and keeps on the disk."),
    "size_gb": Budget("size", False, "GB", False, "What a user downloads and keeps on the disk."),
    "load_time_ratio": Budget("load time", False, "x", True, _SPEED),
    "tokens_per_s_ratio": Budget("decode speed", True, "x", True, _SPEED, "vlm"),
    "prefill_ratio": Budget("prefill speed", True, "x", True, _SPEED, "vlm"),
    "images_per_s_ratio": Budget("image speed", True, "x", True, _SPEED),
    "texts_per_s_ratio": Budget("text speed", True, "x", True, _SPEED, "dual_encoder"),
    "peak_memory_ratio": Budget("peak memory", False, "x", True, "Each side ran in a process of its own."),
    "peak_memory_gb": Budget("peak memory", False, "GB", False, "What a device must have free."),
    "answers_changed": Budget(
        "answers changed", False, "%", False, "Greedy answers, or best labels, on the same input."
    ),
    "cosine": Budget("smallest cosine", True, "", False, "Of each output vector with that of the baseline."),
}
LARGEST = {"answers_changed": 1.0, "cosine": 1.0}
MODELS = {"vlm": "models that answer", "dual_encoder": "models that embed"}


def read_budgets(table: Mapping[str, Any], where: str) -> dict[str, float]:
    """The limits of a `[gates]` table.

    Raises:
        RecipeError: an unknown gate, or a limit that no measurement could have
    """
    limits = {}
    for name, limit in table.items():
        if name not in BUDGETS:
            raise RecipeError(f"{where}: unknown key {name!r}{suggest(name, BUDGETS)}")
        if isinstance(limit, bool) or not isinstance(limit, int | float):
            raise RecipeError(f"{where}: {name} must be a number, not {limit!r:.60}")
        if not 0 <= limit <= LARGEST.get(name, sys.float_info.max):
            most = f" to {LARGEST[name]:g}" if name in LARGEST else " or more"
            raise RecipeError(f"{where}: {name} = {limit!r:.60} must be 0{most}")
        limits[name] = float(limit)
    return limits


def require_measured(limits: Mapping[str, float], kind: str, where: str) -> None:
    """Raise RecipeError for a limit of what is not measured of a kind of models ("vlm" or "dual_encoder")."""
    for name in limits:
        if BUDGETS[name].of not in ("", kind):
            raise RecipeError(
                f"{where}: {name}: {BUDGETS[name].label} is measured of {MODELS[BUDGETS[name].of]} only; "
                "leave it out, or pass --allow-skip"
            )
