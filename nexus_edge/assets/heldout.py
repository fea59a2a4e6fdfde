"""The held-out set of the embedded checkpoint: images it was never trained on, with questions and right answers."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "tiny_phi3_v" / "heldout"


@dataclass(frozen=True)
class HeldOutQuestion:
    """One question about one image file; `kind` is the row of the accuracy table it counts under."""

    image: Path
    kind: str
    question: str
    answer: str


@dataclass(frozen=True)
class Accuracy:
    """Exact match: how many answers were right of how many asked, in all and per kind of question."""

    right: int
    asked: int
    per_kind: dict[str, tuple[int, int]]

    @property
    def share(self) -> float:
        """Right answers as a share of all, 0..1."""
        return self.right / self.asked if self.asked else 0.0


def held_out_questions(limit: int | None = None, folder: Path = FOLDER) -> list[HeldOutQuestion]:
    """The first `limit` questions, or all; those about one image follow each other."""
    entries = json.loads((folder / "questions.json").read_text(encoding="utf-8"))
    questions = [
        HeldOutQuestion(folder / entry["picture"], asked["kind"], asked["question"], asked["answer"])
        for entry in entries
        for asked in entry["questions"]
    ]
    return questions[:limit]


def exact_match(answer: Callable[[Path, str], str], questions: Iterable[HeldOutQuestion]) -> Accuracy:
    """Ask `answer(image, question)` everything; white space around an answer does not count."""
    asked: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for item in questions:
        asked[item.kind] += 1
        right[item.kind] += answer(item.image, item.question).strip() == item.answer
    per_kind = {kind: (right[kind], asked[kind]) for kind in sorted(asked)}
    return Accuracy(right.total(), asked.total(), per_kind)
