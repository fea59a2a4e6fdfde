"""The quantizers, found by scanning `nexus_edge/quant/methods/`: the method "rtn-mse" is the file rtn_mse.py."""

from importlib import import_module
from typing import TYPE_CHECKING

from nexus_edge._typed import suggest
from nexus_edge.axes import files
from nexus_edge.errors import RecipeError

if TYPE_CHECKING:
    from nexus_edge.interfaces.quantizer import Quantizer
    from nexus_edge.quant.schemes import Scheme

_ROOM = "nexus_edge.quant.methods"


def methods() -> tuple[str, ...]:
    """What a scheme's `method` can be beside "float"; imports no torch."""
    return tuple(name.replace("_", "-") for name in files(_ROOM))


def find_quantizer(method: str) -> "Quantizer":
    """The quantizer of a scheme's `method`.

    Raises:
        RecipeError: there is no such file
    """
    if method not in methods():
        raise RecipeError(f'no quantizer for method = "{method}"{suggest(method, (*methods(), "float"))}')
    found: Quantizer = import_module(f"{_ROOM}.{method.replace('-', '_')}").QUANTIZER
    return found


def require_quantizer(scheme: "Scheme") -> None:
    """Raise RecipeError if the method of a scheme does not make its encoding."""
    if scheme.is_float:
        return
    known = sorted(find_quantizer(scheme.method).encodings)
    if scheme.encoding not in known:
        raise RecipeError(
            f'scheme {scheme.name}: method = "{scheme.method}" makes {" or ".join(known)} codes, not '
            f"{scheme.encoding}; choose another method ({', '.join(methods())}), or other bits, groups and activation"
        )
