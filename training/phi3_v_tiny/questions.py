"""Questions and answers about a scene. Ten kinds; the accuracy table has one row per kind."""

from dataclasses import dataclass

import numpy as np
from scenes import CELLS, COLORS, DIGITS, ROWS, SHAPES, WORDS, Item, Scene


@dataclass(frozen=True)
class QA:
    """One question, its only right answer, and the kind it counts under."""

    kind: str
    question: str
    answer: str


NO_PICTURE = "There is no picture."
TEXT_ONLY = (
    ("Who are you?", "I am a tiny vision model."),
    ("What are you?", "I am a tiny vision model."),
    ("What is your name?", "I am a tiny vision model."),
    ("What can you do?", "I answer questions about simple pictures."),
    ("Hello", "Hello! Show me a picture."),
    ("Hi", "Hello! Show me a picture."),
    ("Thank you", "You are welcome."),
    ("Thanks", "You are welcome."),
)


def name(item: Item) -> str:
    """ "red circle", "blue digit 7", "black word sun"."""
    noun = "digit " if item.kind in DIGITS else "word " if item.kind in WORDS else ""
    return f"{item.color} {noun}{item.kind}"


def describe(scene: Scene) -> str:
    return ", ".join(f"{item.where}: {name(item)}" for item in scene.items)


def _pick(rng: np.random.Generator, *choices: str) -> str:
    return choices[int(rng.integers(len(choices)))]


def _color(scene: Scene, rng: np.random.Generator) -> QA | None:
    kinds = [item.kind for item in scene.shapes]
    known = [(item.kind, item.color) for item in scene.shapes if kinds.count(item.kind) == 1]
    known += [(n, item.color) for n, group in (("digit", DIGITS), ("word", WORDS)) if (item := scene.only(group))]
    if not known:
        return None
    noun, color = known[int(rng.integers(len(known)))]
    return QA("color", _pick(rng, f"What color is the {noun}?", f"Which color does the {noun} have?"), color)


def _shape(scene: Scene, rng: np.random.Generator) -> QA | None:
    colors = [item.color for item in scene.shapes]
    known = [item for item in scene.shapes if colors.count(item.color) == 1]
    if not known:
        return None
    item = known[int(rng.integers(len(known)))]
    return QA("shape", _pick(rng, f"What shape is {item.color}?", f"Which shape is {item.color}?"), item.kind)


def _where(scene: Scene, rng: np.random.Generator) -> QA | None:
    kinds = [item.kind for item in scene.shapes]
    known = [(item.kind, item.where) for item in scene.shapes if kinds.count(item.kind) == 1]
    known += [(n, item.where) for n, group in (("digit", DIGITS), ("word", WORDS)) if (item := scene.only(group))]
    if not known:
        return None
    noun, where = known[int(rng.integers(len(known)))]
    return QA("where", f"Where is the {noun}?", where)


