"""Turns of a conversation, as a caller gives them."""

from collections.abc import Sequence
from typing import Literal, TypedDict


class TextPart(TypedDict):
    """A piece of text in a message."""

    type: Literal["text"]
    text: str


class ImagePart(TypedDict):
    """The place of the next image in a message."""

    type: Literal["image"]


class Message(TypedDict):
    """One turn: a text, or parts in their order. A tag or a control token in a text is text."""

    role: str
    content: str | Sequence[TextPart | ImagePart]
