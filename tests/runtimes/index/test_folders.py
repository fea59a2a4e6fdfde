"""Which pictures people mean."""

import os
from pathlib import Path

import pytest

from nexus_edge.errors import InputError
from nexus_edge.runtimes import find_pictures


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (
        "b.PNG", "a.jpg", "notes.txt", "sub/c.dcm", "sub/deep/d.tiff", "sub/._d.tiff", ".cache/e.png", "picture",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(found: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in found]


def test_a_folder_means_all_pictures_below_it(folder: Path) -> None:
    assert names(find_pictures([folder]), folder) == ["a.jpg", "b.PNG", "sub/c.dcm", "sub/deep/d.tiff"]


def test_a_file_means_itself_whatever_its_ending(folder: Path) -> None:
    assert find_pictures([folder / "picture"]) == [folder / "picture"]


def test_what_is_named_twice_is_there_once_at_its_first_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    found = find_pictures([Path("sub/c.dcm"), folder / "sub", Path("a.jpg"), Path()])
    assert [path.absolute().relative_to(folder).as_posix() for path in found] == [
        "sub/c.dcm", "sub/deep/d.tiff", "a.jpg", "b.PNG"
    ]  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_to_a_folder_above_is_no_endless_way(folder: Path) -> None:
    (folder / "sub" / "loop").symlink_to(folder)
    assert len(find_pictures([folder])) == 4


def test_nothing_there_is_an_error(folder: Path) -> None:
    with pytest.raises(InputError, match=r"absent: no such file or folder"):
        find_pictures([folder, folder / "absent"])
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: no pictures there; they must end in .*\.dcm.*\.png"):
        find_pictures([folder / "empty"])
    with pytest.raises(InputError, match="nothing: no pictures there"):
        find_pictures([])


def test_a_folder_that_cannot_be_read_is_not_passed_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "deep":  # a mode would not stop the administrator
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match="deep: cannot be read: Permission denied"):
        find_pictures([folder])
    with pytest.raises(InputError, match="cannot be read: File name too long"):
        find_pictures([Path("x" * 10_000)])
