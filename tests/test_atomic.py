"""A file that appears complete or not at all."""

from pathlib import Path

import pytest

from nexus_edge._atomic import replaced_when_done
from nexus_edge.errors import OutputError


def test_the_new_file_takes_the_place_of_the_old(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "a.txt"
    for text in ("one", "two"):
        with replaced_when_done(path) as temporary:
            temporary.write_text(text)
            assert not path.exists() or path.read_text() == "one"
        assert path.read_text() == text
    assert [found.name for found in path.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_nothing_else(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one")
    with pytest.raises(error), replaced_when_done(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "one"
    assert [found.name for found in tmp_path.iterdir()] == ["a.txt"]


def test_what_the_disk_refuses_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="folder: cannot be written"), replaced_when_done(tmp_path / "folder") as new:
        new.write_text("a file does not replace a folder")
    assert [found.name for found in tmp_path.iterdir()] == ["folder"]
