"""Prompts of the Phi-3 family: the chat template, and the tags that stand for pictures."""

import re
from collections.abc import Callable, Sequence
from typing import Literal, TypedDict

from nexus_edge.errors import PromptError

IMAGE_TAG = re.compile(r"<\|image_(\d+)\|>")
ROLES = ("system", "user", "assistant")
STOP_TOKENS = (
    "<|end|>",
    "<|assistant|>",
    "<|endoftext|>",
    "</s>",
)  # config.json names only the last, which never comes


class TextPart(TypedDict):
    """A piece of text in a message."""

    type: Literal["text"]
    text: str


class ImagePart(TypedDict):
    """The place of the next picture in a message."""

    type: Literal["image"]


class Message(TypedDict):
    """One turn. A string has its own `<|image_N|>` tags; the pictures among a list of parts are numbered for you."""

    role: str
    content: str | Sequence[TextPart | ImagePart]


def apply_chat_template(messages: Sequence[Message], add_generation_prompt: bool = True) -> str:
    """The prompt text of a conversation, in the fixed template of the Phi-3 models (no BOS: the tokenizer adds it).

    Pictures given as parts are numbered 1, 2, ... over the whole conversation. Raises PromptError for an empty
    conversation, an unknown role, an unknown part, or parts mixed with hand-written tags.
    """
    if not messages:
        raise PromptError("the conversation is empty; give at least one message")
    numbered = 0
    turns = []
    for message in messages:
        role, content = message["role"], message["content"]
        if role not in ROLES:
            raise PromptError(f"unknown role {role!r} in the conversation; use one of {', '.join(ROLES)}")
        if not isinstance(content, str):
            content, numbered = _render_parts(content, numbered)
        turns.append(f"<|{role}|>\n{content}<|end|>\n")
    text = "".join(turns)
    if numbered and len(IMAGE_TAG.findall(text)) != numbered:
        raise PromptError("the conversation mixes image parts with written <|image_N|> tags; use only one of the two")
    if add_generation_prompt and messages[-1]["role"] != "assistant":
        text += "<|assistant|>\n"
    return text


def _render_parts(parts: Sequence[TextPart | ImagePart], numbered: int) -> tuple[str, int]:
    """The text of one message, and how many pictures are numbered after it."""
    text = ""
    for part in parts:
        if part["type"] == "text":
            text += part["text"]
        elif part["type"] == "image":
            numbered += 1
            text += f"<|image_{numbered}|>\n"
        else:
            raise PromptError(f"unknown message part {part['type']!r}; use 'text' or 'image'")
    return text, numbered


def split_prompt(text: str, num_images: int) -> tuple[list[str], list[int]]:
    """The texts between the image tags, and the number in each tag: one text more than tags.

    The tags must number the pictures 1 to `num_images` without a gap, in any order. A tag may come twice, as in the
    original; it then takes twice the positions, which the model can only refuse. Raises PromptError.
    """
    parts = IMAGE_TAG.split(text)
    chunks, digits = parts[0::2], parts[1::2]
    if any(len(number) > 9 for number in digits):
        raise PromptError("an image tag in the prompt has more than 9 digits; number the pictures 1, 2, ...")
    numbers = [int(number) for number in digits]
    distinct = sorted(set(numbers))
    if distinct != list(range(1, len(distinct) + 1)):
        raise PromptError(f"the prompt's image tags are numbered {distinct}; number them 1, 2, ... without gaps")
    if len(distinct) != num_images:
        raise PromptError(
            f"the prompt has tags for {len(distinct)} pictures, {num_images} given; "
            "give one picture for each <|image_N|> tag"
        )
    return chunks, numbers


def encode_prompt(
    chunks: Sequence[str],
    numbers: Sequence[int],
    num_img_tokens: Sequence[int],
    encode: Callable[[str], list[int]],
) -> list[int]:
    """Token ids of a split prompt, where picture N is `num_img_tokens[N - 1]` times the id -N.

    `encode` runs on every text by itself, an empty one too, so that each starts with its own BOS as in the original.
    """
    ids = encode(chunks[0])
    for number, chunk in zip(numbers, chunks[1:], strict=True):
        ids = ids + [-number] * num_img_tokens[number - 1] + encode(chunk)
    return ids
