"""Cells, fields and whole smears of the test split, for the evaluation and, a part of them, for the wheel.

Run: python training/biomedclip_tiny/heldout.py --data DIR nexus_edge/assets/tiny_biomedclip/heldout
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from batches import around
from captions import HELD_OUT_TEMPLATES, NAMES, field_caption
from pictures import Kind, Smear, Split, smears
from PIL import Image
from views import Facts, Window, facts_of

KINDS: tuple[Kind, ...] = ("white", "red", "platelet")
LABELS = tuple(NAMES[kind][0] for kind in KINDS)
TEMPLATES = ("a photo of a {}", "a {} in a blood smear", *HELD_OUT_TEMPLATES)
MARGIN = 1.4  # side of a crop in sides of its cell
FIELD = (200, 420)  # pixels of the picture along a field
TRIES = 60  # windows per picture that are looked at for fields
QUALITY = 90  # of the JPEG files


@dataclass(frozen=True)
class HeldOut:
    """A crop in the pixels of the picture `source`; `label` is None for a field."""

    source: str
    image: Image.Image
    label: str | None
    caption: str


def cut(smear: Smear, window: Window) -> Image.Image:
    """The window rounded to whole pixels, not turned, not resized."""
    left, top, side = round(window.left), round(window.top), round(window.side)
    return smear.image.crop((left, top, left + side, top + side))


def cells(pool: Sequence[Smear]) -> list[HeldOut]:
    """Every usable box of every kind, by kind; the cell is in the middle where the picture's border allows it."""
    found = []
    for kind, label in zip(KINDS, LABELS, strict=True):
        for smear in pool:
            for box in smear.boxes:
                if box.kind == kind:
                    window = around(box, MARGIN, (0.0, 0.0), smear, (0, False))
                    found.append(HeldOut(smear.name, cut(smear, window), label, f"a photo of a {label}"))
    return found


def fields(pool: Sequence[Smear], count: int) -> list[HeldOut]:
    """Up to `count` windows with a white cell or a platelet, such that no caption fits another's window.

    Windows of one picture may overlap, and count as wrong for each other like any.
    """
    random, chosen = np.random.default_rng(7), list[tuple[HeldOut, Facts, frozenset[str]]]()
    for _ in range(TRIES):
        for smear in pool:
            side = float(np.exp(random.uniform(*np.log(FIELD))))
            left, top = (random.uniform(0, limit - side) for limit in smear.image.size)
            window = Window(round(left), round(top), round(side))
            facts = facts_of(smear, window)
            caption = field_caption(facts)
            something = any(f"{kind}:{n}" in caption.claims for kind in ("white", "platelet") for n in ("one", "two"))
            alone = all(not claims <= facts.possible and not caption.holds(other) for _, other, claims in chosen)
            if facts.clear and something and alone:
                chosen.append((HeldOut(smear.name, cut(smear, window), None, caption.text), facts, caption.claims))
                if len(chosen) == count:
                    return [item for item, _, _ in chosen]
    return [item for item, _, _ in chosen]


def held_out(data: Path, split: Split, count: int) -> tuple[list[HeldOut], list[HeldOut]]:
    """Cells and fields of a split."""
    pool = list(smears(data, split))
    return cells(pool), fields(pool, count)


def whole(pool: Sequence[Smear], count: int) -> list[HeldOut]:
    """The first pictures of the split, in the words for the square in their middle, which is what a model sees."""
    found = []
    for smear in pool[:count]:
        width, height = smear.image.size
        facts = facts_of(smear, Window((width - height) / 2, 0, height))
        found.append(HeldOut(smear.name, smear.image, None, field_caption(facts).text))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cells", type=int, default=30, help="of each kind")
    parser.add_argument("--fields", type=int, default=60)
    parser.add_argument("--smears", type=int, default=2)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    pool = list(smears(args.data, "test"))
    everything = cells(pool)
    some = []
    for label in LABELS:
        alike = [cell for cell in everything if cell.label == label]
        some += [alike[round(i)] for i in np.linspace(0, len(alike) - 1, args.cells)]
    listed: dict[str, object] = {"labels": LABELS, "templates": TEMPLATES}
    groups = {"cells": some, "fields": fields(pool, args.fields), "smears": whole(pool, args.smears)}
    for group, items in groups.items():
        entries = []
        for i, item in enumerate(items):
            name = f"{group[:-1]}_{i:03}.jpg"
            item.image.save(args.folder / name, quality=QUALITY, subsampling=0)
            label = {"label": item.label} if item.label else {}
            entries.append({"picture": name, "source": item.source, **label, "caption": item.caption})
        listed[group] = entries
    (args.folder / "crops.json").write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")
    print({group: len(items) for group, items in groups.items()})


if __name__ == "__main__":
    main()
