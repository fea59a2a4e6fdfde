"""A conversation to a prompt, by a checkpoint's own template: what people wrote stays text, whatever the template does.

The template is rendered twice: with marks in place of texts, which shows where each text went and what the template
itself wrote, and with the texts. If the second is the first with the texts in it, that is the prompt. A template that
changes a text (`upper`, `replace`, a cut) shows it in a third render with this text alone; all together must then be
the second. One that writes something else because of what a text says is refused.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from nexus_edge._words import counted
from nexus_edge.errors import PromptError
from nexus_edge.processing.messages import Message
from nexus_edge.processing.segments import Control, ImagePlace, Prompt
from nexus_edge.processing.templates.conversation import Conversation, Shape, Slot
from nexus_edge.processing.templates.source import TemplateSource, read_template, special_tokens
from nexus_edge.processing.tokenizer import Tokenizer

if TYPE_CHECKING:
    from nexus_edge.processing.templates.sandbox import Sandbox

_SPELLED_OUT = re.compile(r"""['"]type['"]""")  # a list that was written as Python or JSON spells it


@dataclass(frozen=True)
class ImageTags:
    """How templates of a family name an image.

    Attributes:
        pattern: the tag in what a template itself writes; group 1, where there is one, is the image's number
        after: what follows an image in a template that takes texts alone
    """

    pattern: re.Pattern[str]
    after: str = "\n"


