"""Messages as a template reads them, with marks in place of what people wrote and of images.

A mark is drawn anew for each conversation and cannot be guessed, so what stands there after rendering is where the text
went. It has no letters, which `upper` would change, and keeps the white space around the text, which `trim` takes.
"""

import re
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from nexus_edge.errors import PromptError
from nexus_edge.processing.messages import Message

ROLES = ("system", "user", "assistant")
Shape = Literal["text", "parts"]


@dataclass(frozen=True)
class Slot:
    """Something of a conversation that a mark stands for.

    Attributes:
        mark: a text that nothing else holds
        text: as it was written, without the white space around it; None for an image
        message: the number of its message, for messages
    """

    mark: str
    text: str | None
    message: int

    @property
    def is_image(self) -> bool:
        """Whether it is an image."""
        return self.text is None


@dataclass
class Conversation:
    """Messages, checked and with their slots.

    Attributes:
        messages: role and content of each, the content a text with marks or parts with them
        slots: texts and images in their order
    """

    messages: list[dict[str, object]] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)
    _nonce: str = field(default_factory=lambda: f"{secrets.randbelow(10**24):024d}")

    @classmethod
    def of(cls, messages: Sequence[Message], shapes: Collection[Shape], after_image: str) -> "Conversation":
        """Check messages and put marks into them.

        Args:
            messages: as a caller gives them
            shapes: the contents that the template takes
            after_image: what follows an image in a template that takes texts alone

        Raises:
            PromptError: there is none, or one has an unknown role, key or part.
        """
        if not messages:
            raise PromptError("the conversation is empty; give at least one message")
        made = cls()
        for number, message in enumerate(messages, start=1):
            role, content = _checked(message, number)
            parts = made._masked(content, number)
            as_text = "text" in shapes and (isinstance(content, str) or "parts" not in shapes)
            if as_text:
                texts = [text + after_image if part == "image" else text for part, text in parts]
                made.messages.append({"role": role, "content": "".join(texts)})
            else:
                objects = [{"type": part} | ({"text": text} if part == "text" else {}) for part, text in parts]
                made.messages.append({"role": role, "content": objects})
        return made

    @property
    def images(self) -> int:
        """How many there are."""
        return sum(slot.is_image for slot in self.slots)

    @property
    def texts(self) -> list[Slot]:
        """The slots of texts."""
        return [slot for slot in self.slots if not slot.is_image]

    def split(self, rendered: str) -> list[str | Slot]:
        """A render at its marks."""
        pieces = self._marks.split(rendered)
        return [self.slots[int(one)] if index % 2 else one for index, one in enumerate(pieces)]

    def with_texts(self, slots: Collection[Slot]) -> list[dict[str, object]]:
        """The messages, with these texts in place of their marks."""
        texts = {slot.mark: slot.text for slot in slots if slot.text is not None}

        def shown(text: str) -> str:
            return self._marks.sub(lambda found: texts.get(found[0], found[0]), text)

        return [_mapped(message, shown) for message in self.messages]

    @property
    def _marks(self) -> re.Pattern[str]:
        return re.compile(f"\ue000{self._nonce}(\\d{{6}})\ue001")

    def _masked(self, content: str | Sequence[Mapping[str, object]], number: int) -> list[tuple[str, str]]:
        """The kind of each part, and its text with a mark in it."""
        if isinstance(content, str):
            return [("text", self._mask(content, number))]
        masked = []
        for part in content:
            kind, text = (part.get("type"), part.get("text")) if isinstance(part, Mapping) else (part, None)
            if kind == "image":
                masked.append(("image", self._slot(None, number)))
            elif kind == "text" and isinstance(text, str):
                masked.append(("text", self._mask(text, number)))
            elif kind == "text":
                raise PromptError(f"message {number} has a text part without 'text'; give one")
            else:
                raise PromptError(f"unknown message part {kind!r:.60}; use 'text' or 'image'")
        return masked

    def _mask(self, text: str, number: int) -> str:
        core = text.strip()
        if not core:
            return text
        start = text.index(core)
        return text[:start] + self._slot(core, number) + text[start + len(core) :]

    def _slot(self, text: str | None, number: int) -> str:
        slot = Slot(f"\ue000{self._nonce}{len(self.slots):06d}\ue001", text, number)
        self.slots.append(slot)
        return slot.mark


def _checked(message: Mapping[str, object], number: int) -> tuple[str, str | Sequence[Mapping[str, object]]]:
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        hint = "; tools are not supported" if role in ("tool", "function", "ipython") else ""
        raise PromptError(f"unknown role {role!r:.60} in the conversation; use one of {', '.join(ROLES)}{hint}")
    more = [key for key in message if key not in ("role", "content")]
    if more:
        hint = "tools are not supported" if more[0] in ("tool_calls", "tools", "tool_call_id") else "leave it out"
        raise PromptError(f"message {number} has {more[0]!r:.60} beside role and content; {hint}")
    if not isinstance(content, str | Sequence):
        raise PromptError(f"message {number} has a {type(content).__name__} as its content; give a text, or parts")
    return str(role), content


def _mapped(value: dict[str, object], change: Callable[[str], str]) -> dict[str, object]:
    """A copy with changed texts, parts included."""
    copy: dict[str, object] = {}
    for key, one in value.items():
        if isinstance(one, list):
            copy[key] = [_mapped(part, change) for part in one]
        else:
            copy[key] = change(one) if isinstance(one, str) else one
    return copy
