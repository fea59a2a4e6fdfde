"""Without a terminal, long work says where it is now and then, and short work says nothing."""

import pytest

from nexus_edge.cli.progress import EVERY, PlainLines, count_bar, step_bar


def test_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    times = iter([100.0, 101.0, 100.0 + EVERY, 100.5 + EVERY, 101.0 + 2 * EVERY])
    plain = PlainLines(quiet=False, clock=lambda: next(times))
    for line in ("one", "two", "three", "four"):
        plain.say(line)
    assert capsys.readouterr().err == "   10 s  two\n   21 s  four\n"


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    times = iter([0.0, 1000.0])
    PlainLines(quiet=True, clock=lambda: next(times)).say("one")
    assert capsys.readouterr().err == ""


def test_what_is_said_of_steps_and_counts(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nexus_edge.cli.progress.EVERY", 0.0)
    with step_bar(quiet=False) as progress:
        progress("decoder", 0.25)
    with count_bar("images", quiet=False) as counted:
        counted(1200, 5000)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("s  ", 1)[1] for line in lines] == ["decoder (25% done)", "images: 1,200 of 5,000"]
