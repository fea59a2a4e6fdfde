"""The HTML report of each verdict and both kinds of model: meaning before codes, images inside of the page."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from nexus_edge.ci import marks
from nexus_edge.parity.intervals import wilson
from nexus_edge.parity.report.html import reasons, samples, tiles, to_html
from nexus_edge.parity.report.report import Check, Report, Rung, from_json, timed
from nexus_edge.parity.samples import Sample, Similarities, in_words, question_of, thumbnail, tokens_apart
from nexus_edge.parity.tolerances import Gate

pytestmark = pytest.mark.slow

GATE = Gate("relative_l2", 1e-2, "rounding of int8 <activations>")
TIES = Gate("greedy_agreement", 1.0, "tokens")
HEAD = ("a-bundle", "{}", "tiny", "trained-tiny", "int4", "mixed", ("onnx",), "0.1.0", "2026-11-23 10:05 UTC")
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (700, 500, 3), np.uint8))


def sample(before: str, after: str, distance: float) -> Sample:
    return Sample((thumbnail(NOISE),), "What is <shown>?", "full precision", before, after, distance, 0.5)


def answers(error: float, ties: float) -> tuple[Rung, ...]:
    shown = (sample("a cat", "a cat", 0.0), sample("a dog", "<script>a fox</script>", 1.0))
    greedy = {"greedy_agreement": 1.0, "ambiguous": ties, "decisions": 12.0}
    price = {"exact_match": 0.8, "exact_match_reference": 1.0, "items": 10.0, "kl": 0.01}
    return (
        Rung("P3", "exporter", (Check("decoder", "output", "text", {"relative_l2": error}, GATE, 2),)),
        Rung("P4", "scheme", (Check("held-out questions", "answers", "10 held-out questions", price, None),)),
        Rung("P5", "end to end", (Check("greedy tokens", "12 tokens", "text", greedy, TIES, samples=shown),)),
    )


def embeddings(error: float, ties: float) -> tuple[Rung, ...]:
    rows = np.eye(2, 3)
    maps = Similarities.of(("one", "two"), ("red", "green", "blue"), rows, rows)
    found = {"accuracy": 1.0, "accuracy_reference": 1.0, "items": 10.0}
    top = {"top1_agreement": 1.0, "ambiguous": ties, "decisions": 10.0}
    return (
        Rung("P3", "exporter", (Check("image_encoder", "output", "one", {"relative_l2": error}, GATE, 0),)),
        Rung("P4", "scheme", (Check("held-out cells", "labels", "10 cells", found, None, similarities=maps),)),
        Rung("P5", "end to end", (Check("top-1", "labels", "x", top, Gate("top1_agreement", 1, "r"),
                                        samples=(sample("red 99%", "red 98%", 0.01),)),)),
    )  # fmt: skip


KINDS = {"phi3_v": answers, "biomedclip": embeddings}
MISSING = Rung("P1", "original", reason="no goldens here")
VERDICTS = {
    "passed": (1e-3, 0.0, ()),
    "ambiguous": (1e-3, 2.0, ()),
    "rejected": (0.5, 0.0, ()),
    "incomplete": (1e-3, 0.0, (MISSING,)),
    "skipped": (1e-3, 0.0, (replace(MISSING, may_be_skipped=True),)),
}


def report(kind: str, verdict: str) -> Report:
    error, ties, more = VERDICTS[verdict]
    head = (HEAD[0], kind, *HEAD[2:])
    return Report(*head, (*more, *KINDS[kind](error, ties)), sizes={"onnx, decoder": 2_500_000, "other files": 10})


class Page(HTMLParser):
    """Text by what a reader sees, and what the page would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.loads: list[str] = []
        self.open: list[str] = []
        self._skip = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._skip += tag in ("style", "script")
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]
        assert tag != "script"

    def handle_endtag(self, tag: str) -> None:
        self._skip -= tag in ("style", "script")

    def handle_data(self, data: str) -> None:
        if not self._skip:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("verdict", list(VERDICTS))
