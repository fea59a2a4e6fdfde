"""A prompt with its pictures, a picture drawn here, and the way of their tensors through the graphs.

Nothing here is random and nothing is read from elsewhere, so two runs on one bundle see the same numbers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from nexus_edge.parity.metrics import Values
from nexus_edge.parity.stages import Step, run_torch
from nexus_edge.processing import ModelInputs

if TYPE_CHECKING:
    from nexus_edge.graphs import GraphSpec
    from nexus_edge.models.base import ReferenceModel


@dataclass(frozen=True)
class Case:
    """One prompt with its pictures, and what the processor made of them.

    No prompt: the ids were made otherwise. `num_crops` is what the processor was told for these pictures.
    """

    name: str
    prompt: str
    pictures: tuple[Image.Image, ...]
    inputs: ModelInputs
    num_crops: int = 0


def picture(width: int, height: int) -> Image.Image:
    """Two gradients, a disc and a bar: no two crops of it are alike, nor its left and right, nor its top and bottom."""
    y, x = np.mgrid[0:height, 0:width] / np.array([height, width]).reshape(2, 1, 1)
    canvas = np.stack((255 * x, 255 * y, 128 + 90 * np.sin(9 * x + 4 * y)), axis=-1)
    canvas[(x - 0.3) ** 2 + (y - 0.4) ** 2 < 0.03] = (220, 40, 30)
    canvas[(abs(x - 0.75) < 0.06) & (y > 0.5)] = (20, 60, 200)
    return Image.fromarray(canvas.astype(np.uint8))


def walk(model: "ReferenceModel", specs: "tuple[GraphSpec, ...]", cases: list[Case]) -> Iterator[Step]:
    """Each case through the graphs in PyTorch: vision, embedding, decoder, and the decoder once more for one token.

    Args:
        model: with data; the one that `specs` were made of
        specs: the split of the model, named vision_encoder, embed_tokens and decoder
    """
    graphs = {spec.name: spec for spec in specs}

    def step(graph: str, case: str, inputs: Values) -> Step:
        return Step(graph, case, inputs, run_torch(graphs[graph], inputs), graphs[graph])

    for case in cases:
        features: Any = np.zeros((0, graphs["vision_encoder"].outputs[0].shape[-1]), np.float32)
        if "pixel_values" in case.inputs:
            pixels = {name: case.inputs[name] for name in ("pixel_values", "image_sizes")}
            yield (vision := step("vision_encoder", case.name, pixels))
            features = vision.expected["image_features"]
        ids = {"input_ids": case.inputs["input_ids"], "image_features": features}
        yield (embed := step("embed_tokens", case.name, ids))
        yield (prefill := step("decoder", case.name, _decoder_inputs(graphs["decoder"], embed.expected, {})))
        next_id = prefill.expected["logits"][:, -1].argmax(-1)[:, None]
        ids = {"input_ids": next_id, "image_features": features[:0]}
        embedded = run_torch(graphs["embed_tokens"], ids)
        yield step(
            "decoder", f"{case.name}, next token", _decoder_inputs(graphs["decoder"], embedded, prefill.expected)
        )


def _decoder_inputs(spec: "GraphSpec", embedded: Values, before: Values) -> Values:
    """Embeddings, a mask of ones, and as the past what `before` calls present (nothing, on the first call)."""
    embeds = embedded["inputs_embeds"]
    past = {}
    for tensor in spec.inputs[2:]:
        present = tensor.name.replace("past_key_values", "present")
        heads, head_dim = int(tensor.shape[1]), int(tensor.shape[3])
        past[tensor.name] = before.get(present, np.zeros((len(embeds), heads, 0, head_dim), np.float32))
    length = embeds.shape[1] + next(iter(past.values())).shape[2]
    return {"inputs_embeds": embeds, "attention_mask": np.ones((len(embeds), length), np.int64), **past}
