"""What the outside sees of a function: its inputs, outputs and states, and what may be given for them.

Field numbers are those of Model.proto and FeatureTypes.proto (apple/coremltools, mlmodel/format).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from nexus_edge.engines.coreml.mil.wire import Message, WireError

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
    """Raises WireError if a feature is neither a tensor nor an image nor a state."""
    functions = {
        function.name(1): Interface(_features(function, 2), _features(function, 3), _features(function, 6))
        for function in description.messages(20)
    }
    if not functions:
        functions = {
            _DEFAULT_FUNCTION: Interface(
                _features(description, 1), _features(description, 10), _features(description, 13)
            )
        }
    metadata = description.message(100)
    written = dict(
        zip(("shortDescription", "version", "author", "license"), map(metadata.text, (1, 2, 3, 4)), strict=True)
    )
    written |= {entry.text(1): entry.text(2) for entry in metadata.messages(100)}
    default = description.name(21) or _DEFAULT_FUNCTION
    return Description(functions, default, {key: value for key, value in written.items() if value})


def _features(message: Message, number: int) -> dict[str, Feature]:
    features = [_feature(item.name(1), item.message(3)) for item in message.messages(number)]
    return {feature.name: feature for feature in features}


def _feature(name: str, type_: Message) -> Feature:
    if 5 in type_:
        return _array(name, "tensor", type_.message(5))
    if 8 in type_:
        return _array(name, "state", type_.message(8).message(1))
    if 4 in type_:
        return _image(name, type_.message(4))
    raise WireError(f"{name} is neither a tensor nor an image nor a state")


def _array(name: str, kind: Literal["tensor", "state"], array: Message) -> Feature:
    code = array.integer(2)
    if code not in _ARRAY_TYPES:
        raise WireError(f"{name} has the unknown element type {code}")
    shape: list[Size] = list(array.integers(1))
    choices = [tuple(item.integers(1)) for item in array.message(21).messages(1)]
    if 31 in array:
        shape = [_range(item) for item in array.message(31).messages(1)]
    return Feature(name, kind, _ARRAY_TYPES[code], tuple(shape), choices)


def _image(name: str, image: Message) -> Feature:
    colours = _COLOUR_SPACES.get(image.integer(3))
    if colours is None:
        raise WireError(f"{name} has an unknown colour space")
    if 21 in image or 31 in image:
        raise WireError(f"{name} is an image of flexible size, which is not supported")
    return Feature(name, "image", "uint8", (image.integer(2), image.integer(1)), colours=colours)


def _range(sizes: Message) -> Size:
    """A SizeRange; an upper bound below zero means that there is none."""
    low, high = sizes.integer(1), sizes.integer(2)
    if low == high:
        return low
    return (low, None if high < 0 else high)


def _fits(allowed: Size, size: int) -> bool:
    if isinstance(allowed, int):
        return size == allowed
    low, high = allowed
    return low <= size and (high is None or size <= high)
