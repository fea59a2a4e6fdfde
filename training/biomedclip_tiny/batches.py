"""Views drawn from smears, with captions, as training batches. The batch of a step depends on the step alone."""

import string
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from captions import Caption, Random, field_caption, subject_caption
from model import Sizes
from numpy.typing import NDArray
from pictures import Box, Kind, Smear
from tokenizers import Tokenizer
from torch import Tensor
from views import Facts, Window, facts_of, seen

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # CLIP's
MIX = {"white": 0.17, "red": 0.17, "platelet": 0.16, "background": 0.05}  # the rest are fields
OTHER_CELL = 0.35  # share of a view about one cell that a white cell of its surroundings may take
FIELD = (140, 480)  # pixels of the picture along a field
BACKGROUND = (48, 140)
NOISE = (
    "sample", "of", "slide", "patient", "human", "hospital", "section", "specimen", "example", "figure", "panel",
    "showing", "typical", "clear", "blurred", "dark", "bright", "colour", "color", "stain", "wright", "microscopic",
    "cytology", "hematology", "laboratory", "high", "low", "power", "magnification", "taken", "by", "good", "this",
    "shows", "seen", "can", "be", "observed", "view", "picture", "normal", "one", "cells", "tissue", "histology",
    "scan", "detail",
)  # fmt: skip


@dataclass(frozen=True)
class View:
    """A window of a smear, what it may be called, and what it is called."""

    smear: Smear
    window: Window
    facts: Facts
    caption: Caption


def around(box: Box, margin: float, shift: tuple[float, float], smear: Smear, turn: tuple[int, bool]) -> Window:
    """A window of `margin` times the box's longer side, off its centre by `shift` sides, moved into the picture."""
    side = min(margin * box.side, smear.image.height, smear.image.width)
    centre = ((box.left + box.right) / 2, (box.top + box.bottom) / 2)
    left, top = (
        min(max(0.0, c + s * side - side / 2), limit - side)
        for c, s, limit in zip(centre, shift, smear.image.size, strict=True)
    )
    return Window(left, top, side, *turn)


def crowded_by_white(smear: Smear, window: Window, own: Box) -> bool:
    """Whether a white cell other than `own` takes much of the view."""
    for box in smear.boxes:
        if box.kind == "white" and box is not own:
            x0, y0, x1, y1 = window.place(box)
            if seen((x0, y0, x1, y1))[0] * (x1 - x0) * (y1 - y0) > OTHER_CELL:
                return True
    return False


def subject_view(smears: Sequence[Smear], kind: Kind, random: Random) -> View:
    """One cell, seldom exactly in the middle."""
    while True:
        smear = smears[random.integers(len(smears))]
        boxes = [box for box in smear.boxes if box.kind == kind]
        if not boxes:
            continue
        box = boxes[random.integers(len(boxes))]
        shift = tuple(random.uniform(-0.12, 0.12, 2))
        window = around(box, random.uniform(1.05, 2.0), shift, smear, turn(random))
        if kind == "white" or not crowded_by_white(smear, window, box):
            facts = facts_of(smear, window, kind)
            return View(smear, window, facts, subject_caption(facts, random))


def any_window(smear: Smear, sides: tuple[int, int], random: Random) -> Window:
    """Anywhere; the logarithm of the side is uniform."""
    side = float(np.exp(random.uniform(*np.log(sides))))
    left, top = (random.uniform(0, limit - side) for limit in smear.image.size)
    return Window(left, top, side, *turn(random))


def turn(random: Random) -> tuple[int, bool]:
    """One of the eight ways to lay a square."""
    return int(random.integers(4)), bool(random.integers(2))


def background_view(smears: Sequence[Smear], random: Random) -> View:
    """Nothing but background."""
    while True:
        smear = smears[random.integers(len(smears))]
        window = any_window(smear, BACKGROUND, random)
        empty = window.look(smear.cells).mean() < 0.01 and not window.look(smear.unlabelled).any()
        if empty and all(seen(window.place(box))[0] < 0.01 for box in smear.boxes):
            facts = facts_of(smear, window, "background")
            return View(smear, window, facts, subject_caption(facts, random))


def field_views(smears: Sequence[Smear], random: Random) -> list[View]:
    """Whatever a window shows, where its white cells are sure; then the same window turned.

    The two differ in nothing but what lies where, so each is the other's hardest negative. Without them, places were
    learned last of all.
    """
    while True:
        smear = smears[random.integers(len(smears))]
        window = any_window(smear, FIELD, random)
        if facts_of(smear, window).clear:
            break
    views = []
    for turned in random.permutation(8)[:2]:
        other = replace(window, turns=int(turned) % 4, mirrored=turned >= 4)
        facts = facts_of(smear, other)
        views.append(View(smear, other, facts, field_caption(facts, random)))
    return views


