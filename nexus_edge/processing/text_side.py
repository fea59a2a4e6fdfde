"""What the processors of vision-language models do with text alone, whatever they do with images."""

from collections.abc import Iterable

import numpy as np

from nexus_edge.interfaces.processor import ModelInputs
from nexus_edge.processing.tokenizer import StreamDecoder, Tokenizer


class TextSide:
    """The part of a `Processor` that its tokenizer answers."""

    tokenizer: Tokenizer

    def token_id(self, token: str) -> int | None:
        """The id of a token given as text, or None."""
        return self.tokenizer.token_id(token)

    def encode(self, text: str, add_bos: bool = True) -> list[int]:
        """Token ids of a text; an image tag in it is text like any other."""
        return self.tokenizer.encode(text, add_bos)

    def decode(self, ids: Iterable[int]) -> str:
        """Text of token ids, special tokens and those of images left out."""
        return self.tokenizer.decode(ids)

    def stream_decoder(self) -> StreamDecoder:
        """A decoder for ids that arrive one at a time."""
        return StreamDecoder(self.tokenizer)


def as_inputs(ids: list[int]) -> ModelInputs:
    """One prompt without padding: int64 [1, tokens], and a mask of ones."""
    input_ids = np.array([ids], dtype=np.int64)
    return {"input_ids": input_ids, "attention_mask": np.ones_like(input_ids)}
