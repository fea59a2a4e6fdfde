"""Which modules a LoRA configuration means, and how strongly each is adapted.

Source: `check_target_module_exists`, `_maybe_include_all_linear_layers` and `get_pattern_key` of peft 0.21.
"""

import math
import re
from collections.abc import Iterable

from nexus_edge.checkpoints.adapters.config import AdapterConfig, Modules
from nexus_edge.checkpoints.adapters.regular import ends

ALL_LINEAR = "all-linear"

# The number of the first list that a module's name goes through: "model.layers.3.self_attn.q_proj" -> 3
_NUMBER = re.compile(r".*?\.[^.]*\.(\d+)\.")
# The number after the name of a list
_AFTER = re.compile(r"\.(\d+)\.")


def is_target(config: AdapterConfig, module: str, *, in_all_linear: bool) -> bool:
    """Whether a module is adapted.

    Args:
        config: of the adapter
        module: its name in the running base model
        in_all_linear: whether it is among those that "all-linear" stands for
    """
    targets = config.targets
    if targets is None or _matches(config.excluded, module) or is_saved(config, module):
        return False
    if isinstance(targets, str):
        return in_all_linear if targets.lower() == ALL_LINEAR else _matches(targets, module)
    return _matches(targets, module) and _in_layers(config, module)


def is_saved(config: AdapterConfig, module: str) -> bool:
    """Whether a module, or one that it is in, was trained as a whole."""
    return any(ends(rf"(^|.*\.){name}($|\..*)", module) for name in config.saved)


def rank_of(config: AdapterConfig, module: str) -> int:
    """Rows of the first factor of a module."""
    return config.ranks.get(_pattern(config.ranks, module), config.rank)


def scaling_of(config: AdapterConfig, module: str) -> float:
    """What the product of a module's factors is multiplied by."""
    rank, alpha = rank_of(config, module), config.alphas.get(_pattern(config.alphas, module), config.alpha)
    return alpha / (math.sqrt(rank) if config.rslora else rank)


def fits(pattern: str, module: str) -> bool:
    """Whether a pattern of ranks or alphas means a module: it fits the end of its name, from a dot on."""
    return bool(ends(rf"(.*\.)?({pattern})$", module))


def _matches(modules: Modules, module: str) -> bool:
    if isinstance(modules, str):
        return len(module) in ends(modules, module)
    return any(module == name or module.endswith(f".{name}") for name in modules)


def _in_layers(config: AdapterConfig, module: str) -> bool:
    if config.layers is None:
        return True
    if not config.layer_patterns:
        found = _NUMBER.match(module)
        return found is not None and int(found[1]) in config.layers
    begins = frozenset({0, *(place + 1 for place, character in enumerate(module) if character == ".")})
    places = [place for name in config.layer_patterns for place in sorted(ends(name, module, begins))]
    found = next((match for place in places if (match := _AFTER.match(module, place))), None)
    return found is not None and int(found[1]) in config.layers


def _pattern(patterns: Iterable[str], module: str) -> str:
    """The first pattern that fits the end of a module's name; the name itself if none does."""
    return next((pattern for pattern in patterns if fits(pattern, module)), module)