def draw(smears: Sequence[Smear], count: int, random: Random) -> list[View]:
    """`count` views in the training mix."""
    views = []
    for kind, share in MIX.items():
        for _ in range(round(share * count)):
            of_kind = kind != "background"
            views.append(subject_view(smears, kind, random) if of_kind else background_view(smears, random))
    while len(views) < count:
        views += field_views(smears, random)
    return views[:count]


@dataclass(frozen=True)
class Batch:
    """pixels [n, 3, size, size] normalised; ids int64 [n, tokens]; false bool [n, n], true where caption j is wrong
    about view i; cover [n, patches, 3], the share of each patch inside of white, red and platelet boxes."""

    pixels: Tensor
    ids: Tensor
    false: Tensor
    cover: Tensor


def make_batch(smears: Sequence[Smear], tokenizer: Tokenizer, step: int, count: int, sizes: Sizes) -> Batch:
    """The batch of a step."""
    random = np.random.default_rng([1, step])
    views = draw(smears, count, random)
    crops = np.stack([np.asarray(view.window.crop(view.smear.image, sizes.image)) for view in views])
    texts = [noisy(view.caption.text, random) for view in views]
    false = [[not view.caption.holds(other.facts) for view in views] for other in views]
    cover = np.stack([patch_cover(view, sizes.image // sizes.patch) for view in views])
    ids = encode(tokenizer, texts, sizes.context)
    return Batch(augment(crops, random), ids, torch.tensor(false), torch.from_numpy(cover))


def encode(tokenizer: Tokenizer, texts: Sequence[str], context: int) -> Tensor:
    """Ids [n, tokens of the longest], 0 for padding, cut at `context` with the end mark kept."""
    rows = [tokenizer.encode(text).ids for text in texts]
    rows = [row if len(row) <= context else [*row[: context - 1], row[-1]] for row in rows]
    longest = max(map(len, rows))
    return torch.tensor([row + [0] * (longest - len(row)) for row in rows])


def noisy(text: str, random: Random) -> str:
    """Now and then with words that say nothing, so that unknown ones later do no harm."""
    if random.random() < 0.65:
        return text
    words = text.split()
    for _ in range(random.integers(1, 4)):
        if random.random() < 0.6:
            extra = NOISE[random.integers(len(NOISE))]
        else:
            extra = "".join(random.choice(list(string.ascii_lowercase), random.integers(2, 6)))
        words.insert(random.choice((0, 1, len(words))), extra)
    return " ".join(words)


def patch_cover(view: View, grid: int) -> NDArray[np.float32]:
    """Share of each patch inside of white, red and platelet boxes, [grid * grid, 3]."""
    cover = np.zeros((3, grid, grid), np.float32)
    edges = np.arange(grid + 1) / grid
    for box in view.smear.boxes:
        x0, y0, x1, y1 = view.window.place(box)
        across, down = (
            np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, None) * grid
            for low, high in ((x0, x1), (y0, y1))
        )
        layer = cover[("white", "red", "platelet").index(box.kind)]
        np.maximum(layer, down[:, None] * across, out=layer)
    return cover.reshape(3, -1).T.copy()


def augment(crops: NDArray[np.uint8], random: Random) -> Tensor:
    """[n, size, size, 3] -> [n, 3, size, size], normalised, in other light and colours.

    Brightness, colour, contrast and saturation are linear, so each picture needs one 3 x 3 matrix and one offset.
    """
    n = len(crops)
    light = random.uniform(0.8, 1.2, (n, 1)) * random.uniform(0.94, 1.06, (n, 3))
    contrast, saturation = random.uniform(0.75, 1.25, (n, 1)), random.uniform(0.65, 1.35, (n, 1, 1))
    matrix = saturation * np.eye(3) + (1 - saturation) / 3
    centre = crops[:, ::8, ::8].mean((1, 2)) / 255 * light
    offset = np.einsum("nij,nj->ni", matrix, (1 - contrast) * centre.mean(1, keepdims=True) * np.ones(3))
    matrix = matrix * (contrast * light)[:, None, :] / 255
    matrix, offset = matrix / np.array(STD)[:, None], (offset - MEAN) / STD
    x = torch.from_numpy(crops).flatten(1, 2).float()  # [n, pixels, 3]
    weights, bias = (torch.from_numpy(v.astype(np.float32)) for v in (matrix, offset[:, :, None]))
    return torch.baddbmm(bias, weights, x.transpose(1, 2)).unflatten(2, crops.shape[1:3])
