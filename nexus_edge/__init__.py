"""Take a vision-language model from its PyTorch checkpoint to the edge, and prove that it still is the same model.

    export(model, precision, ...)   a checkpoint becomes a bundle (needs the `export` extra)
    load(bundle)                    a bundle becomes a model: load_vlm -> VLM, load_dual_encoder -> DualEncoder
    verify(bundle)                  replay a bundle's goldens on this machine

Importing this package imports nothing else; each name is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nexus_edge import errors as errors
    from nexus_edge.errors import BundleError as BundleError
    from nexus_edge.errors import CheckpointError as CheckpointError
    from nexus_edge.errors import ImageError as ImageError
    from nexus_edge.errors import InputError as InputError
    from nexus_edge.errors import MissingExtraError as MissingExtraError
    from nexus_edge.errors import NexusEdgeError as NexusEdgeError
    from nexus_edge.errors import OutputError as OutputError
    from nexus_edge.errors import ParityError as ParityError
    from nexus_edge.errors import PromptError as PromptError
    from nexus_edge.errors import RecipeError as RecipeError
    from nexus_edge.parity.replay import verify as verify
    from nexus_edge.pipeline.request import export as export
    from nexus_edge.runtimes import VLM as VLM
    from nexus_edge.runtimes import Answer as Answer
    from nexus_edge.runtimes import AnswerStream as AnswerStream
    from nexus_edge.runtimes import AsyncAnswerStream as AsyncAnswerStream
    from nexus_edge.runtimes import ChatSession as ChatSession
    from nexus_edge.runtimes import Classification as Classification
    from nexus_edge.runtimes import DualEncoder as DualEncoder
    from nexus_edge.runtimes import EngineOptions as EngineOptions
    from nexus_edge.runtimes import GenerationOptions as GenerationOptions
    from nexus_edge.runtimes import load as load
    from nexus_edge.runtimes import load_dual_encoder as load_dual_encoder
    from nexus_edge.runtimes import load_vlm as load_vlm

__version__ = "0.1.0"

_ERRORS = (
    "BundleError",
    "CheckpointError",
    "ImageError",
    "InputError",
    "MissingExtraError",
    "NexusEdgeError",
    "OutputError",
    "ParityError",
    "PromptError",
    "RecipeError",
)
_RUNTIMES = (
    "VLM",
    "Answer",
    "AnswerStream",
    "AsyncAnswerStream",
    "ChatSession",
    "Classification",
    "DualEncoder",
    "EngineOptions",
    "GenerationOptions",
    "load",
    "load_dual_encoder",
    "load_vlm",
)
_HOMES = {
    **dict.fromkeys(_ERRORS, "nexus_edge.errors"),
    **dict.fromkeys(_RUNTIMES, "nexus_edge.runtimes"),
    "export": "nexus_edge.pipeline.request",
    "verify": "nexus_edge.parity.replay",
}
"""Public name -> the module that has it."""

__all__ = ["__version__", "errors", "export", "verify", *_ERRORS, *_RUNTIMES]


def __getattr__(name: str) -> Any:
    """The public names (PEP 562): the runtime needs no torch, and `import nexus_edge` needs no runtime."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name == "errors":
        return import_module("nexus_edge.errors")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
