"""The held-out images of the embedded dual encoder: blood cells for zero-shot, fields with captions for retrieval."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parent / "tiny_biomedclip" / "heldout"
FILE = "crops.json"
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class HeldOutCrop:
    """An image file with a sentence about it; `label` is the one cell it shows, None for a field of many."""

    path: Path
    label: str | None
    caption: str


@dataclass(frozen=True)
class HeldOutImages:
    """What heldout/crops.json lists.

    Attributes:
        labels: the classes of `cells`
        templates: sentences with {} where a label goes; some of them were not used in training
        cells: crops around one cell each; their captions repeat
        fields: crops of many cells; each caption fits its own crop alone
        smears: whole images, larger than a model sees at once
    """

    labels: tuple[str, ...]
    templates: tuple[str, ...]
    cells: tuple[HeldOutCrop, ...]
    fields: tuple[HeldOutCrop, ...]
    smears: tuple[HeldOutCrop, ...]

    @property
    def wanted(self) -> NDArray[np.int64]:
        """The right label of each of `cells`, as its index in `labels`."""
        return np.array([self.labels.index(cell.label or "") for cell in self.cells], dtype=np.int64)


@dataclass(frozen=True)
class ZeroShot:
    """How many of the images of each label got that label; `right` and `asked` are in the order of the labels."""

    right: tuple[int, ...]
    asked: tuple[int, ...]

    @property
    def accuracy(self) -> float:
        """Share of all images, 0..1."""
        return sum(self.right) / sum(self.asked) if sum(self.asked) else 0.0

    @property
    def balanced(self) -> float:
        """Mean of the labels' shares, 0..1; labels without images do not count."""
        shares = [right / asked for right, asked in zip(self.right, self.asked, strict=True) if asked]
        return sum(shares) / len(shares) if shares else 0.0


@dataclass(frozen=True)
class Recall:
    """Share of images that find their own caption among the first k, and of captions that find their image."""

    k: int
    image_to_text: float
    text_to_image: float
    chance: float


def held_out_images(folder: Path = FOLDER) -> HeldOutImages:
    """The set in `folder`; raises FileNotFoundError where there is none."""
    listed = json.loads((folder / FILE).read_text(encoding="utf-8"))
    groups = {
        name: tuple(HeldOutCrop(folder / item["picture"], item.get("label"), item["caption"]) for item in listed[name])
        for name in ("cells", "fields", "smears")
    }
    return HeldOutImages(tuple(listed["labels"]), tuple(listed["templates"]), **groups)


def zero_shot_accuracy(images: Floats, labels: Floats, wanted: Sequence[int] | NDArray[np.int64]) -> ZeroShot:
    """images [n, embed] and labels [classes, embed] are L2-normalised; `wanted` [n] are indices of `labels`."""
    truth = np.asarray(wanted, dtype=np.int64)
    hits = truth[(images @ labels.T).argmax(axis=1) == truth]
    right, asked = (np.bincount(found, minlength=len(labels)) for found in (hits, truth))
    return ZeroShot(tuple(right.tolist()), tuple(asked.tolist()))


def recall_at(k: int, images: Floats, texts: Floats) -> Recall:
    """images and texts [n, embed] are L2-normalised, row i of one belongs to row i of the other.

    Equal similarities count against the model: an own partner is found if fewer than k others are at least as near.
    """
    similarity = images @ texts.T
    own = similarity.diagonal()
    texts_before = (similarity >= own[:, None]).sum(axis=1) - 1
    images_before = (similarity >= own[None, :]).sum(axis=0) - 1
    shares = [float((before < k).mean()) if len(own) else 0.0 for before in (texts_before, images_before)]
    return Recall(k, shares[0], shares[1], min(1.0, k / len(own)) if len(own) else 0.0)
