"""A conversation: several turns with pictures, of which only what is new is computed."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from nexus_edge.processing import Processor
from nexus_edge.processing.images import Picture, load_image
from nexus_edge.processing.prompt import ImagePart, Message, TextPart
from nexus_edge.processing.segments import Prompt
from nexus_edge.processing.sources import as_pictures
from nexus_edge.runtimes.generation import GenerationOptions


class Answerer(Protocol):
    """What a conversation needs of a `VLM`."""

    @property
    def processor(self) -> Processor:
        """Of the model."""

    def answer(self, prompt: str | Prompt, images: Sequence[Picture], options: GenerationOptions) -> Iterator[str]:
        """The pieces of the answer to a complete prompt."""


class ChatSession:
    """The turns so far. Each prompt is the whole conversation, so that an answer does not depend on what was cached."""

    def __init__(self, model: Answerer, options: GenerationOptions, system: str | None) -> None:
        self._model = model
        self._options = options
        self._system: list[Message] = [] if system is None else [{"role": "system", "content": system}]
        self._messages = list(self._system)
        self._images: list[Picture] = []

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation, an interrupted answer as far as it came."""
        return tuple(self._messages)

    def reset(self) -> None:
        """Forget all turns and pictures; the system message stays."""
        self._messages, self._images = list(self._system), []

    def send(self, text: str, images: Picture | Sequence[Picture] = ()) -> Iterator[str]:
        """The answer to a next turn with its pictures, in pieces.

        Texts are text: neither `text` nor an answer of an earlier turn can hold a control token or the place of a
        picture, whatever it looks like.

        A turn whose answer fails, or stops before its first piece, is as if it had not been sent.

        Raises:
            PromptError: the conversation does not fit into the context any more
            ImageError: a picture cannot be read
        """
        loaded = [load_image(image, f"image {index + 1}") for index, image in enumerate(as_pictures(images))]
        content: list[TextPart | ImagePart] = [
            *[ImagePart(type="image")] * len(loaded),
            TextPart(type="text", text=text),
        ]
        messages: list[Message] = [*self._messages, {"role": "user", "content": content}]
        all_images = [*self._images, *loaded]
        pieces = self._model.answer(self._model.processor.apply_chat_template(messages), all_images, self._options)
        return self._record(pieces, messages, all_images)

    def _record(self, pieces: Iterator[str], messages: list[Message], images: list[Picture]) -> Iterator[str]:
        """Pass the pieces on, and keep the turn."""
        answer = ""
        try:
            for piece in pieces:
                answer += piece
                yield piece
        finally:
            if answer:
                self._messages = [*messages, {"role": "assistant", "content": answer}]
                self._images = images
