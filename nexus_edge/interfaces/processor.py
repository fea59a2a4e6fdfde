"""What every family's processor offers; runtimes and parity are written against these two protocols."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NotRequired, Protocol, TypedDict, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from nexus_edge.processing.messages import Message
    from nexus_edge.processing.segments import Prompt
    from nexus_edge.processing.sources import ImageInput
    from nexus_edge.processing.tokenizer import StreamDecoder


class ModelInputs(TypedDict):
    """The arrays of one prompt as the family's original has them; the pixel entries are absent when it has no images.

    Row i of the pixel entries belongs to the i-th image in the prompt. `VlmHost` knows which ids are image tokens.
    """

    input_ids: NDArray[np.int64]  # [1, tokens]
    attention_mask: NDArray[np.int64]  # [1, tokens], all ones
    pixel_values: NotRequired[NDArray[np.float32]]  # [images, views, 3, height, width]
    image_sizes: NotRequired[
        NDArray[np.int64]
    ]  # [images, 2], height and width in pixels, of the image or of what the views cover


class Processor(Protocol):
    """Turns one prompt and its images into `ModelInputs`, and token ids back into text."""

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Ids that end a turn."""

    @property
    def largest_id(self) -> int:
        """The largest id that it gives or waits for; a model needs embeddings for all up to this one."""

    def token_id(self, token: str) -> int | None:
        """The id of a token given as text, or None."""

    def __call__(
        self, prompt: "str | Prompt", images: "ImageInput | Sequence[ImageInput] | None" = None
    ) -> ModelInputs:
        """The inputs of one prompt, of the chat template or written out whole; raises PromptError or ImageError."""

    def apply_chat_template(self, messages: "Sequence[Message]", add_generation_prompt: bool = True) -> "Prompt":
        """The prompt of a conversation, in which all text is text; raises PromptError."""

    def is_whole_prompt(self, text: str) -> bool:
        """Whether a text looks like a whole prompt with control tokens, not like a question."""

    @property
    def image_tag(self) -> str:
        """How a whole prompt says where an image stands, for messages."""

    @property
    def most_views(self) -> int:
        """Into how many views beside the whole an image is cut at most; 0 where images are not cut."""

    def with_most_views(self, most: int) -> "Processor":
        """The same processor with another `most_views`; itself where images are not cut.

        Raises InputError where the model's own numbers leave no choice.
        """

    def count_image_tokens(self, width: int, height: int) -> int:
        """How many positions of the prompt an image of this size (in pixels) takes."""

    def encode(self, text: str, add_bos: bool = True) -> list[int]:
        """Token ids of a text without images."""

    def decode(self, ids: Iterable[int]) -> str:
        """Text of token ids, special tokens left out."""

    def stream_decoder(self) -> "StreamDecoder":
        """A decoder for ids that arrive one at a time."""


@runtime_checkable
class DualProcessor(Protocol):
    """Turns images and texts into the inputs of two towers that know nothing of each other."""

    @property
    def image_size(self) -> int:
        """Pixels per side of what the image tower reads."""

    @property
    def context_length(self) -> int:
        """Ids per text, special tokens included."""

    @property
    def largest_id(self) -> int:
        """The largest id that it gives or waits for; a model needs embeddings for all up to this one."""

    def token_id(self, token: str) -> int | None:
        """The id of a token given as text, or None."""

    def images(self, images: "ImageInput | Sequence[ImageInput]") -> NDArray[np.float32]:
        """[images, 3, image_size, image_size]; raises ImageError."""

    def texts(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """[texts, context_length], padded with 0; texts with more ids are cut. Raises PromptError."""

    def count_tokens(self, text: str) -> int:
        """How many ids the whole text has, special tokens included; raises PromptError."""
