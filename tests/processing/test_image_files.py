"""Small files by independent writers, each with the pixels that were written or the reason why it is refused.

`image_files/make.py` wrote them, and names the writers and where expectations come from.
"""

import base64
import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nexus_edge.errors import ImageError
from nexus_edge.processing.images import load_image
from nexus_edge.processing.partial import PartialImageWarning

FOLDER = Path(__file__).parent / "image_files"
FILES: dict[str, dict[str, Any]] = json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))


def test_there_are_many_and_none_is_forgotten() -> None:
    assert len(FILES) >= 60
    assert {path.name for path in FOLDER.iterdir() if path.is_file()} == {*FILES, "make.py", "manifest.json"}


@pytest.mark.filterwarnings("error::nexus_edge.processing.partial.PartialImageWarning")
@pytest.mark.parametrize("name", FILES)
def test_the_file_is_what_was_written_or_refused_in_one_line(name: str) -> None:
    entry = FILES[name]
    if "refused" in entry:
        with pytest.raises(ImageError) as caught:
            load_image(FOLDER / name)
        message = str(caught.value)
        assert entry["refused"] in message and message.startswith(str(FOLDER / name)) and "\n" not in message
        return
    warns = entry.get("warns")
    with pytest.warns(PartialImageWarning, match=warns) if warns else contextlib.nullcontext():
        loaded = load_image(FOLDER / name)
    width, height = entry["size"]
    assert loaded.size == (width, height)
    expected = np.frombuffer(base64.b64decode(entry["expected"]), np.uint8).reshape(height, width, 3)
    difference = np.abs(np.asarray(loaded).astype(int) - expected)
    assert difference.max() <= entry["within"], (
        difference.max(),
        np.asarray(loaded)[::4, ::4, 0],
        expected[::4, ::4, 0],
    )
