"""A scheme says how one weight matrix is stored and multiplied; each is one file in quant/schemes/. Needs no torch."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from nexus_edge._resources import schemes_dir
from nexus_edge._toml import read_toml
from nexus_edge._typed import choose, read, suggest
from nexus_edge.errors import RecipeError
from nexus_edge.interfaces.quantizer import Encoding
from nexus_edge.quant.registry import methods

ScaleDtype = Literal["float32", "float16"]
Activation = Literal["none", "int8-block", "int8-row"]

FLOAT_BITS = (16, 32)
CODE_BITS = (4, 8)


@dataclass(frozen=True)
class Scheme:
    """How a weight [out, in] becomes codes and scales, and in which precision its input is multiplied.

    Attributes:
        name: the file name, and what a recipe says
        description: one line for people
        method: "float" (store as float of `bits`), or the name of a quantizer in `methods/` ("rtn", ...)
        bits: of a stored weight: 16 or 32 for "float", else 4 or 8
        group_size: how many neighbours along `in` share a scale; 0: the whole row (one scale per output channel)
        symmetric: codes are centred and there is no zero point
        scale_dtype: how scales are stored; arithmetic is float32 in either case
        activation: what the input is rounded to before the product: "none"; "int8-block": one scale per token and group
            of the weight; "int8-row": one scale per token, for weights that are int8 with one scale per output channel
            or, with a group_size, become so when they are loaded
    """

    name: str
    description: str
    method: str
    bits: Annotated[int, Meta(ge=0)]
    group_size: Annotated[int, Meta(ge=0)] = 0
    symmetric: bool = True
    scale_dtype: ScaleDtype = "float32"
    activation: Activation = "none"

    @property
    def is_float(self) -> bool:
        """The weight is stored as it is, in a float type."""
        return self.method == "float"

    @property
    def per_channel(self) -> bool:
        """Int8 codes with one scale per output channel, multiplied by int8 activations."""
        return not self.is_float and self.group_size == 0

    @property
    def two_level(self) -> bool:
        """4-bit codes in groups that become int8 with one scale per output channel when they are loaded."""
        return self.group_size > 0 and self.activation == "int8-row"

    @property
    def encoding(self) -> Encoding:
        """How the numbers are stored, whatever method chose them."""
        if self.is_float:
            return "float16" if self.bits == 16 else "float32"
        if self.two_level:
            return "int4-two-level"
        if self.per_channel:
            return "int8-row"
        return "int8-group" if self.bits == 8 else "int4-group"

    def __post_init__(self) -> None:
        """Refuse combinations that no kernel computes."""
        if self.bits not in (FLOAT_BITS if self.is_float else CODE_BITS):
            raise RecipeError(
                f'scheme {self.name}: bits = {self.bits} does not fit method = "{self.method}"; '
                'use 16 or 32 for "float", 4 or 8 for a quantizer'
            )
        if self.is_float and (self.group_size, self.symmetric, self.activation) != (0, True, "none"):
            raise RecipeError(f'scheme {self.name}: method = "float" has no group_size, zero point or activation')
        if self.per_channel and (self.bits, self.symmetric, self.activation) != (8, True, "int8-row"):
            raise RecipeError(
                f"scheme {self.name}: one scale per output channel (group_size = 0) needs bits = 8, symmetric = true "
                'and activation = "int8-row"; set a group_size'
            )
        if self.group_size and (self.group_size < 16 or self.group_size & (self.group_size - 1)):
            raise RecipeError(f"scheme {self.name}: group_size = {self.group_size} is not a power of two >= 16")
        if self.two_level and (self.bits, self.symmetric) != (4, False):
            raise RecipeError(
                f'scheme {self.name}: groups go with activation = "int8-block" or "none"; with "int8-row" they are '
                "codes on two levels, which need bits = 4 and symmetric = false"
            )


def available_schemes() -> tuple[str, ...]:
    """Names of the schemes that come with nexus-edge, sorted."""
    return tuple(sorted(path.stem for path in schemes_dir().glob("*.toml")))


@cache
def load_scheme(name: str) -> Scheme:
    """Read quant/schemes/<name>.toml.

    Raises:
        RecipeError: there is no such scheme, or its file is wrong
    """
    if name not in available_schemes():
        raise RecipeError(f"no scheme {name!r}{suggest(name, available_schemes())}")
    return read_scheme(schemes_dir() / f"{name}.toml")


def read_scheme(path: Path) -> Scheme:
    """Read a scheme from any TOML file; its name is the file's name.

    Raises:
        RecipeError: the file is not TOML, has an unknown or missing key, or a value of the wrong type or out of range
    """
    table = read_toml(path, RecipeError)
    if "name" in table:
        raise RecipeError(f"{path}: unknown key 'name'; a scheme's name is that of its file")
    scheme = read({**table, "name": path.stem}, Scheme, str(path), RecipeError)
    choose(scheme.method, ("float", *methods()), f"{path}: method", RecipeError)
    return scheme
