"""Prompts of the Phi-3 family: its chat template, and the tags that stand for images."""

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from nexus_edge._words import counted
from nexus_edge.errors import PromptError
from nexus_edge.processing.templates.chat import ImageTags

Chunk = TypeVar("Chunk")

IMAGE_TAG = re.compile(r"<\|image_(\d+)\|>")
ROLES = ("system", "user", "assistant")
STOP_TOKENS = (
    "<|end|>",
    "<|assistant|>",
    "<|endoftext|>",
    "</s>",
)  # config.json names only the last, which never comes

CHAT_TEMPLATE = (
    "{% for message in messages %}{{'<|' + message['role'] + '|>' + '\\n' + message['content'] + '<|end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt and messages[-1]['role'] != 'assistant' %}{{- '<|assistant|>\\n' -}}"
    "{% endif %}"
)
"""Phi-3-vision's, for checkpoints that bring none."""

IMAGES = ImageTags(IMAGE_TAG)
"""Its texts hold a tag for each image, on a line of its own as in the model card."""


def is_whole_prompt(text: str) -> bool:
    """Whether a text looks like a whole prompt of its own: it begins with a role's token, or tags images."""
    begins = text.lstrip().startswith(tuple(f"<|{role}|>" for role in ROLES))
    return begins or IMAGE_TAG.search(text) is not None


def split_prompt(text: str, num_images: int) -> tuple[list[str], list[int]]:
    """The texts between the image tags, and the number in each tag: one text more than tags.

    For prompts that are written out whole, where each tag counts. Raises PromptError as `check_numbers`.
    """
    parts = IMAGE_TAG.split(text)
    chunks, digits = parts[0::2], parts[1::2]
    if any(len(number) > 9 for number in digits):
        raise PromptError("an image tag in the prompt has more than 9 digits; number the images 1, 2, ...")
    numbers = [int(number) for number in digits]
    check_numbers(numbers, num_images)
    return chunks, numbers


def check_numbers(numbers: Sequence[int], num_images: int) -> None:
    """Images must be numbered 1 to `num_images` without a gap, in any order; raises PromptError.

    One may come twice, as in the original; it then takes twice the positions, which the model can only refuse.
    """
    distinct = sorted(set(numbers))
    if distinct != list(range(1, len(distinct) + 1)):
        raise PromptError(f"the prompt's image tags are numbered {distinct}; number them 1, 2, ... without gaps")
    if len(distinct) != num_images:
        raise PromptError(
            f"the prompt has tags for {counted(len(distinct), 'image')}, {num_images} given; "
            "give one image for each <|image_N|> tag"
        )


def encode_prompt(
    chunks: Sequence[Chunk],
    numbers: Sequence[int],
    num_img_tokens: Sequence[int],
    encode: Callable[[Chunk], list[int]],
) -> list[int]:
    """Token ids of a split prompt, where image N is `num_img_tokens[N - 1]` times the id -N.

    `encode` runs on every chunk by itself, an empty one too, so that each starts with its own BOS as in the original.
    """
    ids = encode(chunks[0])
    for number, chunk in zip(numbers, chunks[1:], strict=True):
        ids = ids + [-number] * num_img_tokens[number - 1] + encode(chunk)
    return ids
