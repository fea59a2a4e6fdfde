"""Take a vision-language model from its PyTorch checkpoint to the edge, and prove that it still is the same model.

    export(model, precision, ...)   a checkpoint becomes a bundle (needs the `export` extra)
    load(bundle)                    a bundle becomes a model that answers
    verify(bundle)                  replay a bundle's goldens on this machine

Importing this package imports nothing else; each name is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nexus_edge.parity.replay import verify as verify
    from nexus_edge.request import export as export
    from nexus_edge.runtimes import load as load

__version__ = "0.1.0"
__all__ = ["__version__", "export", "load", "verify"]


def __getattr__(name: str) -> Any:
    """The public functions (PEP 562): the runtime needs no torch, and `import nexus_edge` needs no runtime."""
    if name == "load":
        return import_module("nexus_edge.runtimes").load
    if name == "verify":
        return import_module("nexus_edge.parity.replay").verify
    if name == "export":
        return import_module("nexus_edge.export")  # a package that can be called; it says why
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
