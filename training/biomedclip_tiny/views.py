"""A view is a square window of a smear, perhaps turned or mirrored; its facts are what a caption may claim about it.

A claim is a short string such as "white_at:upper left". `Facts.sure` can be said of the view; `Facts.possible` also
holds what the labels or a border case leave open. A caption with a claim outside of `possible` is wrong about the view,
and only such captions count as negatives in training.
"""

from dataclasses import dataclass, field

import numpy as np
from pictures import MASK, Box, Smear
from PIL import Image

PLACES = (
    ("upper left", "top", "upper right"),
    ("left", "center", "right"),
    ("lower left", "bottom", "lower right"),
)
SIDES = ("left", "right", "top", "bottom")
WHOLE, GONE = 0.5, 0.1  # visible share of a box: from WHOLE on it is in the view, below GONE it is not
THIRDS, FUZZ = (0.36, 0.64), 0.05  # borders between places, and how near to one both names pass
LARGE, FILLING = 0.36, 0.62  # side of a white cell as a share of the view's
SPARSE, CROWDED = 0.25, 0.40  # share of the view that is darker than the background
ONE_SIDED = 0.22  # difference of that share between two halves
WIDE, CLOSE = 300, 200  # pixels of the picture along the view; red cells are all about 109
LONELY = 12  # mask pixels of unlabelled stain that may still be a speck; a platelet has 25


@dataclass(frozen=True)
class Window:
    """left, top and side in pixels of the picture, then `turns` quarter turns to the left, then a mirror image."""

    left: float
    top: float
    side: float
    turns: int = 0
    mirrored: bool = False

    def crop(self, image: Image.Image, size: int) -> Image.Image:
        """The view, resized as the model's processor does (bicubic, antialiased) to `size` squared."""
        box = (self.left, self.top, self.left + self.side, self.top + self.side)
        view = image.resize((size, size), Image.Resampling.BICUBIC, box=box)
        for _ in range(self.turns):
            view = view.transpose(Image.Transpose.ROTATE_90)
        return view.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if self.mirrored else view

    def place(self, box: Box) -> tuple[float, float, float, float]:
        """A box in the view's coordinates, 0..1 where it is inside."""
        x0, x1 = ((x - self.left) / self.side for x in (box.left, box.right))
        y0, y1 = ((y - self.top) / self.side for y in (box.top, box.bottom))
        for _ in range(self.turns):  # a quarter turn to the left takes (x, y) to (y, 1 - x)
            x0, y0, x1, y1 = y0, 1 - x1, y1, 1 - x0
        return (1 - x1, y0, 1 - x0, y1) if self.mirrored else (x0, y0, x1, y1)

    def look(self, mask: np.ndarray) -> np.ndarray:
        """The part of a mask that the view shows, bool [rows, columns]."""
        rows = slice(round(self.top / MASK), max(1, round((self.top + self.side) / MASK)))
        columns = slice(round(self.left / MASK), max(1, round((self.left + self.side) / MASK)))
        part = np.rot90(mask[rows, columns], self.turns)
        return part[:, ::-1] if self.mirrored else part


@dataclass
class Facts:
    """What may be said of a view. `clear` is False where a white cell or stain makes its counts unsure."""

    sure: list[str] = field(default_factory=list)
    possible: set[str] = field(default_factory=set)
    clear: bool = True

    def add(self, name: str, value: str | int, *also: str | int) -> None:
        """`value` is said, the others in `also` would pass."""
        self.sure.append(f"{name}:{value}")
        self.possible.update(f"{name}:{v}" for v in (value, *also))


def graded(value: float, borders: tuple[float, float], names: tuple[str, ...], fuzz: float) -> list[str]:
    """The name of the interval that `value` lies in, then those that `value` +- `fuzz` touch."""
    at = [int(np.searchsorted(borders, v)) for v in (value, value - fuzz, value + fuzz)]
    return list(dict.fromkeys(names[i] for i in at))


def places(x: float, y: float) -> list[str]:
    """The name of the place (x, y), then those that would pass as well."""
    rows, columns = (graded(v, THIRDS, ("0", "1", "2"), FUZZ) for v in (y, x))
    return [PLACES[int(row)][int(column)] for row in rows for column in columns]


def seen(place: tuple[float, float, float, float]) -> tuple[float, float, float]:
    """Visible share of a box, and the centre of the visible part."""
    x0, y0, x1, y1 = place
    u0, v0, u1, v1 = (min(1.0, max(0.0, v)) for v in place)
    return (u1 - u0) * (v1 - v0) / ((x1 - x0) * (y1 - y0)), (u0 + u1) / 2, (v0 + v1) / 2


def facts_of(smear: Smear, window: Window, subject: str | None = None) -> Facts:
    """All facts of a view; `subject` is the kind of the one cell that the view is about, if it is about one."""
    facts = Facts()
    if subject:
        facts.add("subject", subject)
    else:
        facts.possible.add("subject:red")  # any field may hold one, labelled or not
    count_cells(facts, smear, window, subject)
    cells = window.look(smear.cells)
    cover = float(cells.mean())
    facts.add("cover", *graded(cover, (SPARSE, CROWDED), ("sparse", "medium", "crowded"), 0.03))
    half = np.array_split(cells, 2, 1) + np.array_split(cells, 2, 0)
    left, right, top, bottom = (float(part.mean()) for part in half)
    for side, more in zip(SIDES, (left - right, right - left, top - bottom, bottom - top), strict=True):
        if more > ONE_SIDED:
            facts.add("side", side)
        elif more > ONE_SIDED / 2:
            facts.possible.add(f"side:{side}")
    facts.add("zoom", *graded(window.side, (CLOSE, WIDE), ("close", "medium", "wide"), 20))
    return facts


def count_cells(facts: Facts, smear: Smear, window: Window, subject: str | None) -> None:
    """Numbers, places and sizes of white cells and platelets."""
    shown: dict[str, list[tuple[float, float, float, float, float]]] = {"white": [], "platelet": []}
    maybe = {"white": 0, "platelet": 0}
    for box in smear.boxes:
        if box.kind == "red":
            continue
        place = window.place(box)
        share, x, y = seen(place)
        if share >= WHOLE:
            shown[box.kind].append((x, y, box.side / window.side, share, max(place[2], place[3])))
        elif share > GONE:
            maybe[box.kind] += 1
    speck = int(window.look(smear.unlabelled).sum()) - LONELY
    facts.clear = not maybe["white"] and speck < 8 * LONELY
    maybe["platelet"] += speck > 0
    for kind, cells in shown.items():
        word = {0: "none", 1: "one", 2: "two"}.get(len(cells), "several")
        more = {0: "none", 1: "one", 2: "two"}.get(len(cells) + maybe[kind], "several")
        if maybe[kind]:
            facts.possible.update((f"{kind}:{word}", f"{kind}:{more}"))
        else:
            facts.add(kind, word)
        for x, y, *_ in cells[:3]:
            facts.add(f"{kind}_at", *places(x, y))
        if maybe[kind]:
            facts.possible.update(f"{kind}_at:{place}" for row in PLACES for place in row)
        if cells and subject is None:
            facts.possible.add(f"subject:{kind}")
    for *_, size, share, _ in shown["white"]:
        facts.add("white_size", *graded(size, (LARGE, FILLING), ("small", "large", "filling"), 0.05))
        if share < 0.8:
            facts.add("white_cut", "yes")
        elif share < 0.97:
            facts.possible.add("white_cut:yes")
