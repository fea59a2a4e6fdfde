"""Compares what a checkpoint holds with what a model needs."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from nexus_edge.checkpoints.base import Checkpoint, TensorInfo
from nexus_edge.errors import CheckpointError
from nexus_edge.storage.dtypes import FLOATS

SHOWN = 8  # names per list in an error; one line must stay readable


@dataclass(frozen=True)
class KeyRules:
    """Keys beyond the model's own that checkpoints of a family are known to carry."""

    aliases: Mapping[str, str] = field(default_factory=dict)
    """Other name -> the model's name. Used where the model's own key is absent, dropped where it is present."""
    prefixes: Mapping[str, str] = field(default_factory=dict)
    """How another layout of the same files begins its names -> how the model's begin; used as `aliases` are."""
    ignorable: tuple[str, ...] = ()
    """fnmatch patterns of keys that carry no weight."""
    tied: Mapping[str, str] = field(default_factory=dict)
    """The model's name -> the name whose tensor it shares. A tensor of its own is then not used, as the originals tie
    their weights after loading; where the other one is absent, it stands for both."""


def require_model_type(checkpoint: Checkpoint, model_type: str) -> None:
    """Raise CheckpointError unless the checkpoint is one of `model_type`."""
    found = checkpoint.config.get("model_type")
    if found != model_type:
        raise CheckpointError(f"{checkpoint.name}: holds a model of model_type {found!r}, expected {model_type!r}")


def check_keys(
    found: Mapping[str, TensorInfo],
    expected: Mapping[str, tuple[int, ...]],
    rules: KeyRules | None = None,
    name: str = "the checkpoint",
) -> dict[str, str]:
    """Map every key the model expects to the key under which the checkpoint stores it.

    Args:
        found: the checkpoint's tensors.
        expected: the model's keys and shapes.
        rules: what else may be there.
        name: of the checkpoint, for the message.

    Raises:
        CheckpointError: naming what is missing, unexpected, of the wrong shape, or no float.
    """
    rules = rules or KeyRules()
    stored = {key: key for key in expected if key in found}
    aliases = {**rules.aliases, **_renamed(found, expected, rules.prefixes)}
    for alias, key in aliases.items():
        if alias in found and key in expected:
            stored.setdefault(key, alias)
    for key, shared in rules.tied.items():
        one = stored.get(shared) or stored.get(key)
        if one is not None:
            stored[key] = stored[shared] = one
    missing = [key for key in expected if key not in stored]
    unexpected = [
        key
        for key in found
        if key not in expected and key not in aliases and not any(fnmatchcase(key, p) for p in rules.ignorable)
    ]
    reshaped = [
        f"{key} {list(found[stored[key]].shape)} instead of {list(shape)}"
        for key, shape in expected.items()
        if key in stored and found[stored[key]].shape != tuple(shape)
    ]
    not_float = [f"{key} ({found[name].dtype})" for key, name in stored.items() if found[name].dtype not in FLOATS]
    problems = [
        _listed("missing", missing),
        _listed("unexpected", unexpected),
        _listed("of the wrong shape", reshaped),
        _listed("not floating point (quantized checkpoint?)", not_float),
    ]
    if any(problems):
        raise CheckpointError(f"{name} does not fit the model: " + "; ".join(filter(None, problems)))
    return stored


def _renamed(found: Iterable[str], expected: Collection[str], prefixes: Mapping[str, str]) -> dict[str, str]:
    """The keys that name one of the model's tensors once their prefix is exchanged -> that tensor."""
    pairs = (
        (key, new + key.removeprefix(old)) for key in found for old, new in prefixes.items() if key.startswith(old)
    )
    return {key: name for key, name in pairs if name in expected}


def _listed(what: str, names: Iterable[str]) -> str:
    names = list(names)
    if not names:
        return ""
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{len(names)} {what}: {', '.join(names[:SHOWN])}{more}"
