"""Images and answers that a report shows: what went in, what full precision says to it, and what the runtime says."""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from nexus_edge.parity.metrics import Array

_TEMPLATE = re.compile(r"<\|[^|<>]*\|>")
SIDE = 192  # pixels of a thumbnail's longer side: some kB each, so that a page of them stays far below 1 MB
QUALITY = 80


@dataclass(frozen=True)
class Sample:
    """One input.

    Attributes:
        images: data URIs of thumbnails
        question: "" where none was asked
        reference: whose answer `before` is: "full precision", or "quantized, in PyTorch" where that did not fit
        before: the reference's answer
        after: the runtime's
        distance: how far the two are apart, 0..1, to show the worst first
        seconds: the runtime took; 0 where it was not timed
    """

    images: tuple[str, ...]
    question: str
    reference: str
    before: str
    after: str
    distance: float
    seconds: float = 0.0

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Sample":
        """What `asdict` made of one."""
        texts = {name: str(raw[name]) for name in ("question", "reference", "before", "after")}
        return cls(tuple(raw["images"]), **texts, distance=float(raw["distance"]), seconds=float(raw["seconds"]))


@dataclass(frozen=True)
class Similarities:
    """Cosines of images (rows) and texts (columns) before and after, for a plot.

    `expected` is full precision's, `actual` the quantized model's; both rounded, for people.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    actual: tuple[tuple[float, ...], ...]
    expected: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, rows: Sequence[str], columns: Sequence[str], actual: Array, expected: Array) -> "Similarities":
        """The first rows and columns of two matrices, as many as there are names."""

        def kept(matrix: Array) -> tuple[tuple[float, ...], ...]:
            part = matrix[: len(rows), : len(columns)]
            return tuple(tuple(round(float(number), 4) for number in row) for row in part)

        return cls(tuple(rows), tuple(columns), kept(actual), kept(expected))

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Similarities":
        """What `asdict` made of one."""
        matrices = {name: tuple(tuple(float(n) for n in row) for row in raw[name]) for name in ("actual", "expected")}
        return cls(tuple(raw["rows"]), tuple(raw["columns"]), **matrices)


def thumbnail(image: Image.Image) -> str:
    """A JPEG as a data URI; the image stays as it is."""
    small = image.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def question_of(prompt: str) -> str:
    """A prompt without the tokens of its chat template."""
    return _TEMPLATE.sub("", prompt).strip()


def tokens_apart(before: Sequence[int], after: Sequence[int]) -> float:
    """The share of an answer that comes after its first difference; 0 for equal ones."""
    longest = max(len(before), len(after))
    if list(before) == list(after) or not longest:
        return 0.0
    same = next(
        (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after))
    )
    return (longest - same) / longest


def in_words(labels: Sequence[str], probabilities: Sequence[float], most: int = 3) -> str:
    """The most probable labels: `platelet 98.1%, red blood cell 1.2%`"""
    order = sorted(range(len(labels)), key=lambda i: -probabilities[i])[:most]
    return ", ".join(f"{labels[i]} {probabilities[i]:.1%}" for i in order)
