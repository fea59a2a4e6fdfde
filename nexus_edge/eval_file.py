"""A user's own examples for a gate: JSON lines, each an image with a question and its right answers, or with a label.

    {"image": "scan.png", "question": "What is shown here?", "answers": ["a fracture", "fracture"]}
    {"image": "cell.jpg", "label": "white blood cell"}

Images are paths relative to the file. `image` may be a list, or absent for a question about no image; `answers` may be
absent where only a change matters. Everything is checked before any work begins, and every image is read once.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nexus_edge._text import parse_json, read_text
from nexus_edge._typed import read
from nexus_edge.errors import ImageError, InputError
from nexus_edge.processing.images import load_image
from nexus_edge.processing.sources import beside

Kind = Literal["question", "label"]
Texts = str | tuple[str, ...]


@dataclass(frozen=True)
class Example:
    """One line.

    Attributes:
        name: its `id`, or its line's number
        images: files that can be read
        question: "" where it is a label
        answers: any of which is right; empty where nothing is known
        label: "" where it is a question
    """

    name: str
    images: tuple[Path, ...]
    question: str = ""
    answers: tuple[str, ...] = ()
    label: str = ""


@dataclass(frozen=True)
class _Question:
    """A line for a model that answers."""

    question: str
    image: Texts = ()
    answers: Texts = ()
    id: str | None = None


@dataclass(frozen=True)
class _Label:
    """A line for a model that embeds."""

    label: str
    image: Texts = ()
    id: str | None = None


def read_examples(path: Path, kind: Kind) -> tuple[Example, ...]:
    """All lines of a file; empty lines are skipped.

    Args:
        path: the file, UTF-8, or what its byte order mark says
        kind: what its lines must be: "question" for a model that answers, "label" for one that embeds

    Raises:
        InputError: naming the file and the line.
    """
    try:
        lines = read_text(path).split("\n")  # not splitlines: JSON's texts may hold other line ends
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not numbered:
        raise InputError(f"{path}: has no examples; write one JSON object a line")
    examples = tuple(_example(line, f"{path}:{number}", path, kind, number) for number, line in numbered)
    seen: set[str] = set()
    for example in examples:
        if example.name in seen:
            raise InputError(f"{path}: the id {example.name!r:.60} appears twice")
        seen.add(example.name)
    return examples


def _example(line: str, where: str, file: Path, kind: Kind, number: int) -> Example:
    try:
        value = parse_json(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: is not valid JSON: {error}") from error
    if kind == "label":
        return _label(read(value, _Label, where, InputError), where, file, number)
    asked = read(value, _Question, where, InputError)
    if not asked.question.strip():
        raise InputError(f"{where}: question is empty")
    answers = tuple(answer.strip() for answer in _several(asked.answers))
    if not all(answers):
        raise InputError(f"{where}: an answer is empty; leave answers out where nothing is known")
    return Example(asked.id or f"line {number}", _images(asked.image, where, file), asked.question, answers)


def _label(said: _Label, where: str, file: Path, number: int) -> Example:
    label = said.label.strip()
    if not label or len(_several(said.image)) != 1:
        raise InputError(f"{where}: needs one image and a label that is not empty")
    return Example(said.id or f"line {number}", _images(said.image, where, file), label=label)


def _images(image: Texts, where: str, file: Path) -> tuple[Path, ...]:
    names = _several(image)
    if not all(names):
        raise InputError(f"{where}: image must be a path or a list of paths, not empty")
    try:
        paths = tuple(beside(file, name) for name in names)
    except ImageError as error:
        raise InputError(f"{where}: {error}") from error
    for path in paths:
        try:
            there = path.is_file()
        except OSError as error:  # a name that no file can have
            raise InputError(f"{where}: the image {str(path)!r:.60} cannot be read: {error.strerror}") from error
        if not there:
            raise InputError(f"{where}: the image {path} is not there")
        try:
            load_image(path)
        except ImageError as error:
            raise InputError(f"{where}: {error}") from error
    return paths


def _several(texts: Texts) -> tuple[str, ...]:
    return (texts,) if isinstance(texts, str) else tuple(texts)