class ChatTemplate:
    """A Jinja template, and the tokenizer whose control tokens it may write. It is compiled when it is first used."""

    def __init__(
        self, source: TemplateSource, tokenizer: Tokenizer, images: ImageTags, tokens: Mapping[str, str]
    ) -> None:
        """`tokens`: bos_token and the like, as templates name them."""
        self.source = source
        self._tokenizer, self._images, self._tokens = tokenizer, images, tokens

    @classmethod
    def from_folder(cls, folder: Path, tokenizer: Tokenizer, images: ImageTags, fallback: str) -> "ChatTemplate":
        """The template of a checkpoint, or of its family where it brings none; raises CheckpointError."""
        source = read_template(folder) or TemplateSource(fallback, "the built-in chat template")
        return cls(source, tokenizer, images, special_tokens(folder))

    def __call__(self, messages: Sequence[Message], add_generation_prompt: bool = True) -> Prompt:
        """The prompt of a conversation, without the BOS that the tokenizer adds.

        Args:
            messages: turns of system, user and assistant
            add_generation_prompt: whether the template is asked to open the assistant's turn; never after an answer

        Raises:
            PromptError: the template does not take the conversation, or leaves out a part of it.
            CheckpointError: the template is wrong, takes too much, or may not do what it does.
        """
        conversation = Conversation.of(messages, self._shapes, self._images.after)
        opened = add_generation_prompt and messages[-1]["role"] != "assistant"
        render = _Render(self._sandbox, self._tokens, opened, self.source.where)
        pieces = conversation.split(render(conversation.messages))
        self._require_all(conversation, pieces)
        texts = self._texts(conversation, pieces, render)
        return Prompt(self._segments(conversation, pieces, texts))

    @cached_property
    def _sandbox(self) -> "Sandbox":
        from nexus_edge.processing.templates.sandbox import Sandbox

        return Sandbox(self.source)

    @cached_property
    def _shapes(self) -> Collection[Shape]:
        """Which contents the template takes; text where it takes no conversation of one turn at all."""
        parts: list[Message] = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}]
        question: list[Message] = [{"role": "user", "content": "?"}]
        shapes: list[Shape] = ["text"] if self._try(question, "text") is not None else []
        if self._try(question, "parts") is None:
            return shapes or ["text"]
        with_image = self._try(parts, "parts")
        places = with_image is not None and any(map(self._images.pattern.search, with_image))
        return [*shapes, "parts"] if places or not shapes else shapes

    def _try(self, messages: Sequence[Message], shape: Shape) -> list[str] | None:
        """What the template itself writes for messages of one shape; None where it writes no text of them."""
        conversation = Conversation.of(messages, (shape,), self._images.after)
        try:
            rendered = _Render(self._sandbox, self._tokens, True, self.source.where)(conversation.messages)
        except PromptError:
            return None
        pieces = conversation.split(rendered)
        static = [one for one in pieces if isinstance(one, str)]
        shown = any(slot in pieces for slot in conversation.texts)
        return static if shown and not any(map(_SPELLED_OUT.search, static)) else None

    def _require_all(self, conversation: Conversation, pieces: Sequence[str | Slot]) -> None:
        """Nothing of a conversation may be lost."""
        written = {slot for slot in pieces if isinstance(slot, Slot)}
        for slot in conversation.texts:
            if slot not in written:
                role = conversation.messages[slot.message - 1]["role"]
                raise PromptError(
                    f"the checkpoint's chat template leaves out text of message {slot.message} ({role}); leave it out "
                    "yourself, or write out the whole prompt"
                )

    def _texts(self, conversation: Conversation, pieces: Sequence[str | Slot], render: "_Render") -> dict[Slot, str]:
        """What the template makes of each text."""
        texts = {slot: slot.text for slot in conversation.slots if slot.text is not None}
        whole = render(conversation.with_texts(conversation.texts))
        if _joined(pieces, texts) == whole:
            return texts
        marked = _joined(pieces, {})
        for slot, text in texts.items():
            texts[slot] = self._changed(slot, text, marked, render(conversation.with_texts([slot])))
        if _joined(pieces, texts) != whole:
            raise PromptError(_DEPENDS)
        return texts

    def _changed(self, slot: Slot, text: str, marked: str, shown: str) -> str:
        """What became of one text, from a render with its mark and one with itself."""
        times = marked.count(slot.mark)
        length, rest = divmod(len(shown) - len(marked), times)
        length += len(slot.mark)
        start = marked.index(slot.mark)
        changed = shown[start : start + length]
        if rest or length < 0 or marked.replace(slot.mark, changed) != shown:
            raise PromptError(_DEPENDS)
        added = [token for token in self._tokenizer.control_tokens if changed.count(token) > text.count(token)]
        if added or len(self._images.pattern.findall(changed)) > len(self._images.pattern.findall(text)):
            raise PromptError(_DEPENDS)
        return changed

    def _segments(
        self, conversation: Conversation, pieces: Sequence[str | Slot], texts: Mapping[Slot, str]
    ) -> tuple[str | Control | ImagePlace, ...]:
        numbers = {slot: number for number, slot in enumerate((one for one in conversation.slots if one.is_image), 1)}
        segments: list[str | Control | ImagePlace] = []
        placed: list[int] = []
        for piece in pieces:
            if isinstance(piece, str):
                segments += self._static(piece, placed)
            elif piece.is_image:
                placed.append(numbers[piece])
                segments.append(ImagePlace(numbers[piece]))
            else:
                segments.append(texts[piece])
        if sorted(placed) != list(range(1, conversation.images + 1)):
            raise PromptError(
                f"the checkpoint's chat template has {counted(len(placed), 'image tag')} for "
                f"{counted(conversation.images, 'image')} of the conversation; write out the whole prompt"
            )
        bos = self._tokenizer.bos_id
        first = segments[0] if segments else None
        if bos is not None and isinstance(first, Control) and self._tokenizer.token_id(first.token) == bos:
            del segments[0]  # the tokenizer adds it
        return tuple(segments)

    def _static(self, text: str, placed: list[int]) -> list[str | Control | ImagePlace]:
        """What the template itself wrote: text, control tokens and images, whose numbers go into `placed`."""
        segments: list[str | Control | ImagePlace] = []
        start = 0
        for tag in self._images.pattern.finditer(text):
            segments += self._tokenizer.split_control(text[start : tag.start()])
            placed.append(int(tag[1]) if tag.re.groups and len(tag[1]) < 10 else len(placed) + 1)
            segments.append(ImagePlace(placed[-1]))
            start = tag.end()
        return segments + list(self._tokenizer.split_control(text[start:]))


_DEPENDS = (
    "the checkpoint's chat template writes other control tokens, or at other positions, because of what a text says, "
    "so they cannot be told from the text; write out the whole prompt"
)


class _Render:
    """The renders of one conversation, which share a budget."""

    def __init__(self, sandbox: "Sandbox", tokens: Mapping[str, str], add_generation_prompt: bool, where: str) -> None:
        from nexus_edge.processing.templates.budget import Budget

        self._sandbox, self._where = sandbox, where
        self._variables = {"tools": None, "documents": None, **tokens, "add_generation_prompt": add_generation_prompt}
        self._budget: Budget = Budget()

    def __call__(self, messages: Sequence[Mapping[str, object]]) -> str:
        from nexus_edge.processing.templates.sandbox import FailedError, RefusedError

        try:
            return self._sandbox.render({**self._variables, "messages": messages}, self._budget)
        except RefusedError as error:
            message = " ".join(str(error).split())
            raise PromptError(f"the checkpoint's chat template does not take this conversation: {message}") from error
        except FailedError as error:
            raise PromptError(
                f"{self._where} fails on this conversation ({error}); write out the whole prompt"
            ) from error


def _joined(pieces: Sequence[str | Slot], texts: Mapping[Slot, str]) -> str:
    return "".join(one if isinstance(one, str) else texts.get(one, one.mark) for one in pieces)
