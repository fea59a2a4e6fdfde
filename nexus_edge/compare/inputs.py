"""What both sides are asked: the examples of a file, else what the bundle carries for `nexus-edge verify`, and where
its weights are those of the embedded checkpoint, held-out examples that these were made to answer.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from PIL import Image

from nexus_edge.bundle import Bundle
from nexus_edge.bundle.reader import GOLDENS
from nexus_edge.errors import InputError
from nexus_edge.eval_file import read_examples
from nexus_edge.parity.samples import question_of

HELD_OUT = 48  # examples of the embedded checkpoint's set: enough to see a change, and done in seconds
Images = tuple[Path | Image.Image, ...]
T = TypeVar("T")


@dataclass(frozen=True)
class Item:
    """A question with its images, or an image to be labelled; `right` holds what is known to be right, if anything."""

    name: str
    question: str
    images: Images
    right: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inputs:
    """Everything that one comparison asks.

    Attributes:
        items: in order
        source: in words, where they are from
        labels, templates, sentences: of a model that embeds; else empty
    """

    items: tuple[Item, ...]
    source: str
    labels: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """64 hex digits: the same for the same questions, texts and pixels or files."""
        texts = [[item.name, item.question] for item in self.items]
        found = hashlib.sha256(json.dumps([texts, self.labels, self.templates, self.sentences]).encode())
        for image in (image for item in self.items for image in item.images):
            found.update(image.read_bytes() if isinstance(image, Path) else image.tobytes())
        return found.hexdigest()

    def to_plain(self) -> dict[str, Any]:
        """As JSON, where all images are files."""
        items = [{**vars(item), "images": [str(image) for image in item.images]} for item in self.items]
        return {**vars(self), "items": items}

    @classmethod
    def of_plain(cls, value: Mapping[str, Any]) -> Self:
        """What `to_plain` made, as it comes out of JSON."""
        items = tuple(
            Item(item["name"], item["question"], tuple(Path(image) for image in item["images"]), tuple(item["right"]))
            for item in value["items"]
        )
        texts = {name: tuple(value[name]) for name in ("labels", "templates", "sentences")}
        return cls(items, value["source"], **texts)


def given(examples: Path, model: Bundle) -> Inputs:
    """Of a user's file, for a model of this kind.

    Raises:
        InputError: the file is wrong
    """
    return _asked(examples) if model.manifest.dual_encoder is None else _labelled(examples)


def carried(bundle: Bundle) -> Inputs:
    """Of the bundle.

    Raises:
        InputError: it carries none
    """
    if GOLDENS not in bundle.manifest.files:
        raise InputError(
            f"{bundle.root}: carries no goldens to compare with (it was exported without its parity ladder); "
            "give questions or labelled images with --eval FILE.jsonl"
        )
    return _carried_questions(bundle) if bundle.manifest.dual_encoder is None else _embedded(bundle)


def _asked(path: Path) -> Inputs:
    examples = read_examples(path, "question")
    items = tuple(Item(example.name, example.question, example.images, example.answers) for example in examples)
    return Inputs(items, path.name)


def _labelled(path: Path) -> Inputs:
    from nexus_edge.runtimes.dual_encoder.prompts import DEFAULT_TEMPLATES

    examples = read_examples(path, "label")
    labels = tuple(sorted({example.label for example in examples}))
    if len(labels) < 2:
        raise InputError(f"{path}: has only one label, {labels[0]!r:.60}; a choice needs two")
    items = tuple(Item(example.name, "", example.images, (example.label,)) for example in examples)
    sentences = tuple(template.replace("{}", label) for template in DEFAULT_TEMPLATES for label in labels)
    return Inputs(items, path.name, labels, DEFAULT_TEMPLATES, sentences)


def _carried_questions(bundle: Bundle) -> Inputs:
    from nexus_edge.assets.heldout import held_out_questions
    from nexus_edge.parity.goldens import read_goldens

    items = []
    for golden in read_goldens(bundle):
        names = sorted(name for name in golden.values if name.startswith("picture."))
        images = tuple(Image.fromarray(golden.values[name]) for name in names)
        question = question_of(bytes(golden.values["prompt"]).decode())  # the runtime puts its own template around
        items.append(Item(golden.name, question, images))
    source = "the bundle's goldens"
    if bundle.manifest.source.weights == "trained-tiny":
        questions = held_out_questions()
        for number, asked in _spread(enumerate(questions), len(questions)):
            items.append(Item(f"held-out question {number}", asked.question, (asked.image,), (asked.answer,)))
        source += " and held-out questions"
    return Inputs(tuple(items), source)


def _embedded(bundle: Bundle) -> Inputs:
    from nexus_edge.assets.heldout_crops import held_out_images
    from nexus_edge.parity.goldens import read_goldens

    items: list[Item] = []
    (golden, *_) = read_goldens(bundle)
    names = sorted(name for name in golden.values if name.startswith("picture."))
    for number, name in enumerate(names, start=1):
        items.append(Item(f"image {number}", "", (Image.open(io.BytesIO(bytes(golden.values[name]))).convert("RGB"),)))
    text = json.loads(bytes(golden.values["text"]))
    source = "the bundle's goldens"
    if bundle.manifest.source.weights == "trained-tiny":
        cells = held_out_images().cells
        for number, cell in _spread(enumerate(cells), len(cells)):
            items.append(Item(f"held-out cell {number}", "", (cell.path,), (cell.label or "",)))
        source += " and held-out cells"
    return Inputs(tuple(items), source, *(tuple(text[name]) for name in ("labels", "templates", "sentences")))


def _spread(examples: Iterable[tuple[int, T]], count: int) -> list[tuple[int, T]]:
    step = max(1, count // HELD_OUT)
    return [(number, example) for number, example in examples if number % step == 0]
