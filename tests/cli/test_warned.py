"""Warnings on the command line."""

import warnings
from pathlib import Path

import pytest
from PIL import Image

from nexus_edge.cli.warned import MOST, warned
from nexus_edge.errors import ImageError
from nexus_edge.processing.images import load_image
from nexus_edge.processing.partial import PartialImageWarning


def test_a_warning_is_one_line_and_others_say_whose_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with warned():
        warnings.simplefilter("always")
        warnings.warn("a.tif has 3 pages;\n the first is read", PartialImageWarning, stacklevel=1)
        warnings.warn_explicit("Corrupt EXIF data.\nExpecting more", UserWarning, "/site-packages/PIL/Tiff.py", 982)
    assert capsys.readouterr().err.splitlines() == [
        "warning: a.tif has 3 pages; the first is read",
        "warning: Corrupt EXIF data. Expecting more (PIL)",
    ]


def test_a_few_of_each_kind_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with warned():
        warnings.simplefilter("always")
        for number in range(MOST + 3):
            warnings.warn_explicit(f"tag {number}", UserWarning, "/site-packages/PIL/Tiff.py", 1)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == MOST + 1 and lines[-1] == "further warnings of this kind are not shown"


def test_a_damaged_tiff_is_not_told_in_pillows_manner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.tif"
    Image.new("RGB", (8, 8)).save(path)
    content = bytearray(path.read_bytes())
    place = content.index(b"\x01\x01\x04\x00")  # ImageLength, whose count becomes more than the file has
    content[place + 4 : place + 8] = b"\xff\xff\x00\x00"
    path.write_bytes(content)
    with warned(), pytest.raises(ImageError):
        warnings.simplefilter("always")
        load_image(path)
    lines = capsys.readouterr().err.splitlines()
    assert lines and all(line.startswith("warning: ") and line.endswith("(PIL)") for line in lines)
