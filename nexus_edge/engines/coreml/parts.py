"""Which packages a vision-language model has, and what each of their functions is for.

The packages themselves say it, by what they take and keep. So nothing else has to be believed: neither an order in
the manifest, nor a name.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nexus_edge.bundle import Bundle
from nexus_edge.engines.coreml.mil import Feature, MilFunction, MilModel
from nexus_edge.errors import BundleError

IDS, HIDDEN, POSITION, LENGTH = "input_ids", "hidden_states", "position", "length"
EMBEDS, GROWN, LOGITS = "inputs_embeds", "output_hidden_states", "logits"

MODEL = ("Data", "com.apple.CoreML", "model.mlmodel")
"""Where the program is within a package."""

_CACHE = re.compile(r"(key|value)_(\d+)")


def package_of(bundle: Bundle, graph: str) -> Path:
    """The package that a graph of the bundle's `coreml` target is, or is a function of; raises BundleError."""
    path = bundle.graph("coreml", graph)
    parts = path.relative_to(bundle.root).parts
    if parts[-len(MODEL) :] != MODEL or not any(part.endswith(".mlpackage") for part in parts[: -len(MODEL)]):
        raise BundleError(f"{bundle.root}: {graph} is {Path(*parts)}, which is not a Core ML package; export it again")
    return path.parents[len(MODEL) - 1]


@dataclass(frozen=True)
class Chunk:
    """Neighbouring layers of the decoder, in one package.

    Attributes:
        layers: which ones
        functions: tokens of a call -> the function for so many
    """

    layers: range
    functions: Mapping[int, MilFunction]


@dataclass(frozen=True)
class CoremlParts:
    """The packages of a vision-language model.

    Attributes:
        vision: graph -> the function of what an image goes through once, named as in a manifest
        embedding: tokens of a call -> the function for so many
        chunks: of the decoder, in the order of their layers
        head: last hidden state to logits
        cache_shape: of a key or value, [1, heads, context, head_dim]
        hidden: width of the decoder
    """

    vision: Mapping[str, MilFunction]
    embedding: Mapping[int, MilFunction]
    chunks: tuple[Chunk, ...]
    head: MilFunction
    cache_shape: tuple[int, ...]
    hidden: int

    @property
    def context(self) -> int:
        """Tokens that the caches hold."""
        return self.cache_shape[2]

    @property
    def widths(self) -> tuple[int, ...]:
        """Tokens of a decoder's call, the fewest first."""
        return tuple(sorted(self.chunks[0].functions))

    @classmethod
    def of(cls, packages: Iterable[Path]) -> "CoremlParts":
        """Sort out what packages hold.

        Raises:
            BundleError: a package is broken, or they do not make a whole model.
        """
        return cls.of_models({path: MilModel.open(path) for path in dict.fromkeys(packages)})

    @classmethod
    def of_models(cls, models: Mapping[Path, MilModel]) -> "CoremlParts":
        """The same for packages that are open."""
        found = _Found({}, {}, [], [])
        where = Path()
        for path, model in models.items():
            where = path.parent
            _sort(path, model, found)
        chunks = tuple(sorted(found.chunks, key=lambda chunk: chunk.layers.start))
        lacking = [name for name, part in found.named() if not part]
        if lacking:
            raise BundleError(f"{where}: no package is a {lacking[0]}; export the bundle again")
        if len(found.heads) > 1:
            raise BundleError(f"{where}: {len(found.heads)} packages are a head; export the bundle again")
        numbers = [number for chunk in chunks for number in chunk.layers]
        if numbers != list(range(len(numbers))):
            raise BundleError(f"{where}: the decoder's packages hold the layers {numbers}, not each once")
        return cls(found.vision, found.embedding, chunks, found.heads[0], *_sizes(where, chunks))


@dataclass(frozen=True)
class _Found:
    vision: dict[str, MilFunction]
    embedding: dict[int, MilFunction]
    chunks: list[Chunk]
    heads: list[MilFunction]

    def named(self) -> list[tuple[str, object]]:
        names = ("vision encoder", "token embedding", "decoder", "head")
        return list(zip(names, (self.vision, self.embedding, self.chunks, self.heads), strict=True))


def _sort(path: Path, model: MilModel, found: _Found) -> None:
    """Add a package to what was found."""
    by_tokens: dict[int, MilFunction] = {}
    layers: set[range] = set()
    for function in model.functions.values():
        match sorted(function.inputs):
            case ["input_ids"]:
                found.embedding[_size(function, IDS, 1)] = function
            case ["hidden_states", "length", "position"]:
                by_tokens[_size(function, HIDDEN, 1)] = function
                layers.add(_layers(function))
            case ["hidden_states"]:
                found.heads.append(function)
            case _ if not function.states:
                name = path.stem if function.name == model.default else f"{path.stem}.{function.name}"
                found.vision[name] = function
            case names:
                raise BundleError(f"{function.where}: takes {', '.join(names)}, which is not part of this model")
    if len(layers) > 1:
        raise BundleError(f"{path}: its functions keep the states of different layers; export the bundle again")
    if layers:
        found.chunks.append(Chunk(layers.pop(), by_tokens))


def _layers(function: MilFunction) -> range:
    """The layers whose keys and values a chunk keeps."""
    states: dict[str, set[int]] = {"key": set(), "value": set()}
    for name in function.states:
        match = _CACHE.fullmatch(name)
        if match is None:
            raise BundleError(f"{function.where}: keeps a state {name!r:.80}, which is neither a key nor a value")
        states[match[1]].add(int(match[2]))
    numbers = sorted(states["key"])
    if not numbers or states["key"] != states["value"] or numbers != list(range(numbers[0], numbers[-1] + 1)):
        raise BundleError(f"{function.where}: its states are not the keys and values of neighbouring layers")
    return range(numbers[0], numbers[-1] + 1)


def _sizes(where: Path, chunks: tuple[Chunk, ...]) -> tuple[tuple[int, ...], int]:
    """Shape of a state, and the width; alike in all chunks, each of which has a function for one token."""
    shapes: set[tuple[int, ...]] = set()
    hidden: set[int] = set()
    for chunk in chunks:
        for function in chunk.functions.values():
            shapes |= {_fixed(function, feature) for feature in function.states.values()}
            hidden.add(_size(function, HIDDEN, 2))
    if len(shapes) != 1 or len(hidden) != 1 or len(shape := shapes.pop()) != 4:
        raise BundleError(f"{where}: the decoder's packages do not fit together; export the bundle again")
    widths = {tuple(sorted(chunk.functions)) for chunk in chunks}
    if len(widths) != 1 or 1 not in next(iter(widths)):
        raise BundleError(f"{where}: the decoder's packages have no function for one token; export the bundle again")
    return shape, hidden.pop()


def _size(function: MilFunction, name: str, axis: int) -> int:
    sizes = _fixed(function, function.inputs[name])
    if axis >= len(sizes) or sizes[axis] < 1:
        raise BundleError(f"{function.where}: the input {name} is {list(sizes)}; export the bundle again")
    return sizes[axis]


def _fixed(function: MilFunction, feature: Feature) -> tuple[int, ...]:
    sizes = tuple(size for size in feature.shape if isinstance(size, int))
    if len(sizes) != len(feature.shape):
        raise BundleError(f"{function.where}: {feature.name} has no fixed shape; export the bundle again")
    return sizes
