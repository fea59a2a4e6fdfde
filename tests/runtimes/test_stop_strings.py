"""However the text is cut into pieces, what comes out is the text up to the first stop string."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_edge.errors import InputError
from nexus_edge.runtimes.vlm.stop_strings import StopStrings

SHORT_TEXT = st.text("ab", max_size=12)


def passed(pieces: list[str], stops: list[str]) -> list[str]:
    """What comes out, piece by piece, as `VLM` uses it."""
    filter_, out = StopStrings(stops), []
    for piece in pieces:
        out.append(filter_.push(piece))
        if filter_.stopped:
            return out
    return [*out, filter_.flush()]


@given(st.lists(SHORT_TEXT, max_size=6), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_nothing_of_a_stop_string_leaks(pieces: list[str], stops: list[str]) -> None:
    """The first end of a stop string in the text decides, and of those that end there the one that begins first."""
    text = "".join(pieces)
    shown = "".join(passed(pieces, stops))
    assert text.startswith(shown)
    assert not any(stop in shown for stop in stops)
    if not any(stop in text for stop in stops):
        assert shown == text
    else:
        assert any(text.startswith(stop, len(shown)) for stop in stops)


def test_one_character_at_a_time() -> None:
    assert passed(list("one END two"), ["END"]) == ["o", "n", "e", " ", "", "", ""]


def test_what_only_began_like_a_stop_string_comes_later() -> None:
    assert passed(["E", "N", "T", "E"], ["END"]) == ["", "", "ENT", "", "E"]


def test_without_stop_strings_nothing_is_held_back() -> None:
    assert passed(["a", "b"], []) == ["a", "b", ""]


def test_an_empty_stop_string_is_refused() -> None:
    with pytest.raises(InputError, match="a stop string is empty"):
        StopStrings(["a", ""])
