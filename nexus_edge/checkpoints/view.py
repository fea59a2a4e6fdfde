"""From a checkpoint and what a model expects to the source of the model's weights; nothing is read."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from nexus_edge.checkpoints.adapters.adapter import Adapter
from nexus_edge.checkpoints.adapters.base import Base
from nexus_edge.checkpoints.adapters.plan import plan
from nexus_edge.checkpoints.base import Checkpoint, TensorInfo
from nexus_edge.checkpoints.keys import check_keys, known_as
from nexus_edge.checkpoints.transforms.fuse import Assembled, Fused, Rows
from nexus_edge.checkpoints.transforms.lora import Merged
from nexus_edge.checkpoints.transforms.rename import Renamed
from nexus_edge.checkpoints.transforms.stored import Stored
from nexus_edge.errors import CheckpointError
from nexus_edge.interfaces.weights import WeightRules, WeightSource

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class _Group:
    """Names of tensors that a rule of fusing puts together."""

    whole: str
    parts: tuple[str, ...]


def view(
    checkpoint: Checkpoint,
    expected: Shapes,
    rules: WeightRules,
    adapter: Adapter | None = None,
    linear: Collection[str] = (),
) -> WeightSource:
    """The checkpoint's tensors by the model's names.

    Args:
        checkpoint: holds the tensors
        expected: name of a tensor of the model -> its shape, in the model's order
        rules: of the model's family
        adapter: merged into the tensors as the checkpoint lays them out
        linear: the model's modules that "all-linear" stands for in an adapter

    Raises:
        CheckpointError: naming what is missing, unexpected, of the wrong shape, or no float; or what of the adapter
            does not fit
    """
    found = checkpoint.keys()
    stored, made = _as_stored(found, expected, rules, checkpoint.name)
    names = check_keys(found, stored, rules, checkpoint.name)
    source: WeightSource = Renamed(Stored(checkpoint), names)
    if adapter is not None:
        shared = Counter(names.values())
        tied = frozenset(name for name, key in names.items() if shared[key] > 1)
        base = Base(source.infos, rules, _as_laid_out(linear, made), tied)
        source = Merged(source, adapter, plan(adapter, base))
    return Fused(source, expected, made) if made else source


def _as_laid_out(modules: Collection[str], made: Assembled) -> set[str]:
    """The modules of the checkpoint that those of the model are made of."""
    weights = {f"{module}.weight" for module in modules}
    parts = {rows.name for name in weights & made.keys() for rows in made[name]}
    return {name.removesuffix(".weight") for name in (weights - made.keys()) | parts}


def _as_stored(
    found: Mapping[str, TensorInfo], expected: Shapes, rules: WeightRules, name: str
) -> tuple[Shapes, Assembled]:
    """What a model expects as this checkpoint lays it out, and how the model's tensors are made of that."""
    stored, made = dict(expected), dict[str, tuple[Rows, ...]]()
    for group in _groups(expected, rules):
        present = known_as(found, (group.whole, *group.parts), rules)
        if group.whole in expected and group.whole not in present and present.keys() >= set(group.parts):
            shapes = {part: found[present[part]].shape for part in group.parts}
            _require_rows(group, shapes, expected[group.whole], name)
            made[group.whole] = tuple(Rows(part, 0, shape[0]) for part, shape in shapes.items())
            del stored[group.whole]
            stored |= shapes
        elif group.parts[0] in expected and group.whole in present and len(present) == 1:
            first = 0
            for part in group.parts:
                rows = expected[part][0]
                made[part] = (Rows(group.whole, first, rows),)
                first += rows
                del stored[part]
            stored[group.whole] = (first, *expected[group.parts[0]][1:])
    return stored, made


def _groups(expected: Collection[str], rules: WeightRules) -> Iterator[_Group]:
    """Every group of which the model has the whole or all parts."""
    for name in expected:
        module, _, leaf = name.rpartition(".")
        owner, _, last = module.rpartition(".")
        begin = f"{owner}." if owner else ""
        for rule in rules.fuse:
            parts = tuple(f"{begin}{part}.{leaf}" for part in rule.parts)
            if last == rule.whole or (last == rule.parts[0] and all(part in expected for part in parts)):
                yield _Group(f"{begin}{rule.whole}.{leaf}", parts)


def _require_rows(group: _Group, shapes: Shapes, expected: tuple[int, ...], name: str) -> None:
    """Raise CheckpointError unless the parts are as many rows, and as wide, as the whole."""
    rows, widths = sum(shape[0] for shape in shapes.values()), {shape[1:] for shape in shapes.values()}
    if rows != expected[0] or widths != {expected[1:]}:
        parts = ", ".join(f"{part} {list(shape)}" for part, shape in shapes.items())
        raise CheckpointError(f"{name} does not fit the model: {group.whole} {list(expected)} is to be made of {parts}")
