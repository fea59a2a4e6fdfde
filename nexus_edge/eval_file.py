"""A user's own examples for a gate: JSON lines, each an image with a question and its right answers, or with a label.

    {"image": "scan.png", "question": "What is shown here?", "answers": ["a fracture", "fracture"]}
    {"image": "cell.jpg", "label": "white blood cell"}

Images are paths relative to the file. `image` may be a list, or absent for a question about no image; `answers` may be
absent where only a change matters. Everything is checked before any work begins.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nexus_edge._fields import Fields
from nexus_edge._text import parse_json, read_text
from nexus_edge.errors import InputError

Kind = Literal["question", "label"]
KEYS: dict[Kind, tuple[str, ...]] = {
    "question": ("image", "question", "answers", "id"),
    "label": ("image", "label", "id"),
}


@dataclass(frozen=True)
class Example:
    """One line.

    Attributes:
        name: its `id`, or its line's number
        images: files, which exist
        question: "" where it is a label
        answers: any of which is right; empty where nothing is known
        label: "" where it is a question
    """

    name: str
    images: tuple[Path, ...]
    question: str = ""
    answers: tuple[str, ...] = ()
    label: str = ""


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
    examples = tuple(_example(line, f"{path}:{number}", path.parent, kind, number) for number, line in numbered)
    names = [example.name for example in examples]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"{path}: the id {twice!r:.60} is there twice")
    return examples


def _example(line: str, where: str, folder: Path, kind: Kind, number: int) -> Example:
    try:
        value = parse_json(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: is no valid JSON: {error}") from error
    table = Fields.of(value, where, InputError, KEYS[kind])
    name = table.text("id") if "id" in table.table else f"line {number}"
    images = _images(table, where, folder)
    if kind == "label":
        label = table.text("label").strip()
        if not label or len(images) != 1:
            raise InputError(f"{where}: needs one image and a label that is not empty")
        return Example(name, images, label=label)
    question = table.text("question")
    if not question.strip():
        raise InputError(f"{where}: question is empty")
    return Example(name, images, question, _answers(table))


def _images(table: Fields, where: str, folder: Path) -> tuple[Path, ...]:
    value = table.table.get("image", [])
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise InputError(f"{where}: image must be a path or a list of paths, not {value!r:.60}")
    paths = tuple(folder / name for name in names)
    for path in paths:
        if not path.is_file():
            raise InputError(f"{where}: the image {path} is not there")
    return paths


def _answers(table: Fields) -> tuple[str, ...]:
    if "answers" not in table.table:
        return ()
    answers = (table.text("answers"),) if isinstance(table.table["answers"], str) else table.texts("answers")
    return tuple(answer.strip() for answer in answers)