def test_every_report_is_one_small_page_that_loads_nothing(kind: str, verdict: str) -> None:
    text = to_html(report(kind, verdict))
    assert len(text.encode()) < 1_000_000
    assert all(load.startswith("data:image/jpeg;base64,") for load in Page(text).loads)
    for outside in ("@import", "http://www.google", "<script"):
        assert outside not in text
    assert "prefers-color-scheme: dark" in text
    assert marks.KINDS["html"].mark.match(text.encode()), "it may be written again"
    assert "@media print" in text


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("passed", "a-bundle is still the model that it was made from: all 2 checks hold."),
        ("ambiguous", "2 near ties were set aside."),
        ("rejected", "a-bundle is no longer its original: 1 of 2 checks failed."),
        ("incomplete", "Not proven: what ran of a-bundle holds, but P1 was not run: no goldens here."),
        ("skipped", "Skipped: P1 was not run: no goldens here"),
    ],
)
def test_the_verdict_comes_first_and_in_words(kind: str, verdict: str, words: str) -> None:
    text = Page(to_html(report(kind, verdict))).text
    assert words in text
    assert text.index(words) < text.index("What was checked")
    assert text.index("The runtime turns images and text into the same answers.") < text.index("P5, end to end")


def test_near_ties_are_explained_where_they_are() -> None:
    text = Page(to_html(report("phi3_v", "ambiguous"))).text
    assert "2 of 12 decisions are near ties" in text


def test_answers_stand_side_by_side_the_worst_first_and_are_text() -> None:
    page = to_html(report("phi3_v", "passed"))
    assert [shown.before for shown in samples(report("phi3_v", "passed"))] == ["a dog", "a cat"]
    assert "&lt;script&gt;a fox&lt;/script&gt;" in page
    assert "What is &lt;shown&gt;?" in page
    assert len(re.findall(r'class="changed"', page)) == 1


def test_percentages_have_intervals_where_they_were_counted() -> None:
    shown = {tile.label: tile for tile in tiles(report("phi3_v", "passed"))}
    assert shown["exact match"].interval == "49.0% to 94.3%"
    assert shown["KL, mean (nat)"].interval == ""


# 8 of 10, 0 of 10 and 10 of 10 as R's prop.test(x, n, correct = FALSE) gives them, whose interval is Wilson's.
@pytest.mark.parametrize(
    ("share", "count", "low", "high"),
    [(0.8, 10, 0.4902, 0.9433), (0.0, 10, 0.0, 0.2775), (1.0, 10, 0.7225, 1.0)],
)
def test_wilson(share: float, count: int, low: float, high: float) -> None:
    assert wilson(share, count) == pytest.approx((low, high), abs=5e-5)


def test_each_limit_is_there_once_with_its_reason() -> None:
    found = reasons(report("phi3_v", "passed"))
    assert [(reason.where, reason.limit, reason.text) for reason in found] == [
        ("P3: decoder", "relative L2 <= 0.01", "rounding of int8 <activations>"),
        ("P5: greedy tokens", "greedy agreement >= 1", "tokens"),
    ]


def test_samples_travel_in_the_json() -> None:
    one = report("biomedclip", "passed")
    assert from_json(one.to_json()) == one
    assert samples(from_json(one.to_json()))[0].images[0].startswith("data:image/jpeg")


def test_what_samples_say() -> None:
    assert tokens_apart([1, 2, 3, 4], [1, 2, 3, 4]) == 0.0
    assert tokens_apart([1, 2, 3, 4], [1, 9, 3, 4]) == pytest.approx(0.75)
    assert tokens_apart([1, 2], [1, 2, 3, 4]) == pytest.approx(0.5)
    assert tokens_apart([], []) == 0.0
    assert in_words(["a", "b", "c", "d"], [0.1, 0.6, 0.05, 0.25]) == "b 60.0%, d 25.0%, a 10.0%"
    assert question_of("<|user|>\n<|image_1|>\nWhat?<|end|>\n<|assistant|>\n") == "What?"


def test_seconds_of_checks_add_up_to_the_time_that_passed() -> None:
    checks = [replace(Check("s", "t", "c"), made=moment) for moment in (11.0, 13.5, 13.5, 12.0)]
    assert [check.seconds for check in timed(checks, 10.0)] == [1.0, 1.5, 1.5, 1.0]
