"""Running a bundle without torch: `load` opens one, `VLM` answers, `ChatSession` remembers.

engine.py        what an engine offers, and which there are
onnx_engine.py   ONNX Runtime: three sessions and their bindings (onnx_session.py, kv_cache.py)
context.py       what is in the cache, prefix reuse, chunked prefill, the LongRoPE switch
vlm.py, chat.py  answers and conversations (generation.py: options and times; sampling.py; stop_strings.py)
pictures.py      image features kept between turns
benchmark.py     what `nexus-edge bench` measures
"""

import os

from nexus_edge import processing
from nexus_edge.bundle import Bundle
from nexus_edge.errors import BundleError
from nexus_edge.processing.folder import read_json
from nexus_edge.runtimes.chat import ChatSession
from nexus_edge.runtimes.engine import Engine, EngineOptions, open_engine
from nexus_edge.runtimes.generation import GenerationOptions, RunStats
from nexus_edge.runtimes.vlm import VLM, ModelLimits

__all__ = ["VLM", "ChatSession", "Engine", "EngineOptions", "GenerationOptions", "ModelLimits", "RunStats", "load"]


def load(bundle: str | os.PathLike[str] | Bundle, options: EngineOptions | None = None) -> VLM:
    """The model of a bundle, ready to answer.

    Raises:
        BundleError: no bundle, damaged, or without a target that runs here
        CheckpointError: the processor's files in it are damaged
    """
    opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    processor = processing.from_checkpoint(opened.root)
    engine = open_engine(opened, options or EngineOptions())
    return VLM(engine, processor, _limits(opened))


def _limits(bundle: Bundle) -> ModelLimits:
    config = read_json(bundle.root / "processor", "config.json")
    if config.get("rope_scaling") is None:
        return ModelLimits(bundle.manifest.context_length, None)
    limit = config.get("original_max_position_embeddings")
    if type(limit) is not int or limit < 1:
        raise BundleError(
            f"{bundle.root / 'processor' / 'config.json'}: original_max_position_embeddings is {limit!r}; "
            "a model with rope_scaling needs a number of tokens there: export again"
        )
    return ModelLimits(bundle.manifest.context_length, limit)
