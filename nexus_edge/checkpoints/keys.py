"""Compares what a checkpoint holds with what a model needs."""

from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase

import numpy as np

from nexus_edge.checkpoints.base import Checkpoint, TensorInfo
from nexus_edge.errors import CheckpointError
from nexus_edge.interfaces.weights import WeightRules
from nexus_edge.storage.dtypes import FLOATS

ROWS = 1024  # that are compared together: 12 MB of 3,072 numbers
SHOWN = 8  # names per list in an error; one line must stay readable


def require_model_type(checkpoint: Checkpoint, model_type: str) -> None:
    """Raise CheckpointError unless the checkpoint is one of `model_type`."""
    found = checkpoint.config.get("model_type")
    if found != model_type:
        raise CheckpointError(f"{checkpoint.name}: holds a model of model_type {found!r}, expected {model_type!r}")


def check_keys(
    found: Mapping[str, TensorInfo],
    expected: Mapping[str, tuple[int, ...]],
    rules: WeightRules | None = None,
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
    rules = rules or WeightRules()
    stored = known_as(found, expected, rules)
    for key, shared in rules.tie.items():
        one = stored.get(shared) or stored.get(key)
        if one is not None:
            stored[key] = stored[shared] = one
    others = {**rules.rename, **_renamed(found, expected, rules.prefixes)}
    missing = [key for key in expected if key not in stored]
    unexpected = [
        key
        for key in found
        if key not in expected and key not in others and not any(fnmatchcase(key, p) for p in rules.ignore)
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


def check_tied(checkpoint: Checkpoint, rules: WeightRules) -> None:
    """Hold two tensors against each other that the configuration calls one, row by row, where a checkpoint has both.

    Originals differ in which of them they keep (transformers 4 ties after loading, 5 does not tie what differs).

    Raises:
        CheckpointError: they differ
    """
    found = checkpoint.keys()
    for own, shared in rules.tie.items():
        known = known_as(found, (own, shared), rules)
        one, other = known.get(own), known.get(shared)
        if one is not None and other is not None and one != other and not _equal(checkpoint, one, other):
            raise CheckpointError(
                f"{checkpoint.name}: config.json ties {one} to {other} (tie_word_embeddings), and the file has two "
                f"that differ; say false there, or save the model without {one}"
            )


def _equal(checkpoint: Checkpoint, one: str, other: str) -> bool:
    infos = checkpoint.keys()
    if infos[one].shape != infos[other].shape:
        return False
    count = infos[one].shape[0]
    try:
        return all(
            np.array_equal(checkpoint.rows(one, start, start + ROWS), checkpoint.rows(other, start, start + ROWS))
            for start in range(0, count, ROWS)
        )
    finally:
        checkpoint.release(one)
        checkpoint.release(other)


def known_as(found: Collection[str], names: Collection[str], rules: WeightRules) -> dict[str, str]:
    """Those of a model's names that a checkpoint has, in whatever layout -> its key."""
    known = {name: name for name in names if name in found}
    for other, name in {**rules.rename, **_renamed(found, names, rules.prefixes)}.items():
        if other in found and name in names:
            known.setdefault(name, other)
    return known


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
