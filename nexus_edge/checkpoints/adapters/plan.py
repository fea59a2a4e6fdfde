"""What an adapter makes of each tensor of a checkpoint; everything is checked, and no tensor is read."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from math import prod

from nexus_edge.checkpoints.adapters.adapter import Adapter
from nexus_edge.checkpoints.adapters.base import Base
from nexus_edge.checkpoints.adapters.folder import CONFIG
from nexus_edge.checkpoints.adapters.matching import fits, is_target, rank_of, scaling_of
from nexus_edge.checkpoints.adapters.tensors import Factors, Named, refuse_second, sort_names
from nexus_edge.errors import CheckpointError

SHOWN = 4  # names in one message
_MERGE = "merge it with peft (merge_and_unload), and export the result as a checkpoint"


@dataclass(frozen=True)
class LowRank:
    """Two factors, by their keys.

    Attributes:
        first: [rank, columns], further dimensions of a convolution included
        second: [rows, rank]
        scaling: of their product
        magnitude: lengths of the merged rows, for DoRA
        transposed: whether rows and columns are those of the transposed weight, as in embeddings
    """

    first: str
    second: str
    scaling: float
    magnitude: str | None
    transposed: bool


@dataclass(frozen=True)
class Change:
    """What becomes of a tensor, in this order.

    Attributes:
        saved: key of the tensor that takes its place
        low_rank: what is added to it
        added: key of a tensor that is added to it, and its factor
    """

    saved: str | None = None
    low_rank: LowRank | None = None
    added: tuple[str, float] | None = None


def plan(adapter: Adapter, base: Base) -> dict[str, Change]:
    """Name of a tensor of the base -> what becomes of it.

    Raises:
        CheckpointError: naming tensors of the adapter that fit none of the base's, modules that are adapted by its
            configuration alone or by its tensors alone, and what cannot be merged
    """
    where = str(adapter.file.path)
    named = sort_names(adapter.file.infos, where)
    modules = {module: ours for module in named.factors if (ours := base.module(module)) is not None}
    saved = {parameter: ours for parameter in named.saved if (ours := base.parameter(parameter)) is not None}
    unknown = [key for parameter, key in named.saved.items() if parameter not in saved]
    unknown += [key for module in named.factors.keys() - modules.keys() for key in named.factors[module].keys.values()]
    if unknown:
        raise CheckpointError(f"{where}: tensors of no weight of the base model: {_listed(unknown)}")
    keys = dict[str, str]()
    for parameter, ours in saved.items():  # over there, a parameter can have two names
        refuse_second(keys.get(ours), named.saved[parameter], where)
        keys[ours] = named.saved[parameter]
    _require_agreement(adapter, named, modules, base)
    _require_saved(adapter, named, saved, modules, base)
    changes = {ours: Change(saved=named.saved[parameter]) for parameter, ours in saved.items()}
    for module, ours in modules.items():
        weight, bias = f"{ours}.weight", f"{ours}.bias"
        low_rank = _low_rank(adapter, module, named.factors[module], base.infos[weight].shape)
        changes[weight] = replace(changes.get(weight, Change()), low_rank=low_rank)
        second_bias = named.factors[module].keys.get("lora_B.bias")
        if second_bias is not None:
            _require_shape(adapter, second_bias, bias, base)
            changes[bias] = replace(changes.get(bias, Change()), added=(second_bias, low_rank.scaling))
    if not changes:
        raise CheckpointError(f"{adapter.folder}: changes no weight of the base model; is it another one's adapter?")
    if tied := changes.keys() & base.tied:
        raise CheckpointError(
            f"{adapter.folder}: changes {_listed(tied)}, which shares its numbers with another tensor of the base "
            f"model; {_MERGE}"
        )
    return changes


def _require_agreement(adapter: Adapter, named: Named, modules: Mapping[str, str], base: Base) -> None:
    """What the configuration says is adapted is what the file has factors for."""
    theirs = base.theirs(modules)
    found = {theirs(ours): ours in base.linear for ours in base.modules}
    meant = {name for name, linear in found.items() if is_target(adapter.config, name, in_all_linear=linear)}
    if missing := meant - named.factors.keys():
        raise CheckpointError(
            f"{adapter.folder}: {CONFIG} says that these are adapted, and there are no tensors for them: "
            f"{_listed(missing)}"
        )
    if extra := named.factors.keys() - meant:
        raise CheckpointError(
            f"{adapter.folder}: there are tensors for what {CONFIG} does not say is adapted: {_listed(extra)}"
        )
    for key, patterns in (("rank_pattern", adapter.config.ranks), ("alpha_pattern", adapter.config.alphas)):
        # PEFT skips such a pattern, and trains with another rank or scaling than whoever wrote it believes.
        if idle := [pattern for pattern in patterns if not any(fits(pattern, name) for name in found)]:
            raise CheckpointError(f"{adapter.folder / CONFIG}: {key} fits no module of the base model: {_listed(idle)}")


def _require_saved(
    adapter: Adapter, named: Named, saved: Mapping[str, str], modules: Mapping[str, str], base: Base
) -> None:
    """Whole tensors fit those that they replace, and all that the configuration names are there."""
    for parameter, ours in saved.items():
        _require_shape(adapter, named.saved[parameter], ours, base)
    held, trained = set(saved.values()), _trained_biases(adapter, modules, base)
    if lost := trained - held:
        raise CheckpointError(f"{adapter.folder}: bias is {adapter.config.bias!r}, and there are none: {_listed(lost)}")
    theirs = base.theirs({**modules, **saved})
    for name in adapter.config.saved:
        wanted = {ours for ours in base.infos if f".{name}." in f".{theirs(ours)}" or f".{name}." in f".{ours}"}
        if not wanted or wanted - held:
            lost_names = _listed(wanted - held) if wanted else name
            raise CheckpointError(f"{adapter.folder}: modules_to_save names what it does not hold: {lost_names}")


def _trained_biases(adapter: Adapter, modules: Mapping[str, str], base: Base) -> set[str]:
    """Those that the configuration says the adapter holds."""
    biases = {name for name in base.infos if name.endswith(".bias")}
    if adapter.config.bias == "all":
        return biases
    return biases & {f"{ours}.bias" for ours in modules.values()} if adapter.config.bias == "lora_only" else set()


def _low_rank(adapter: Adapter, module: str, factors: Factors, weight: tuple[int, ...]) -> LowRank:
    """The factors of a module, whose shapes fit its weight."""
    first, second, magnitude = factors.key("A"), factors.key("B"), factors.keys.get("lora_magnitude_vector")
    config, infos = adapter.config, adapter.file.infos
    if first is None or second is None:
        raise CheckpointError(f"{adapter.file.path}: {module} has only one of its two factors")
    if (magnitude is not None) != config.dora:
        has = "has" if magnitude is not None else "has no"
        raise CheckpointError(f"{adapter.folder}: use_dora is {config.dora}, and {module} {has} magnitude")
    if ("lora_B.bias" in factors.keys) != config.lora_bias:
        raise CheckpointError(f"{adapter.folder}: lora_bias is {config.lora_bias}, which is not so for {module}")
    rows, columns = weight[0], prod(weight[1:])
    if factors.is_embedding:
        rows, columns = columns, rows
    a, b, rank = infos[first].shape, infos[second].shape, rank_of(config, module)
    if a[:1] != (rank,) or b[1:2] != (rank,):
        raise CheckpointError(
            f"{adapter.folder}: {module} has factors {list(a)} and {list(b)}, and {CONFIG} says rank {rank}"
        )
    length = None if magnitude is None else prod(infos[magnitude].shape)
    if prod(a[1:]) != columns or b[0] != rows or prod(b[2:]) != 1 or length not in (None, rows):
        raise CheckpointError(
            f"{adapter.folder}: {module} has factors {list(a)} and {list(b)}, which do not fit the base model's weight "
            f"{list(weight)}{_vocabulary(factors.is_embedding)}"
        )
    return LowRank(first, second, scaling_of(config, module), magnitude, factors.is_embedding)


def _require_shape(adapter: Adapter, key: str, name: str, base: Base) -> None:
    if name not in base.infos:
        raise CheckpointError(f"{adapter.file.path}: {key} is for {name}, which the base model does not have")
    found, expected = adapter.file.infos[key].shape, base.infos[name].shape
    if found != expected:
        enlarged = len(found) == 2 and found[1:] == expected[1:]
        raise CheckpointError(
            f"{adapter.file.path}: {key} is {list(found)}, and the base model's {name} {list(expected)}"
            f"{_vocabulary(enlarged)}"
        )


def _vocabulary(maybe: bool) -> str:
    return f"; if the vocabulary was enlarged: {_MERGE}, with its tokenizer" if maybe else ""


def _listed(names: Collection[str]) -> str:
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(sorted(names)[:SHOWN]) + more
