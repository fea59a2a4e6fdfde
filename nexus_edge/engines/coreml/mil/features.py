"""What the outside sees of a function: its inputs, outputs and states, and what may be given for them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from nexus_edge.engines.coreml.mil.schema import Message, SpecError, name

Size = int | tuple[int, int | None]
"""A fixed size, or the smallest and largest one; None for no limit."""

_ARRAY_TYPES = {65552: "float16", 65568: "float32", 65600: "float64", 131080: "int8", 131104: "int32"}
_COLOUR_SPACES = {10: "GRAYSCALE", 20: "RGB", 30: "BGR", 40: "GRAYSCALE_FLOAT16"}
_DEFAULT_FUNCTION = "main"


@dataclass(frozen=True)
class Feature:
    """One input, output or state.

    Attributes:
        kind: an "image" is given as pixels, uint8 [height, width, 3] (RGB) or [height, width]
        dtype: numpy's name of the element type that the outside uses
        shape: empty where the file leaves it open, which it does for outputs; of an image (height, width)
        choices: the only shapes allowed, where the file enumerates them
        colours: of an image, Core ML's name of its colour space
    """

    name: str
    kind: Literal["tensor", "image", "state"]
    dtype: str
    shape: tuple[Size, ...]
    choices: Sequence[tuple[int, ...]] = ()
    colours: str = ""

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of this shape may be given."""
        if self.choices:
            return shape in self.choices
        return len(shape) == len(self.shape) and all(map(_fits, self.shape, shape))


@dataclass(frozen=True)
class Interface:
    """The features of a function, by name, in the file's order."""

    inputs: Mapping[str, Feature]
    outputs: Mapping[str, Feature]
    states: Mapping[str, Feature]


@dataclass(frozen=True)
class Description:
    """A ModelDescription: the functions' interfaces, the name of the default one, and what the author wrote."""

    functions: Mapping[str, Interface]
    default: str
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_description(description: Message) -> Description:
    """Raises SpecError if a feature is neither a tensor nor an image nor a state."""
    functions = {name(one.name): _interface(one) for one in description.functions}
    if not functions:
        functions = {_DEFAULT_FUNCTION: _interface(description)}
    metadata = description.metadata
    written = {
        "shortDescription": metadata.shortDescription,
        "version": metadata.versionString,
        "author": metadata.author,
        "license": metadata.license,
    }
    written |= {key: metadata.userDefined[key] for key in sorted(metadata.userDefined)}
    default = name(description.defaultFunctionName) or _DEFAULT_FUNCTION
    return Description(functions, default, {key: value for key, value in written.items() if value})


def _interface(described: Message) -> Interface:
    """Of a function, or of a model that has one."""
    return Interface(_features(described.input), _features(described.output), _features(described.state))


def _features(described: Iterable[Message]) -> dict[str, Feature]:
    features = [_feature(name(item.name), item.type) for item in described]
    return {feature.name: feature for feature in features}


def _feature(called: str, type_: Message) -> Feature:
    if type_.HasField("multiArrayType"):
        return _array(called, "tensor", type_.multiArrayType)
    if type_.HasField("stateType"):
        return _array(called, "state", type_.stateType.arrayType)
    if type_.HasField("imageType"):
        return _image(called, type_.imageType)
    raise SpecError(f"{called} is neither a tensor nor an image nor a state")


def _array(called: str, kind: Literal["tensor", "state"], array: Message) -> Feature:
    if array.dataType not in _ARRAY_TYPES:
        raise SpecError(f"{called} has the unknown element type {array.dataType}")
    shape: list[Size] = list(array.shape)
    choices = [tuple(item.shape) for item in array.enumeratedShapes.shapes]
    if array.HasField("shapeRange"):
        shape = [_range(item) for item in array.shapeRange.sizeRanges]
    return Feature(called, kind, _ARRAY_TYPES[array.dataType], tuple(shape), choices)


def _image(called: str, image: Message) -> Feature:
    colours = _COLOUR_SPACES.get(image.colorSpace)
    if colours is None:
        raise SpecError(f"{called} has an unknown colour space")
    if image.HasField("enumeratedSizes") or image.HasField("imageSizeRange"):
        raise SpecError(f"{called} is an image of flexible size, which is not supported")
    return Feature(called, "image", "uint8", (image.height, image.width), colours=colours)


def _range(sizes: Message) -> Size:
    """A SizeRange; an upper bound below zero means that there is none."""
    low, high = sizes.lowerBound, sizes.upperBound
    if low == high:
        return int(low)
    return (low, None if high < 0 else high)


def _fits(allowed: Size, size: int) -> bool:
    if isinstance(allowed, int):
        return size == allowed
    low, high = allowed
    return low <= size and (high is None or size <= high)
