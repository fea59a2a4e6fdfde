"""Prompts of Phi-3-Vision as the runtime's cache takes them, made of arrays: an image token of image N is the id -N."""

from typing import Any

import numpy as np

from nexus_edge.interfaces.engine import Engine, Positions
from nexus_edge.interfaces.host import VlmHost
from nexus_edge.interfaces.processor import ModelInputs
from nexus_edge.models.phi3_v.host import GraphHost
from nexus_edge.processing.positions import LongRopePositions, SequentialPositions
from nexus_edge.runtimes.vlm.context import Encoded, Tokens
from nexus_edge.runtimes.vlm.image_cache import ImageCache


def host_up_to(limit: int | None) -> GraphHost:
    """Of a model that takes LongRoPE's short factors up to so many tokens; None: it has one set of factors."""
    return GraphHost(SequentialPositions() if limit is None else LongRopePositions(limit))


def inputs_of(ids: Any, pixels: Any = None, sizes: Any = None) -> ModelInputs:
    """What a processor would make: ids [tokens]."""
    row = np.asarray(ids, np.int64)[None]
    inputs: ModelInputs = {"input_ids": row, "attention_mask": np.ones_like(row)}
    if pixels is not None:
        inputs |= {"pixel_values": np.asarray(pixels), "image_sizes": np.asarray(sizes)}
    return inputs


def with_features(ids: Any, images: list[tuple[bytes, np.ndarray]], limit: int | None = None) -> Tokens:
    """A prompt with features that are known already, and what stands for their image's content."""
    host = host_up_to(limit)
    return Tokens.of_prompt(host.prompt(inputs_of(ids)), [Encoded(*image) for image in images], host.positions)


def tokens_of(engine: Engine, host: VlmHost, ids: Any, pixels: Any = None, sizes: Any = None) -> Tokens:
    """A prompt whose images go through the engine."""
    prompt = host.prompt(inputs_of(ids, pixels, sizes))
    return Tokens.of_prompt(prompt, ImageCache(engine, host).encode(prompt.images), host.positions)


def encode(engine: Engine, host: VlmHost, pixels: Any, sizes: Any) -> np.ndarray:
    """Features [image tokens, hidden] of one image."""
    (image,) = host.images({"pixel_values": np.asarray(pixels), "image_sizes": np.asarray(sizes)})
    with engine.vision() as run:
        return host.encode(run, image)


def extend(decoder: Any, ids: np.ndarray, past: int, length: int) -> np.ndarray:
    """Text tokens after `past` others, in a sequence of the regime of `length`: logits [vocab]."""
    positions = Positions(np.arange(past, past + len(ids), dtype=np.int64)[None], length)
    return decoder.extend(decoder.embed(np.asarray(ids, np.int64)), past, positions)
