"""The cleaning of texts against open_clip's."""

import subprocess
import sys
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_edge.processing.clean import PLAIN, clean_text

# What ftfy and html react to, between letters: entities, quotes, terminal escapes, line ends, mojibake, surrogates.
PIECES = [
    *"aZ9 &;#<>\"'\t\n\r\x0b\x0c\x1b\x7f\x85\xa0éÃ¤“\u200b\u2028\ufeff",
    *["&amp;", "&lt;", "&#945;", "&Eacute;", "&EACUTE;", "\x1b[31m", "\r\n", "Ã©", "â€™", "ﬁ", "\uff21"],
    "\ud83d\ude00",
]


@pytest.fixture(scope="module")
def original(open_clip: ModuleType) -> object:
    return open_clip.tokenizer.get_clean_fn("whitespace")


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=20).map("".join))
def test_awkward_texts_come_out_as_from_the_original(original, text: str) -> None:
    assert clean_text(text) == original(text)


@settings(max_examples=500, deadline=None)
@given(st.from_regex(PLAIN, fullmatch=True))
def test_the_short_way_for_plain_texts_changes_nothing(original, text: str) -> None:
    assert clean_text(text) == original(text)


def test_a_plain_text_does_not_pay_for_the_repair_of_others() -> None:
    code = (
        "import sys; from nexus_edge.processing.clean import clean_text; "
        "plain = clean_text(' chest  X-ray\\n'); before = 'ftfy' in sys.modules; "
        "print(plain, before, clean_text('5 &micro;m'), 'ftfy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-X", "utf8", "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "chest X-ray False 5 µm True"
