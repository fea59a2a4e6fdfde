"""What the ladder is climbed with: a few prompts, pictures drawn here, and the way of their tensors through the graphs.

Nothing here is random and nothing is read from elsewhere, so two runs on one bundle see the same numbers.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from nexus_edge.parity.stages import Values, run_torch
from nexus_edge.processing import Phi3VProcessor, Processor
from nexus_edge.processing.base import ModelInputs

if TYPE_CHECKING:
    from nexus_edge.graphs import GraphSpec
    from nexus_edge.models.base import ReferenceModel

QUESTION = "<|user|>\n<|image_1|>\nWhat is shown in this image?<|end|>\n<|assistant|>\n"
COMPARISON = "<|user|>\n<|image_1|>\n<|image_2|>\nWhat differs between the two images?<|end|>\n<|assistant|>\n"
TEXT = (
    "<|user|>\nA lighthouse keeper counts the ships that pass at night: three before midnight and four after it. "
    "How many ships does he count?<|end|>\n<|assistant|>\n"
)
# The grids of crops stay small: a picture of 16 crops takes 2,509 tokens, and more crops test nothing new.
MOST_CROPS = 2
# Above this many tokens the call that switches to LongRoPE's long list costs more than a report is worth.
LONGEST_CALL = 1100


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


@dataclass(frozen=True)
class Step:
    """One run of one graph in PyTorch: what went in, and every value that came out."""

    graph: str
    case: str
    inputs: Values
    expected: Values


def picture(width: int, height: int) -> Image.Image:
    """Two gradients, a disc and a bar: no two crops of it are alike, nor its left and right, nor its top and bottom."""
    y, x = np.mgrid[0:height, 0:width] / np.array([height, width]).reshape(2, 1, 1)
    canvas = np.stack((255 * x, 255 * y, 128 + 90 * np.sin(9 * x + 4 * y)), axis=-1)
    canvas[(x - 0.3) ** 2 + (y - 0.4) ** 2 < 0.03] = (220, 40, 30)
    canvas[(abs(x - 0.75) < 0.06) & (y > 0.5)] = (20, 60, 200)
    return Image.fromarray(canvas.astype(np.uint8))


def with_crops(processor: Processor, num_crops: int) -> Processor:
    """The same processor with another number of crops; the graphs take any."""
    return replace(processor, num_crops=num_crops) if isinstance(processor, Phi3VProcessor) else processor


def make_cases(processor: Processor, long_after: int | None) -> list[Case]:
    """One picture, two pictures, text, and a text long enough for LongRoPE's long list.

    Args:
        processor: the bundle's
        long_after: tokens after which the model takes the long list; None, or too many of them: no such case
    """
    own = min(MOST_CROPS, processor.num_crops) if isinstance(processor, Phi3VProcessor) else MOST_CROPS
    cases = [
        _case("one picture", processor, own, QUESTION, picture(448, 224)),
        # Always a grid of crops, also for a model that was trained on single crops: its order must be right.
        _case("two pictures", processor, MOST_CROPS, COMPARISON, picture(150, 300), picture(80, 80)),
        _case("text", processor, own, TEXT),
    ]
    if long_after is not None and long_after < LONGEST_CALL:
        ids = cases[-1].inputs["input_ids"]
        repeated = np.tile(ids, (1, long_after // ids.shape[1] + 1))[:, : long_after + 8]
        inputs: ModelInputs = {"input_ids": repeated, "attention_mask": np.ones_like(repeated)}
        cases.append(Case("text beyond the LongRoPE limit", "", (), inputs))
    return cases


def _case(name: str, processor: Processor, num_crops: int, prompt: str, *pictures: Image.Image) -> Case:
    return Case(name, prompt, pictures, with_crops(processor, num_crops)(prompt, list(pictures)), num_crops)


def walk(model: "ReferenceModel", specs: "tuple[GraphSpec, ...]", cases: list[Case]) -> Iterator[Step]:
    """Each case through the graphs in PyTorch: vision, embedding, decoder, and the decoder once more for one token.

    Args:
        model: with data; the one that `specs` were made of
        specs: the split of the model, named vision_encoder, embed_tokens and decoder
    """
    graphs = {spec.name: spec for spec in specs}

    def step(graph: str, case: str, inputs: Values) -> Step:
        return Step(graph, case, inputs, run_torch(graphs[graph], inputs))

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
