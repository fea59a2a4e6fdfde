"""Sentences about a view: one cell by its name in many templates, or a field with what is where in it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from views import Facts

Random = np.random.Generator

NAMES = {
    "white": ("white blood cell", "leukocyte", "white cell", "wbc", "leucocyte", "white blood cell (leukocyte)"),
    "red": ("red blood cell", "erythrocyte", "red cell", "rbc", "red blood corpuscle", "red blood cell (erythrocyte)"),
    "platelet": ("platelet", "thrombocyte", "blood platelet", "plt", "platelet (thrombocyte)"),
}
BACKGROUND = ("empty background", "background without cells", "an empty area", "no cells", "background")
MEDIA = (
    "photo", "picture", "image", "microscopy image", "micrograph", "light micrograph", "microscope photo", "close-up",
    "cropped photo", "blood smear image", "pathology image", "medical image",
)  # fmt: skip
# Kept out of training, to see whether other wordings work: see evaluate.py.
HELD_OUT_TEMPLATES = ("a photomicrograph of a {}", "this slide shows a {}", "{} seen through the lens")
SUBJECT_TEMPLATES = (
    "{}", "a {}", "one {}", "a single {}", "the {}", "there is a {} in the middle", "{} presented in image",
    "a stained {}", "a {} in a blood smear", "a {} in peripheral blood", "a {} under the microscope",
    "this is a {}", "blood smear: {}", "giemsa stained {}", "a {} between other cells", "{} in the center",
)  # fmt: skip
STARTS = ("a {} of a", "this is a {} of a", "{} of a", "an example {} of a", "{}:", "the {} of a")  # {}: of MEDIA
OPENINGS = (
    "a blood smear with {}", "{}", "this field shows {}", "a field of view with {}", "microscopy image: {}",
    "a blood smear showing {}", "a photo of a blood smear with {}", "a picture of {}", "stained blood: {}",
    "there is {}", "an image with {}",
)  # fmt: skip
ZOOMS = {"wide": "wide view", "medium": "medium view", "close": "close view"}
AT = {
    "upper left": ("at the upper left", "in the upper left corner", "at the top left"),
    "top": ("at the top", "at the upper edge", "above the middle"),
    "upper right": ("at the upper right", "in the upper right corner", "at the top right"),
    "left": ("on the left", "at the left", "left of the middle"),
    "center": ("in the center", "in the middle", "at the center"),
    "right": ("on the right", "at the right", "right of the middle"),
    "lower left": ("at the lower left", "in the lower left corner", "at the bottom left"),
    "bottom": ("at the bottom", "at the lower edge", "below the middle"),
    "lower right": ("at the lower right", "in the lower right corner", "at the bottom right"),
}
SIDE = {"left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom"}
COVER = {
    "sparse": ("few red blood cells", "sparse red cells", "scattered erythrocytes"),
    "medium": ("red blood cells", "red cells", "erythrocytes"),
    "crowded": ("crowded red blood cells", "densely packed red cells", "crowded erythrocytes"),
}


@dataclass(frozen=True)
class Caption:
    """A sentence and the claims it makes."""

    text: str
    claims: frozenset[str]

    def holds(self, facts: Facts) -> bool:
        """Whether nothing in it is wrong about a view with these facts."""
        return self.claims <= facts.possible


def subject_caption(facts: Facts, random: Random) -> Caption:
    """About the one cell that the view shows, or about there being none."""
    (claim,) = (claim for claim in facts.sure if claim.startswith("subject:"))
    kind = claim.partition(":")[2]
    if kind == "background":
        name, template = pick(BACKGROUND, random), pick(("{}", "{} of a blood smear", "a photo of {}"), random)
    else:
        name, template = pick(NAMES[kind], random), pick(SUBJECT_TEMPLATES, random)
        if random.random() < 0.5:
            start = pick(
                ("a {} of a", "this is a {} of a", "{} of a", "an example {} of a", "{}:", "the {} of a"), random
            )
            template = f"{start.format(pick(MEDIA, random))} {{}}"
    return Caption(articles(template.format(name)), frozenset({claim}))


def field_caption(facts: Facts, random: Random | None = None) -> Caption:
    """About all cells of the view. With `random` in other words and with parts left out; else complete."""
    while True:
        parts = [
            part
            for part in (
                cell_part("white", facts, random),
                cell_part("platelet", facts, random),
                red_part(facts, random),
            )
            if part.text
        ]
        zoom = next((claim for claim in facts.sure if claim.startswith("zoom:")), None)
        if zoom and said(random, 0.3):
            parts.append(Caption(ZOOMS[zoom.partition(":")[2]], frozenset({zoom})))
        if parts:
            break
    if random:
        parts = [parts[i] for i in random.permutation(len(parts))]
    text = pick(OPENINGS, random).format(join([part.text for part in parts], random))
    return Caption(articles(text), frozenset().union(*(part.claims for part in parts)))


def cell_part(kind: str, facts: Facts, random: Random | None) -> Caption:
    """White cells or platelets: how many, where, and how large; empty when unsure or left out."""
    nothing = Caption("", frozenset())
    number = next((claim for claim in facts.sure if claim.startswith(f"{kind}:")), None)
    if number is None or not facts.clear or not said(random, 0.8 if kind == "white" else 0.6):
        return nothing
    claims, name = {number}, pick(NAMES[kind][:3], random)
    at = [claim for claim in facts.sure if claim.startswith(f"{kind}_at:")]
    match number.partition(":")[2]:
        case "none":
            return Caption(f"no {pick((name, name + 's'), random)}", frozenset(claims))
        case "several":
            return Caption(f"{pick(('several', 'many', 'three or more'), random)} {name}s", frozenset(claims))
        case "two":
            text = f"two {name}s"
        case _:
            text = f"{pick(('a', 'one'), random)} {name}"
            size = next((claim for claim in facts.sure if claim.startswith("white_size:")), None)
            if kind == "white" and size and said(random, 0.5):
                claims.add(size)
                word = size.partition(":")[2]
                text = f"{text} filling the view" if word == "filling" else text.replace(name, f"{word} {name}")
            if kind == "white" and "white_cut:yes" in facts.sure and said(random, 0.5):
                claims.add("white_cut:yes")
                text += " cut by the border"
    if said(random, 0.75):
        claims.update(at)
        text += " " + " and ".join(pick(AT[claim.partition(":")[2]], random) for claim in dict.fromkeys(at))
    return Caption(text, frozenset(claims))


def red_part(facts: Facts, random: Random | None) -> Caption:
    """How densely red cells lie, and on which side; how many there are is not sure."""
    if not said(random, 0.6):
        return Caption("", frozenset())
    cover = next(claim for claim in facts.sure if claim.startswith("cover:"))
    claims, text = {cover}, pick(COVER[cover.partition(":")[2]], random)
    sides = [claim for claim in facts.sure if claim.startswith("side:")]
    if sides and said(random, 0.7):
        claims.update(sides)
        text += " mostly " + " and ".join(SIDE[side.partition(":")[2]] for side in sides)
    return Caption(text, frozenset(claims))


def articles(text: str) -> str:
    """ "a" before a vowel as "an"."""
    return re.sub(r"\ba (?=[aeiou])", "an ", text)


def said(random: Random | None, share: float) -> bool:
    """Whether an optional part is said: always without `random`."""
    return random is None or random.random() < share


def pick(options: Sequence[str], random: Random | None) -> str:
    """One of the options; the first without `random`."""
    return options[0] if random is None else options[random.integers(len(options))]


def join(parts: list[str], random: Random | None) -> str:
    """a, b and c"""
    comma = random is not None and random.random() < 0.3
    return ", ".join(parts) if comma else " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def vocabulary_text() -> Iterator[str]:
    """Every phrase, for the tokenizer."""
    groups = (*NAMES.values(), BACKGROUND, MEDIA, SUBJECT_TEMPLATES, OPENINGS, tuple(ZOOMS.values()), *AT.values())
    for group in (*groups, *COVER.values()):
        yield from group
    yield "two several many three or more no mostly and filling the view small large cut by the border a one"
