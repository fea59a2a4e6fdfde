"""The tensors of a base model, by the names of both sides: ours, and those of the running original."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from nexus_edge.checkpoints.base import TensorInfo
from nexus_edge.interfaces.weights import WeightRules


@dataclass(frozen=True)
class Base:
    """A base model as an adapter sees it.

    Attributes:
        infos: name -> type and shape, as the checkpoint holds the tensors: before any are put together or taken apart
        rules: of its family; they know how the running original calls its modules
        linear: modules that "all-linear" stands for
        tied: tensors that share their numbers with another
    """

    infos: Mapping[str, TensorInfo]
    rules: WeightRules
    linear: Collection[str]
    tied: frozenset[str]

    def parameter(self, theirs: str) -> str | None:
        """Our name of a parameter of the running original; None where nothing is called so."""
        names = (theirs, self.rules.rename.get(theirs, ""), *_exchanged(theirs, self.rules.prefixes))
        return next((name for name in names if name in self.infos), None)

    def module(self, theirs: str) -> str | None:
        """Our name of a module with a weight."""
        weight = self.parameter(f"{theirs}.weight")
        return None if weight is None else weight.removesuffix(".weight")

    @property
    def modules(self) -> list[str]:
        """Modules that can be adapted: those with a matrix, a table or a kernel as their weight."""
        matrices = [name for name, info in self.infos.items() if name.endswith(".weight") and len(info.shape) > 1]
        return [name.removesuffix(".weight") for name in matrices]

    def theirs(self, known: Mapping[str, str]) -> Callable[[str], str]:
        """Gives a module or parameter the name that it has over there.

        Args:
            known: name over there -> ours, of some. They tell which of the layouts that we know the others have, too.
        """
        ours = {name: theirs for theirs, name in known.items()}
        renamed = any(name != theirs for name, theirs in ours.items())
        back = {new: old for old, new in self.rules.prefixes.items()} if renamed else {}
        # A prefix may be the whole name, and ends in a dot.
        return lambda name: ours.get(name) or next(_exchanged(f"{name}.", back), f"{name}.").removesuffix(".")


def _exchanged(name: str, prefixes: Mapping[str, str]) -> Iterator[str]:
    return (new + name.removeprefix(old) for old, new in prefixes.items() if name.startswith(old))