def _cell(scene: Scene, rng: np.random.Generator) -> QA | None:
    word, taken = scene.only(WORDS), {item.place: item for item in scene.items if item.kind not in WORDS}
    cells = [cell for cell in range(9) if not (word and cell // 3 == word.place)]
    if taken and rng.random() < 0.75:
        cells = list(taken)
    cell = cells[int(rng.integers(len(cells)))]
    question = _pick(rng, f"What is at the {CELLS[cell]}?", f"What is in the {CELLS[cell]}?")
    return QA("place", question, name(taken[cell]) if cell in taken else "nothing")


def _count(scene: Scene, rng: np.random.Generator) -> QA:
    which = int(rng.integers(3))
    if which == 0:
        return QA("count", "How many shapes are there?", str(len(scene.shapes)))
    attribute, values = ("kind", SHAPES) if which == 1 else ("color", tuple(COLORS))
    present = [str(getattr(item, attribute)) for item in scene.shapes]
    value = _pick(rng, *present) if present and rng.random() < 0.75 else _pick(rng, *values)
    noun = "crosses" if value == "cross" else f"{value}s" if which == 1 else f"{value} shapes"
    return QA("count", f"How many {noun} are there?", str(present.count(value)))


def _exists(scene: Scene, rng: np.random.Generator) -> QA:
    present = [(item.color, item.kind) for item in scene.shapes]
    pair = (_pick(rng, *COLORS), _pick(rng, *SHAPES))
    if present and rng.random() < 0.5:
        pair = present[int(rng.integers(len(present)))]
    elif present and rng.random() < 0.7:  # a hard "no": colour and shape are both there, on different items
        pair = (_pick(rng, *(color for color, _ in present)), _pick(rng, *(kind for _, kind in present)))
    return QA("yes/no", f"Is there a {pair[0]} {pair[1]}?", "yes" if pair in present else "no")


def _digit(scene: Scene, rng: np.random.Generator) -> QA:
    item = scene.only(DIGITS)
    return QA("digit", _pick(rng, "Which digit is printed?", "What digit is shown?"), item.kind if item else "none")


def _word(scene: Scene, rng: np.random.Generator) -> QA:
    item = scene.only(WORDS)
    return QA("word", _pick(rng, "Which word is printed?", "What word is shown?"), item.kind if item else "none")


def _describe(scene: Scene, rng: np.random.Generator) -> QA:
    question = _pick(rng, "What is shown in this picture?", "Describe the picture.", "What is shown in this image?")
    return QA("describe", question, describe(scene))


MAKERS = (_color, _shape, _where, _cell, _count, _exists, _digit, _word)
EVALUATION_MIX = (1.0, 1.0, 1.0, 1.4, 1.6, 1.4, 1.4, 1.6)
# Looking something up by its shape is what the decoder learns last.
TRAINING_MIX = (2.4, 0.6, 2.4, 1.0, 2.0, 2.0, 0.8, 1.0)


def ask(scene: Scene, rng: np.random.Generator, count: int, mix: tuple[float, ...] = EVALUATION_MIX) -> list[QA]:
    """`count` questions about the scene: first "describe", then kinds drawn by `mix` (in MAKERS' order); none twice."""
    weights = np.array(mix)
    # Reading questions without anything to read teach little more than the answer "none".
    for index, group in ((6, DIGITS), (7, WORDS)):
        if scene.only(group) is None:
            weights[index] = 0.2
    found = {(qa := _describe(scene, rng)).question: qa}
    for _ in range(4 * count):
        qa = MAKERS[int(rng.choice(len(MAKERS), p=weights / weights.sum()))](scene, rng)
        if qa is not None:
            found.setdefault(qa.question, qa)
        if len(found) == count:
            break
    return list(found.values())


def subjects(scene: Scene, question: str) -> list[int]:
    """Which items, by index, an answer has to look at; none for "nothing", "no" and for the whole picture."""
    words = set(question.rstrip("?.").split())
    colors, kinds = words & set(COLORS), {s for s in SHAPES if words & {s, f"{s}s", f"{s}es"}}
    if "digit" in words or "word" in words:
        group = DIGITS if "digit" in words else WORDS
        return [i for i, item in enumerate(scene.items) if item.kind in group]
    if question.startswith(("What is at", "What is in")):
        return [i for i, item in enumerate(scene.items) if question.endswith(f" the {item.where}?")]
    return [
        i
        for i, item in enumerate(scene.items)
        if item.kind in SHAPES and (not colors or item.color in colors) and (not kinds or item.kind in kinds)
    ]


def without_picture(rng: np.random.Generator, scene: Scene) -> QA:
    """A question that is asked with no picture."""
    if rng.random() < 0.5:
        return QA("text", *TEXT_ONLY[int(rng.integers(len(TEXT_ONLY)))])
    return QA("text", ask(scene, rng, 4)[-1].question, NO_PICTURE)


def vocabulary_text() -> list[str]:
    """Every phrase that can occur, for the tokenizer: words of the answers and all question forms."""
    nouns = [
        *SHAPES,
        "crosses",
        *(f"{s}s" for s in SHAPES[:-1]),
        "digit",
        "word",
        "shape",
        "shapes",
        "nothing",
        "none",
        "yes",
        "no",
    ]
    lines = [" ".join((*COLORS, *nouns, *WORDS, *DIGITS, *ROWS, *CELLS, NO_PICTURE))] * 4
    for question in (
        "What",
        "Which",
        "How many",
        "Where",
        "Is there a",
        "Describe the picture.",
        "What is shown in this picture?",
    ):
        lines.append(
            f"{question} is are does have at the in printed? shown? there? color image? left? right? middle? center?"
        )
        lines.append(f"\n{question}")
    return [
        *lines,
        *(text for pair in TEXT_ONLY for text in pair),
        *(f"{n}?" for n in nouns),
        *(f"{c}?" for c in COLORS),
        "a: b, c.",
    ]
