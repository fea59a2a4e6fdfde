"""RoPE in all the spellings that are in the wild, read into one set of numbers.

`rope_scaling` with `type` (the authors' files) or `rope_type` (transformers 4.43 and later), `rope_parameters` with
`rope_theta` inside (transformers 5), that again under names of layer types; the original length inside the table or
beside it. Where two places say different things, the file is refused.

Source: the rules of Phi-3-Vision's own code; `factor` and `attention_factor` after transformers'
`_compute_longrope_parameters` (5.23); `short_mscale` and `long_mscale` after Phi-3.5-MoE's code.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from nexus_edge.configs.keys import Only, Read, Rules, Table
from nexus_edge.configs.values import count, is_number, number, table

Number = TypeVar("Number", int, float)

THETA = 10000.0
"""Base of the frequencies where a file names none, as in the configuration classes of the Phi-3 family."""

ORIGINAL = 4096
"""Length of pre-training where a file with frequency factors names none, as in these classes."""

_PLAIN = ("default",)
_LONG = ("su", "longrope", "yarn")
LAYER_TYPES = ("full_attention", "sliding_attention")

_TABLE: Rules = {
    "type": Read("the rule of frequencies"),
    "rope_type": Read("the rule of frequencies"),
    "short_factor": Read("frequencies of short sequences"),
    "long_factor": Read("frequencies of long sequences"),
    "rope_theta": Read("base of the frequencies"),
    "original_max_position_embeddings": Read("the longest short sequence, and the magnitude"),
    "factor": Read("the magnitude"),
    "attention_factor": Read("the magnitude"),
    "short_mscale": Read("the magnitude of short sequences"),
    "long_mscale": Read("the magnitude of long sequences"),
    "partial_rotary_factor": Only((1, 1.0), "the kernels rotate whole heads"),
}

ROPE_KEYS: Rules = {
    "rope_theta": Read("base of the frequencies"),
    "rope_scaling": Table(_TABLE),
    "rope_parameters": Table({**_TABLE, **dict.fromkeys(LAYER_TYPES, Table(_TABLE))}),
    "original_max_position_embeddings": Read("the longest short sequence, and the magnitude"),
    "partial_rotary_factor": Only((1, 1.0), "the kernels rotate whole heads"),
}
"""The keys beside each other in a config.json that say how positions are rotated."""


@dataclass(frozen=True)
class LongRopeParams:
    """The numbers of a LongRoPE (arXiv 2402.13753).

    Attributes:
        theta: base of the frequencies
        short_factor, long_factor: what each frequency is divided by, up to the original length and beyond
        original_max_position_embeddings: tokens of the longest sequence that takes the short factors
        max_position_embeddings: tokens of the longest sequence
        kind: rule of the magnitude: "su" (LongRoPE's) or "yarn"
        factor: how many times longer the context became, for that rule; None: the ratio of both lengths
        explicit: magnitudes that the file itself gives, for short and for long sequences
    """

    theta: float
    short_factor: tuple[float, ...]
    long_factor: tuple[float, ...]
    original_max_position_embeddings: int
    max_position_embeddings: int
    kind: Literal["su", "yarn"] = "su"
    factor: float | None = None
    explicit: tuple[float, float] | None = None

    @property
    def magnitudes(self) -> tuple[float, float]:
        """What cosine and sine are multiplied with, in short and in long sequences."""
        if self.explicit is not None:
            return self.explicit
        scale = self.factor or self.max_position_embeddings / self.original_max_position_embeddings
        if scale <= 1.0:
            return 1.0, 1.0
        if self.kind == "yarn":
            magnitude = 0.1 * math.log(scale) + 1.0
        else:
            magnitude = math.sqrt(1.0 + math.log(scale) / math.log(self.original_max_position_embeddings))
        return magnitude, magnitude


def read_rope(config: Mapping[str, Any], head_dim: int, context: int) -> LongRopeParams:
    """The numbers in a config.json.

    Args:
        config: the parsed file
        head_dim: channels of an attention head
        context: the model's longest sequence

    Raises:
        ValueError, TypeError, KeyError: naming the key that is missing, wrong or contradicted.
    """
    name, scaling = rope_table(config)
    theta = _agreed(config, name, scaling, "rope_theta", number) or THETA
    kind = _kind(name, scaling)
    if kind is None:
        ones = (1.0,) * (head_dim // 2)
        return LongRopeParams(theta, ones, ones, context, context)
    factors = {key: _factors(scaling, name, key, head_dim) for key in ("short_factor", "long_factor")}
    original = _original(config, name, scaling)
    factor = None if scaling.get("factor") is None else number(scaling, "factor")
    if kind == "su" and original == 1:
        raise ValueError("original_max_position_embeddings is 1, whose logarithm is 0; LongRoPE divides by it")
    return LongRopeParams(
        theta, **factors, original_max_position_embeddings=original, max_position_embeddings=context,
        kind=kind, factor=factor, explicit=_explicit(name, scaling),
    )  # fmt: skip


def rope_limit(config: Mapping[str, Any]) -> int | None:
    """Tokens of the longest sequence for the short factors, or None where there is only one set of factors.

    Raises:
        ValueError, TypeError, KeyError: as `read_rope`.
    """
    name, scaling = rope_table(config)
    return None if _kind(name, scaling) is None else _original(config, name, scaling)


def rope_table(config: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The one table that counts, and its key; empty for plain RoPE."""
    scaling, parameters = table(config, "rope_scaling"), _flat(table(config, "rope_parameters"))
    if scaling and parameters:
        for key in scaling.keys() & parameters.keys():
            if scaling[key] != parameters[key]:
                raise ValueError(
                    f"rope_scaling.{key} is {scaling[key]!r:.40} and rope_parameters.{key} {parameters[key]!r:.40}; "
                    "remove the wrong one"
                )
        return "rope_parameters", {**scaling, **parameters}
    return ("rope_parameters", parameters) if parameters else ("rope_scaling", scaling)


def _flat(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """The table for all layers, out of one that may hold one per layer type."""
    nested = {key: table(parameters, key) for key in LAYER_TYPES if parameters.get(key) is not None}
    if not nested:
        return parameters
    first, *others = nested.values()
    if any(other != first for other in others):
        raise ValueError("rope_parameters differ between layer types; this model rotates all layers alike")
    return {**{key: value for key, value in parameters.items() if key not in LAYER_TYPES}, **first}


def _kind(name: str, scaling: Mapping[str, Any]) -> Literal["su", "yarn"] | None:
    """The rule of the magnitude; None for plain RoPE."""
    if not scaling:
        return None
    said = {key: scaling[key] for key in ("type", "rope_type") if scaling.get(key) is not None}
    for key, value in said.items():
        if value not in (*_LONG, *_PLAIN):
            raise ValueError(f"{name}.{key} is {value!r:.40}, known are {', '.join((*_LONG, *_PLAIN))}")
    kinds = {"yarn" if value == "yarn" else "default" if value == "default" else "su" for value in said.values()}
    if len(kinds) > 1:
        raise ValueError(f"{name} has {' and '.join(f'{key} {value!r}' for key, value in said.items())}; remove one")
    has_factors = any(scaling.get(key) is not None for key in ("short_factor", "long_factor"))
    if kinds == {"default"} or (not kinds and name == "rope_parameters" and not has_factors):
        if has_factors:
            raise ValueError(f"{name} has frequency factors, but its type is 'default'")
        return None
    if not kinds:
        raise KeyError(f"{name}.rope_type")
    return "yarn" if kinds == {"yarn"} else "su"


def _factors(scaling: Mapping[str, Any], name: str, key: str, head_dim: int) -> tuple[float, ...]:
    if scaling.get(key) is None:
        raise KeyError(f"{name}.{key}")
    values = scaling[key]
    if not isinstance(values, list) or not all(map(is_number, values)):
        raise ValueError(f"{name}.{key} is {values!r:.40}, expected a list of numbers above 0, within float32")
    if len(values) != head_dim // 2:
        raise ValueError(f"{name}.{key} has {len(values)} numbers, head_dim / 2 is {head_dim // 2}")
    return tuple(float(value) for value in values)


def _original(config: Mapping[str, Any], name: str, scaling: Mapping[str, Any]) -> int:
    return _agreed(config, name, scaling, "original_max_position_embeddings", count) or ORIGINAL


def _explicit(name: str, scaling: Mapping[str, Any]) -> tuple[float, float] | None:
    given = {key: number(scaling, key) for key in ("attention_factor", "short_mscale", "long_mscale")
             if scaling.get(key) is not None}  # fmt: skip
    if "attention_factor" in given:
        if len(given) > 1:
            raise ValueError(f"{name} has attention_factor and {' and '.join(sorted(given)[1:])}; remove one")
        return given["attention_factor"], given["attention_factor"]
    if not given:
        return None
    if len(given) == 1:
        raise KeyError(f"{name}.{'long_mscale' if 'short_mscale' in given else 'short_mscale'}")
    return given["short_mscale"], given["long_mscale"]


def _agreed(
    config: Mapping[str, Any],
    name: str,
    scaling: Mapping[str, Any],
    key: str,
    read: Callable[[Mapping[str, Any], str], Number],
) -> Number | None:
    """A number that may stand in the table, beside it, or in both; None where it stands nowhere."""
    inside = None if scaling.get(key) is None else read(scaling, key)
    beside = None if config.get(key) is None else read(config, key)
    if inside is not None and beside is not None and inside != beside:
        raise ValueError(f"{key} is {beside!r}, and {name}.{key} {inside!r}; remove the wrong one")
    return beside if inside is None else inside
