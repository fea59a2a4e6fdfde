"""A prompt in typed segments: what the template adds is control, what people wrote is text, whatever it looks like."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tokenizers

WHITE_SPACE = (  # Unicode's White_Space, which is what `lstrip` and `rstrip` of an added token mean
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)


@dataclass(frozen=True)
class Control:
    """A control token of the chat template, by its content such as `<|user|>`."""

    token: str

    def __str__(self) -> str:
        return self.token


@dataclass(frozen=True)
class ImagePlace:
    """Where image `number` (1, 2, ...) stands."""

    number: int

    def __str__(self) -> str:
        return f"<|image_{self.number}|>"


@dataclass(frozen=True)
class Prompt:
    """A complete prompt. A `str` among the segments is text: no token, tag or byte of it ever becomes control.

    `str(prompt)` is what the authors' template writes, for reading and for other runtimes. It no longer tells control
    tokens from text that looks like them, so give the prompt itself to the processor.
    """

    segments: tuple[str | Control | ImagePlace, ...]

    def __str__(self) -> str:
        return "".join(map(str, self.segments))

    def split(self) -> tuple[list[tuple[str | Control, ...]], list[int]]:
        """The segments between the images, and the number of each image: one group of segments more than images."""
        chunks: list[list[str | Control]] = [[]]
        numbers = []
        for segment in self.segments:
            if isinstance(segment, ImagePlace):
                numbers.append(segment.number)
                chunks.append([])
            else:
                chunks[-1].append(segment)
        return [tuple(chunk) for chunk in chunks], numbers


@dataclass(frozen=True)
class Section:
    """A stretch of text between two control tokens, as the tokenizer sees it.

    Attributes:
        text: without the white space that the tokens beside it take
        token: the control token after it; None at the end
    """

    text: str
    token: str | None


def sections(segments: Sequence[str | Control], added: Callable[[str], tokenizers.AddedToken | None]) -> list[Section]:
    """The text before each control token and after the last; neighbouring texts are one.

    Args:
        segments: of one chunk
        added: the tokenizer's entry of a token, whose `lstrip` and `rstrip` say whether white space beside it is its
    """
    found: list[Section] = []
    text, strips_left = "", False
    for segment in (*segments, None):
        if isinstance(segment, str):
            text += segment
            continue
        entry = None if segment is None else added(segment.token)
        text = text.lstrip(WHITE_SPACE) if strips_left else text
        text = text.rstrip(WHITE_SPACE) if entry is not None and entry.lstrip else text
        found.append(Section(text, None if segment is None else segment.token))
        text, strips_left = "", entry is not None and entry.rstrip
    return found
