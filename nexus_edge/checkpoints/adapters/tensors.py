"""The names of an adapter's tensors: which module each belongs to, and as what.

    base_model.model.model.layers.0.self_attn.qkv_proj.lora_A.weight
    base_model.model.lm_head.base_layer.weight

Source: `get_peft_model_state_dict` of peft 0.21. State dicts that were saved without it still have the adapter's name
("lora_A.default.weight") and what training on several devices puts before everything ("module.").
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from nexus_edge.errors import CheckpointError

PREFIXES = ("base_model.model.", "module.", "_orig_mod.")

_FACTOR = re.compile(
    r"(?P<module>.+)\.(?P<part>lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector)"
    r"(?:\.(?!weight$|bias$)[\w-]+)?(?:\.(?P<leaf>weight|bias))?"
)
_WRAPPERS = re.compile(r"\.(?:base_layer|modules_to_save\.default)(?=\.)")


@dataclass
class Factors:
    """Keys of the tensors of one adapted module, by what they are: `lora_A`, `lora_B.bias` and the like."""

    keys: dict[str, str] = field(default_factory=dict)

    def key(self, part: str) -> str | None:
        """Of `lora_A` and its like for embeddings."""
        return self.keys.get(f"lora_{part}") or self.keys.get(f"lora_embedding_{part}")

    @property
    def is_embedding(self) -> bool:
        """Whether it is a table of rows that are looked up."""
        return "lora_embedding_A" in self.keys


@dataclass(frozen=True)
class Named:
    """An adapter's tensors, sorted.

    Attributes:
        factors: module of the running base model -> its factors
        saved: parameter of it -> key of the tensor that takes its place
    """

    factors: dict[str, Factors]
    saved: dict[str, str]


def sort_names(keys: Iterable[str], where: str) -> Named:
    """What each key of an adapter's file is.

    Args:
        keys: of all its tensors
        where: the file, for messages

    Raises:
        CheckpointError: two keys are of one tensor, so one of them would be lost
    """
    named = Named({}, {})
    for key in keys:
        plain = _without_prefixes(key)
        match = _FACTOR.fullmatch(plain)
        if match is None:
            held, what = named.saved, _WRAPPERS.sub("", plain)
        else:
            what = match["part"] + (".bias" if match["leaf"] == "bias" else "")
            held = named.factors.setdefault(match["module"], Factors()).keys
        refuse_second(held.get(what), key, where)
        held[what] = key
    return named


def refuse_second(known: str | None, key: str, where: str) -> None:
    """Raises CheckpointError where a key of the same tensor is known already."""
    if known is not None:
        raise CheckpointError(f"{where}: {known} and {key} are one tensor by their names; save one adapter alone")


def _without_prefixes(key: str) -> str:
    while found := next((prefix for prefix in PREFIXES if key.startswith(prefix)), None):
        key = key.removeprefix(found)
    return key
