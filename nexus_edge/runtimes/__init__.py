"""Running a bundle without torch: `load` opens one. `VLM` answers, `DualEncoder` compares images and texts.

vlm/             vision-language models: prompts and images to answers
dual_encoder/    models of two towers: embeddings, zero-shot classes, search
manifest_check.py   whether the manifest says what the bundle's files say
hosts.py         what happens between the graphs of a bundle
process.py       that a loaded model belongs to its process
discover.py      the bundle that is meant where none is named
tuning.py        which engine and settings are the fastest here; tuned.py remembers it, machine.py says where "here" is

The engines that run the graphs are in `nexus_edge/engines/`.
"""

import os
from dataclasses import replace

from nexus_edge import processing
from nexus_edge._arguments import require_kind
from nexus_edge._renamed import renamed
from nexus_edge._typed import suggest
from nexus_edge.bundle import Bundle
from nexus_edge.engines import dual as dual_engine
from nexus_edge.engines.base import EngineOptions, open_engine
from nexus_edge.errors import BundleError
from nexus_edge.families import families
from nexus_edge.interfaces.engine import Engine
from nexus_edge.interfaces.family import DualEncoderFamily, Family, VlmFamily
from nexus_edge.runtimes.dual_encoder.classification import Classification
from nexus_edge.runtimes.dual_encoder.index import Hit, ImageIndex, build_index, find_images
from nexus_edge.runtimes.dual_encoder.label_bank import LabelBank
from nexus_edge.runtimes.dual_encoder.model import DualEncoder
from nexus_edge.runtimes.dual_encoder.prompts import PromptSet, find_prompts
from nexus_edge.runtimes.dual_encoder.text_batches import TruncatedTextWarning
from nexus_edge.runtimes.hosts import host_of
from nexus_edge.runtimes.manifest_check import require_consistent
from nexus_edge.runtimes.vlm.answer import Answer, TokenLogprob
from nexus_edge.runtimes.vlm.answer_stream import AnswerStream
from nexus_edge.runtimes.vlm.async_stream import AsyncAnswerStream
from nexus_edge.runtimes.vlm.chat import ChatSession
from nexus_edge.runtimes.vlm.generation import GenerationOptions, RunStats
from nexus_edge.runtimes.vlm.model import VLM, ModelLimits

__all__ = [
    "VLM",
    "Answer",
    "AnswerStream",
    "AsyncAnswerStream",
    "ChatSession",
    "Classification",
    "DualEncoder",
    "Engine",
    "EngineOptions",
    "GenerationOptions",
    "Hit",
    "ImageIndex",
    "LabelBank",
    "ModelLimits",
    "PromptSet",
    "RunStats",
    "TokenLogprob",
    "TruncatedTextWarning",
    "build_index",
    "find_images",
    "find_prompts",
    "load",
    "load_dual_encoder",
    "load_vlm",
]

__getattr__ = renamed(__name__, {"PictureIndex": "ImageIndex", "find_pictures": "find_images"})


def load(
    bundle: str | os.PathLike[str] | Bundle,
    options: EngineOptions | None = None,
    *,
    engine: str | None = None,
    allow_rejected: bool = False,
) -> VLM | DualEncoder:
    """The model of a bundle, ready to work: which kind it is, follows from the manifest's `model_type`.

    Args:
        bundle: its folder
        options: see `EngineOptions`
        engine: short for `options.engine`
        allow_rejected: open it although its parity ladder rejected it, or would do so for its manifest

    Raises:
        ParityError: its parity ladder rejected it
        BundleError: no bundle, damaged, of an unknown model_type, without a target that runs here, or with a manifest
            that contradicts the bundle's files, see `manifest_check.py`
        CheckpointError: the processor's files in it are damaged
        MissingExtraError: the engine's package is not installed
    """
    opened, chosen = _opened(bundle, allow_rejected), _chosen(options)
    family, chosen = _family(opened), chosen if engine is None else replace(chosen, engine=engine)
    return _vlm(opened, chosen) if isinstance(family, VlmFamily) else _dual_encoder(opened, chosen)


def load_vlm(
    bundle: str | os.PathLike[str] | Bundle, options: EngineOptions | None = None, *, allow_rejected: bool = False
) -> VLM:
    """As `load`; a BundleError too if the model is of another kind."""
    opened = _opened(bundle, allow_rejected)
    family = _family(opened)
    if not isinstance(family, VlmFamily):
        raise BundleError(
            f"{opened.root}: {opened.manifest.name} compares images and texts, it does not answer; "
            "use nexus-edge classify, embed or search"
        )
    return _vlm(opened, _chosen(options))


def load_dual_encoder(
    bundle: str | os.PathLike[str] | Bundle, options: EngineOptions | None = None, *, allow_rejected: bool = False
) -> DualEncoder:
    """As `load`; a BundleError too if the model is of another kind."""
    opened = _opened(bundle, allow_rejected)
    if not isinstance(_family(opened), DualEncoderFamily):
        raise BundleError(
            f"{opened.root}: {opened.manifest.name} answers questions about images, it embeds nothing; "
            "use nexus-edge run or chat, or the bundle of a dual encoder such as biomedclip"
        )
    return _dual_encoder(opened, _chosen(options))


def _chosen(options: EngineOptions | None) -> EngineOptions:
    require_kind("options", options, (EngineOptions, type(None)), "EngineOptions")
    return options or EngineOptions()


def _opened(bundle: str | os.PathLike[str] | Bundle, allow_rejected: bool) -> Bundle:
    require_kind("bundle", bundle, (str, os.PathLike, Bundle), "a folder's path or a Bundle")
    require_kind("allow_rejected", allow_rejected, bool, "true or false")
    opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    opened = replace(opened, allow_rejected=True) if allow_rejected else opened
    opened.require_accepted()
    return opened


def _family(bundle: Bundle) -> Family:
    model_type = bundle.manifest.model_type
    if model_type not in families():
        raise BundleError(f"{bundle.root}: model_type {model_type!r} has no runtime{suggest(model_type, families())}")
    return families()[model_type]


def _dual_encoder(bundle: Bundle, options: EngineOptions) -> DualEncoder:
    processor = processing.dual_from_checkpoint(bundle.root)
    require_consistent(bundle, processor)
    return DualEncoder(bundle, dual_engine.open_engine(bundle, options), processor)


def _vlm(bundle: Bundle, options: EngineOptions) -> VLM:
    processor = processing.from_checkpoint(bundle.root)
    require_consistent(bundle, processor)
    engine = open_engine(bundle, options)
    limits = ModelLimits(engine.context_length or bundle.manifest.context_length)
    return VLM(engine, host_of(bundle, engine.target), processor, limits, options.sessions)
