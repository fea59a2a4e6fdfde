"""Which images people mean."""

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from nexus_edge.errors import InputError
from nexus_edge.runtimes import find_images
from nexus_edge.runtimes.dual_encoder.index import LeftOut, scan
from nexus_edge.runtimes.dual_encoder.index.folders import summary


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


def test_a_folder_means_all_images_below_it(folder: Path) -> None:
    assert names(find_images([folder]), folder) == ["a.jpg", "b.PNG", "sub/c.dcm", "sub/deep/d.tiff"]


def test_a_file_means_itself_whatever_its_ending(folder: Path) -> None:
    assert find_images([folder / "picture"]) == [folder / "picture"]


def test_what_is_named_twice_is_there_once_at_its_first_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    found = find_images([Path("sub/c.dcm"), folder / "sub", Path("a.jpg"), Path()])
    assert [path.absolute().relative_to(folder).as_posix() for path in found] == [
        "sub/c.dcm", "sub/deep/d.tiff", "a.jpg", "b.PNG"
    ]  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_to_a_folder_above_is_no_endless_way(folder: Path) -> None:
    (folder / "sub" / "loop").symlink_to(folder)
    found = scan([folder])
    assert len(found.images) == 4
    assert {item.path.name: item.reason for item in found.left_out if item.path.name != "notes.txt"} == {
        "._d.tiff": "a hidden file", ".cache": "a hidden folder", "loop": "a link to a folder",
        "picture": "a file of no known kind",
    }  # fmt: skip


def test_nothing_there_is_an_error(folder: Path) -> None:
    with pytest.raises(InputError, match=r"absent: no such file or folder"):
        find_images([folder, folder / "absent"])
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: no images there; name files or folders with images, of any ending"):
        find_images([folder / "empty"])
    (folder / "empty" / "notes.txt").write_text("seen")
    with pytest.raises(InputError, match=r"no images there, only 1 file that is not an image \(notes.txt: a file of"):
        find_images([folder / "empty"])
    with pytest.raises(InputError, match="nothing: no images there"):
        find_images([])


def test_a_folder_that_cannot_be_read_is_not_passed_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "deep":  # a mode would not stop the administrator
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match="deep: cannot be read: Permission denied"):
        find_images([folder])
    with pytest.raises(InputError, match="cannot be read: File name too long"):
        find_images([Path("x" * 10_000)])


def content(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(file, kind)
    return file.getvalue()


def test_images_are_told_by_content_and_the_rest_is_named(tmp_path: Path) -> None:
    dicom = bytes(128) + b"DICM"
    sop_class = b"\x02\x00\x02\x00UI"
    directory, report = b"1.2.840.10008.1.3.10", b"1.2.840.10008.5.1.4.1.1.88.11\0"
    files = {
        "a.jpg": content("JPEG"), "b.heic": content("JPEG"), "c.jfif": content("JPEG"), "d.svs": content("TIFF"),
        "IM000001": dicom, "scan.png.bak": content("PNG"), "e": content("WEBP"), "f.txt": content("GIF"),
        "real.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "damaged.png": b"damaged", "empty.jpg": b"",
        "DICOMDIR": dicom + sop_class + len(directory).to_bytes(2, "little") + directory,
        "report": dicom + sop_class + len(report).to_bytes(2, "little") + report,
        "labels.csv": b"a,b", "a.json": b"{}", "a.txt": b"a cell", "clip.mp4": b"\0\0\0\x18ftypisom\0\0\0\0",
        "paper.pdf": b"%PDF-1.7", "scans.zip": b"PK\x03\x04", "page.jpg": b"<!DOCTYPE html><html>",
        "pointer.jpg": b"version https://git-lfs.github.com/spec/v1\n", ".hidden.jpg": content("JPEG"),
    }  # fmt: skip
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    found = scan([tmp_path])
    assert names(found.images, tmp_path) == sorted(
        ["a.jpg", "b.heic", "c.jfif", "d.svs", "IM000001", "scan.png.bak", "e", "f.txt", "real.heic", "damaged.png",
         "empty.jpg", "pointer.jpg"]
    )  # fmt: skip
    assert {item.path.name: item.reason for item in found.left_out} == {
        "DICOMDIR": "a DICOM directory", "report": "a DICOM report", "labels.csv": "a file of no known kind",
        "a.json": "a file of no known kind", "a.txt": "a file of no known kind", "clip.mp4": "a video",
        "paper.pdf": "PDF", "scans.zip": "ZIP", "page.jpg": "a web page", ".hidden.jpg": "a hidden file",
    }  # fmt: skip


def test_what_was_left_out_is_one_line() -> None:
    left = [LeftOut(Path("x") / name, "ZIP") for name in ("a", "b", "c", "d", "e")]
    hidden = [LeftOut(Path(".a.png"), "a hidden file"), LeftOut(Path("b"), "a link to a folder")]
    assert summary(hidden) == "2 hidden or linked (.a.png: a hidden file, b: a link to a folder)"
    assert summary([*left[:1], *hidden[:1]]) == (
        "1 file that is not an image (a: ZIP), 1 hidden or linked (.a.png: a hidden file)"
    )
    assert summary(left[:1]) == "1 file that is not an image (a: ZIP)"
    assert summary(left) == "5 files that are not images (a: ZIP, b: ZIP, c: ZIP, and 2 more)"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes there")
def test_pipes_and_links_to_nothing_are_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content("PNG"))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "gone").symlink_to(tmp_path / "absent")
    found = scan([tmp_path])
    assert names(found.images, tmp_path) == ["a.png"]
    assert {item.path.name: item.reason for item in found.left_out} == {"pipe": "no file", "gone": "a link to nothing"}
