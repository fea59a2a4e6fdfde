"""OpenVINO GenAI's VLMPipeline as a client, and in numpy what it makes of images (version 2026.4, type `phi3_v`).

Where that differs from the original, and from what our runtimes do:

* Its global view takes the cubic spline with a = -0.5 at asymmetric coordinates, the original -0.75 at half pixels. A
  image that is enlarged from 336 x 336 to its crops by k, each pixel to a block, has the same global view in both if
  k is odd, where both take a pixel of the block as it is, or 4, where the original's four taps lie in one block.
* It exchanges rows and columns of the grid of crops: a landscape of 1 x 2 crops is laid out, and counted, as 2 x 1.
  Only square grids are laid out as the model was trained.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino_genai as genai
from phi3_prompts import encode, with_features
from PIL import Image

from nexus_edge.models.phi3_v.processing import Phi3VProcessor, preprocess_images
from nexus_edge.models.phi3_v.prompt import encode_prompt, split_prompt
from nexus_edge.processing.hd_transform import CROP, hd_geometry, hd_transform
from nexus_edge.processing.normalise import CLIP_MEAN, CLIP_STD
from nexus_edge.runtimes import VLM
from nexus_edge.runtimes.vlm.context import Context, Tokens

EXACT = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
BACKENDS = ("PA", "SDPA")
"""Its attention: paged, and stateful."""

Encode = Callable[[VLM, Image.Image, int], np.ndarray]


def pipeline(folder: Path, backend: str) -> genai.VLMPipeline:
    """On the CPU, rounding nothing."""
    return genai.VLMPipeline(folder, "CPU", ATTENTION_BACKEND=backend, **EXACT)


def tensors(images: Sequence[Image.Image]) -> list[ov.Tensor]:
    return [ov.Tensor(np.asarray(image)[None]) for image in images]


def answer(
    client: genai.VLMPipeline, question: str, images: Sequence[Image.Image], **options: Any
) -> tuple[str, float, int]:
    """Greedy: the text, the sum of its tokens' log probabilities, and the prompt's length in tokens."""
    config = client.get_generation_config()
    config.update_generation_config(logprobs=1, **options)
    result = client.generate(question, images=tensors(images), generation_config=config)
    return result.texts[0], result.scores[0], result.perf_metrics.get_num_input_tokens()


def as_genai(vlm: VLM, image: Image.Image, num_crops: int) -> np.ndarray:
    """Features [tokens, hidden] of an image in its way."""
    pixels, sizes, _ = preprocess_images([image], num_crops)
    pixels[0, 0] = _normalised(_global_view(hd_transform(image, hd_geometry(*image.size, num_crops))))
    return encode(vlm.engine, vlm.host, pixels, sizes[:, ::-1])


def as_original(vlm: VLM, image: Image.Image, num_crops: int) -> np.ndarray:
    """Features [tokens, hidden] of an image in the original's way."""
    return encode(vlm.engine, vlm.host, *preprocess_images([image], num_crops)[:2])


def prompt_of(
    vlm: VLM,
    processor: Phi3VProcessor,
    question: str,
    images: Sequence[Image.Image] = (),
    seen: Encode = as_original,
) -> Tokens:
    """A question about images as `seen` has them."""
    features = [seen(vlm, image, processor.num_crops) for image in images]
    tags = "".join(f"<|image_{number + 1}|>\n" for number in range(len(images)))
    prompt = str(processor.apply_chat_template([{"role": "user", "content": tags + question}]))
    chunks, numbers = split_prompt(prompt, len(images))
    ids = encode_prompt(chunks, numbers, [len(rows) for rows in features], processor.encode)
    return with_features(ids, [(bytes([number]), rows) for number, rows in enumerate(features)])


def greedy(context: Context, prompt: Tokens, steps: int, stop_ids: Sequence[int] = ()) -> tuple[list[int], float]:
    """The ids of our engine's answer, and the sum of their log probabilities."""
    logits, taken, total = context.load(prompt)[0], [], 0.0
    while True:
        best = int(logits.argmax())
        taken.append(best)
        total += _log_probability(logits, best)
        if best in stop_ids or len(taken) == steps:
            return taken, total
        logits = context.append(best)


def log_probability(context: Context, prompt: Tokens, taken: Sequence[int]) -> float:
    """Of an answer in our engine."""
    logits, total = context.load(prompt)[0], 0.0
    for id_ in taken[:-1]:
        total += _log_probability(logits, id_)
        logits = context.append(id_)
    return total + _log_probability(logits, taken[-1])


def _log_probability(logits: np.ndarray, id_: int) -> float:
    shifted = logits.astype(np.float64) - logits.max()
    return float(shifted[id_] - np.log(np.exp(shifted).sum()))


def _global_view(pixels: np.ndarray) -> np.ndarray:
    """uint8 [height, width, 3] -> [336, 336, 3]"""
    for axis in (0, 1):
        pixels = _resize(pixels, axis)
    return pixels


def _resize(pixels: np.ndarray, axis: int) -> np.ndarray:
    last = pixels.shape[axis] - 1
    centre = np.arange(CROP) * (pixels.shape[axis] / CROP)
    base = np.floor(centre).astype(int)
    result = np.zeros(())
    for tap in range(-1, 3):
        weight = _cubic(np.abs(centre - base - tap))
        rows = np.take(pixels, np.clip(base + tap, 0, last), axis).astype(np.float64)
        result = result + rows * np.expand_dims(weight, tuple(other for other in range(3) if other != axis))
    return result


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' kernel with a = -0.5 for distances 0..2."""
    return np.where(x <= 1, (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2)


def _normalised(pixels: np.ndarray) -> np.ndarray:
    """[336, 336, 3] of 0..255 -> [3, 336, 336]"""
    return ((pixels / 255 - CLIP_MEAN) / CLIP_STD).transpose(2, 0, 1).astype(np.float32)
