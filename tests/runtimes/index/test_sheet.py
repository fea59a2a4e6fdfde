"""The image of hits: as many thumbnails as hits, in their order."""

from pathlib import Path

import numpy as np
import pytest
import toy_dual
from PIL import Image

from nexus_edge.errors import OutputError
from nexus_edge.runtimes import Hit
from nexus_edge.runtimes.dual_encoder.index.sheet import COLUMNS, LINE, MARGIN, MISSING, SIDE, write_sheet


def colour_at(sheet: Image.Image, place: int) -> tuple[int, ...]:
    """Low in the middle of a thumbnail."""
    left, top = (place % COLUMNS) * (SIDE + MARGIN), (place // COLUMNS) * (SIDE + 2 * LINE + MARGIN)
    return sheet.getpixel((MARGIN + left + SIDE // 2, MARGIN + top + SIDE - 5))


def test_hits_are_drawn_in_their_order(tmp_path: Path) -> None:
    names = [f"p/{colour}.{number}.png" for number in range(2) for colour in ("red", "green", "blue")]
    toy_dual.write_images(tmp_path, *names)
    hits = [Hit(name, 0.5) for name in names]
    write_sheet(hits, tmp_path / "i.safetensors", tmp_path / "hits.png")
    with Image.open(tmp_path / "hits.png") as sheet:
        found = [colour_at(sheet, place) for place in range(6)]
    red, green, blue = (255, 0, 0), (0, 128, 0), (0, 0, 255)
    assert found == [red, green, blue] * 2


def test_a_missing_image_is_a_grey_field(tmp_path: Path) -> None:
    write_sheet([Hit("gone.png", 0.1)], tmp_path / "i.safetensors", tmp_path / "hits.png")
    with Image.open(tmp_path / "hits.png") as sheet:
        assert "#" + "".join(f"{value:02x}" for value in colour_at(sheet, 0)) == MISSING


def test_long_and_odd_names_stay_inside_their_column(tmp_path: Path) -> None:
    names = ["red." + "x" * 150 + ".png", "red.\u00df\U0001f9a0\n\n\n\n\n\n.png"]
    toy_dual.write_images(tmp_path, *names)
    write_sheet([Hit(name, -0.25) for name in names], tmp_path / "i.safetensors", tmp_path / "hits.png")
    with Image.open(tmp_path / "hits.png") as sheet:
        pixels = np.asarray(sheet)
    assert (pixels[:, MARGIN + SIDE + 1 : 2 * MARGIN + SIDE - 1] == 255).all()
    assert (pixels[-MARGIN:] == 255).all(), "line breaks in a name are not broken at"


def test_no_hits_make_an_empty_sheet(tmp_path: Path) -> None:
    write_sheet([], tmp_path / "i.safetensors", tmp_path / "hits.png")
    assert (tmp_path / "hits.png").stat().st_size > 0


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        write_sheet([], tmp_path / "i.safetensors", tmp_path / "file" / "hits.png")
