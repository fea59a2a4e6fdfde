"""Speed of a loaded vision-language model, measured on its engine and without the tokenizer's moods."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nexus_edge.errors import InputError, PromptError
from nexus_edge.interfaces.host import PromptTokens
from nexus_edge.processing.images import ImageInput
from nexus_edge.runtimes.machine import Clock
from nexus_edge.runtimes.vlm.context import Context, Tokens
from nexus_edge.runtimes.vlm.image_cache import ImageCache
from nexus_edge.runtimes.vlm.model import VLM

QUESTION = "What is shown here?"


@dataclass(frozen=True)
class Measurement:
    """One run. Times in seconds; `decode_s` is the sum of `new_tokens - 1` steps."""

    prompt_tokens: int
    new_tokens: int
    prepare_s: float
    vision_s: float
    prefill_s: float
    decode_s: float

    @property
    def first_token_s(self) -> float:
        """From the question to its first token."""
        return self.prepare_s + self.vision_s + self.prefill_s

    @property
    def prefill_tokens_per_s(self) -> float:
        """Prompt tokens per second."""
        return self.prompt_tokens / self.prefill_s

    @property
    def decode_tokens_per_s(self) -> float:
        """New tokens per second after the first."""
        return (self.new_tokens - 1) / self.decode_s


def default_prompt_tokens(vlm: VLM, images: Sequence[ImageInput]) -> int:
    """512 tokens, or what the question takes with its images if that is more."""
    inputs = vlm.processor(vlm.wrap(QUESTION, len(images)), list(images))
    return max(512, inputs["input_ids"].shape[1]) if images else 512


def measure(vlm: VLM, prompt_tokens: int, new_tokens: int, images: Sequence[ImageInput] = ()) -> Measurement:
    """Run a prompt of exactly `prompt_tokens` (images included) and `new_tokens` greedy tokens, stop ids ignored.

    Nothing is reused from earlier runs. The question is repeated or cut to fill the prompt.

    Raises:
        InputError: fewer than 2 new tokens, or no prompt
        PromptError: the images alone have more than `prompt_tokens`, or all of it exceeds the context
    """
    if new_tokens < 2:
        raise InputError(f"new tokens: {new_tokens}; measure at least 2, the first comes from the prompt")
    if prompt_tokens < 1:
        raise InputError(f"prompt tokens: {prompt_tokens}; it must be 1 or more")
    if prompt_tokens + new_tokens > vlm.limits.context_length:
        raise PromptError(
            f"{prompt_tokens} + {new_tokens} tokens exceed the model's context of {vlm.limits.context_length}"
        )
    clock = Clock()
    inputs = vlm.processor(vlm.wrap(QUESTION, len(images)), list(images))
    prompt = _filled(vlm.host.prompt(inputs), prompt_tokens)
    prepare_s = clock.lap()
    encoded = ImageCache(vlm.engine, vlm.host).encode(prompt.images)
    vision_s = clock.lap()
    context = Context(vlm.engine.decoder(), vlm.host)
    logits, _ = context.load(Tokens.of_prompt(prompt, encoded, vlm.host.positions))
    token = int(logits.argmax())
    prefill_s = clock.lap()
    for _ in range(new_tokens - 1):
        token = int(context.append(token).argmax())
    return Measurement(prompt_tokens, new_tokens, prepare_s, vision_s, prefill_s, clock.lap())


def _filled(prompt: PromptTokens, length: int) -> PromptTokens:
    """`prompt` with its end repeated or cut to `length`, the image tokens untouched."""
    ids, is_image = prompt.ids, prompt.is_image
    after = int(np.flatnonzero(is_image)[-1]) + 1 if is_image.any() else 0
    if length <= after:
        raise PromptError(f"the images take {after} tokens; ask for a prompt of more than that")
    ids = np.concatenate((ids[:after], np.resize(ids[after:], length - after)))
    text = np.zeros(length - after, np.bool_)
    return PromptTokens(ids, np.concatenate((is_image[:after], text)), prompt.images)
