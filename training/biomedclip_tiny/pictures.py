"""The BCCD blood smears: pictures, boxes, the split by picture, and stain masks measured from the pixels.

The labels are not complete: red cells in clumps and cells at the border are often left out, and a few boxes carry the
wrong class. So pictures without any usable white-cell box are dropped (those looked at all show one), boxes whose size
contradicts their class are dropped, and the masks let views with stained cells that nobody labelled be passed over.
"""

import csv
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Kind = Literal["white", "red", "platelet"]
Split = Literal["train", "val", "test"]
KINDS: dict[str, Kind] = {"WBC": "white", "RBC": "red", "Platelets": "platelet"}
SMALLEST = 8  # pixels, shorter side
# Pixels, longer side; a white cell below or a platelet above is one of the other kind, as one sees in the pictures.
SIDES: dict[Kind, tuple[int, int]] = {"white": (60, 640), "red": (8, 640), "platelet": (8, 100)}
# Runs of picture numbers in which a field of the slide was photographed twice, somewhat shifted, at places far apart
# in the numbering (229 and 258, 386 and 391). A split by hash alone would put half of these pairs on both sides.
# Found by the cross-correlation of all pairs of pictures (from 0.82 on; 0.76 and less between different fields), and of
# all pairs of white cells; the runs are whole series of such pairs, with what lies between.
RETAKEN = ((19, 20), (37, 38), (200, 282), (370, 410))
MASK = 4  # pixels of the picture per pixel of a mask
# Differences to the picture's own background, in grey levels of 255.
DARKER = 25.0  # green of a cell, whatever its kind
BLUER = 18.0  # blue minus red of a nucleus or a platelet; red cells stay below 5


@dataclass(frozen=True)
class Box:
    """One labelled cell, in pixels of the picture."""

    kind: Kind
    left: float
    top: float
    right: float
    bottom: float

    @property
    def side(self) -> float:
        """The longer side."""
        return max(self.right - self.left, self.bottom - self.top)


@dataclass(frozen=True)
class Smear:
    """One picture. The masks are bool [height / MASK, width / MASK]."""

    name: str
    image: Image.Image
    boxes: tuple[Box, ...]
    cells: NDArray[np.bool_]  # anything darker than the background, without the labelled white cells
    unlabelled: NDArray[np.bool_]  # nucleus or platelet stain outside of all boxes of white cells and platelets


def split_of(name: str) -> Split:
    """By the picture's name alone: the runs of RETAKEN train; of the others 60 % train, 10 % val, 30 % test."""
    number = int(re.sub(r"\D", "", name))
    if any(first <= number <= last for first, last in RETAKEN):
        return "train"
    twentieth = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % 20
    return "test" if twentieth < 6 else "val" if twentieth < 8 else "train"


def usable(box: Box) -> bool:
    """Whether the box's size is one its class can have; a few boxes have no area at all."""
    smallest, largest = SIDES[box.kind]
    return min(box.right - box.left, box.bottom - box.top) >= SMALLEST and smallest <= box.side <= largest


def read_boxes(folder: Path) -> dict[str, tuple[Box, ...]]:
    """labels.csv by picture, in its order."""
    boxes: defaultdict[str, list[Box]] = defaultdict(list)
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            left, top, right, bottom = (float(row[key]) for key in ("xmin", "ymin", "xmax", "ymax"))
            boxes[row["picture"]].append(Box(KINDS[row["label"]], left, top, right, bottom))
    return {name: tuple(boxes[name]) for name in sorted(boxes)}


def smears(folder: Path, split: Split) -> Iterator[Smear]:
    """The usable pictures of one split, by name."""
    for name, boxes in read_boxes(folder).items():
        if split_of(name) != split or not any(box.kind == "white" and usable(box) for box in boxes):
            continue
        with Image.open(folder / "pictures" / name) as file:
            image = file.convert("RGB")
        cells, stained = masks(image)
        labelled = np.zeros_like(cells)
        for box in boxes:
            rows = slice(max(0, int(box.top) // MASK - 2), int(box.bottom) // MASK + 3)
            columns = slice(max(0, int(box.left) // MASK - 2), int(box.right) // MASK + 3)
            if box.kind == "white":
                cells[rows, columns] = False
            if box.kind != "red" and usable(box):
                labelled[rows, columns] = True
        yield Smear(name, image, tuple(filter(usable, boxes)), cells, stained & ~labelled)


def masks(image: Image.Image) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Cells, and nucleus or platelet stain: both [height / MASK, width / MASK]."""
    small = image.resize((image.width // MASK, image.height // MASK), Image.Resampling.BOX)
    pixels = np.asarray(small, np.float32)
    green = pixels[..., 1]
    red0, green0, blue0 = np.median(pixels[green > np.percentile(green, 95) - 12], axis=0)
    return green < green0 - DARKER, pixels[..., 2] - pixels[..., 0] > blue0 - red0 + BLUER
