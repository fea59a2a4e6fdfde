"""Every kind of argument means the same image, alone and in a list; what is none is refused in words."""

import base64
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nexus_edge.errors import ImageError
from nexus_edge.models.biomedclip.processing import BiomedClipProcessor
from nexus_edge.models.phi3_v.processing import Phi3VProcessor
from nexus_edge.processing.images import load_image
from nexus_edge.processing.sources import as_images

SCENE = np.random.default_rng(3).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(SCENE).save(file, "PNG")
    return file.getvalue()


def at_its_end() -> io.BytesIO:
    file = io.BytesIO()
    file.write(png())
    return file


def on_disk(folder: Path) -> Path:
    (folder / "scene.png").write_bytes(png())
    return folder / "scene.png"


KINDS: dict[str, Callable[[Path], object]] = {
    "str": lambda folder: str(on_disk(folder)),
    "path": on_disk,
    "bytes": lambda folder: png(),
    "bytearray": lambda folder: bytearray(png()),
    "memoryview": lambda folder: memoryview(png()),
    "BytesIO": lambda folder: io.BytesIO(png()),
    "BytesIO just written": lambda folder: at_its_end(),
    "open file": lambda folder: on_disk(folder).open("rb"),
    "pillow": lambda folder: Image.fromarray(SCENE),
    "pillow, not loaded": lambda folder: Image.open(on_disk(folder)),
    "array": lambda folder: SCENE,
    "array, strided": lambda folder: np.repeat(SCENE, 2, axis=1)[:, ::2],
    "data URI": lambda folder: "data:image/png;base64," + base64.b64encode(png()).decode(),
    "data URI, loose": lambda folder: "DATA:;base64," + base64.encodebytes(png()).decode().rstrip("=\n"),
    "data URI, quoted": lambda folder: "data:image/png," + "".join(f"%{byte:02x}" for byte in png()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_the_same_image_alone_and_in_a_list(
    kind: str, tmp_path: Path, checkpoint: Path, dual_checkpoint: Path
) -> None:
    assert np.array_equal(np.asarray(load_image(KINDS[kind](tmp_path))), SCENE)  # type: ignore[arg-type]
    phi3, towers = Phi3VProcessor.from_folder(checkpoint), BiomedClipProcessor.from_folder(dual_checkpoint)
    expected = phi3("<|image_1|>", [Image.fromarray(SCENE)])["pixel_values"], towers.images([Image.fromarray(SCENE)])
    for wrap in (lambda image: image, lambda image: [image], lambda image: (image,), lambda image: iter([image])):
        assert np.array_equal(phi3("<|image_1|>", wrap(KINDS[kind](tmp_path)))["pixel_values"], expected[0])
        assert np.array_equal(towers.images(wrap(KINDS[kind](tmp_path))), expected[1])


def test_arrays_of_1_and_4_channels() -> None:
    grey = SCENE[:, :, 0]
    assert np.array_equal(np.asarray(load_image(grey)), np.asarray(load_image(grey[:, :, None])))
    opaque = np.dstack([SCENE, np.full(SCENE.shape[:2], 7, np.uint8)])
    assert np.array_equal(np.asarray(load_image(opaque)), SCENE)


def test_none_is_no_image() -> None:
    assert as_images(None) == [] and as_images(()) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("https://example.org/scan.png", "https://example.org/scan.png is a URL, and images are not fetched"),
        (Path("http://example.org/scan.png"), "is a URL, and images are not fetched"),
        ("s3://bucket/scan.png", "is a URL"),
        ("file:///scans/1.png", "is a URL"),
        ("C:\\scans\\1.png", "no such file"),
        ("data:image/png;base64", "has a comma before its data"),
        ("data:image/png;base64,@", "cannot be read|not base64"),
        ("data:text/plain,hello", "image cannot be read"),
        (
            base64.b64encode(bytes(5000)).decode(),
            r"AAAA\.\.\. .*is not a path; text in base64 needs data:image/png;base64,",
        ),
        ("a\0b", "no such file|is not a path"),
        (io.StringIO("text"), "image is a file of text; open it with 'rb'"),
        (np.zeros((4, 4, 3), np.float32), "not float32 .*if white is 1.0, give"),
        (np.zeros((4, 4), np.uint16), "must be uint8"),
        (np.zeros((4, 4), bool), "must be uint8"),
        (np.zeros((3, 8, 8), np.uint8), "channels come first"),
        (np.zeros((2, 8, 8, 3), np.uint8), "of several images give a list"),
        (np.zeros((4, 4, 2), np.uint8), "1, 3 or 4 channels"),
        (5, "image is a int; give a path, bytes"),
        ({"image": "scan.png"}, "image is a dict"),
    ],
)
def test_what_is_no_image_is_told_in_one_line(given: object, message: str) -> None:
    with pytest.raises(ImageError, match=message) as caught:
        load_image(given)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700


@pytest.mark.parametrize("given", [5, {"image": "scan.png"}, {"scan.png"}, object()])
def test_what_is_no_list_is_told_so(given: object) -> None:
    with pytest.raises(ImageError, match=r"images is a .*; give a path, bytes, .*or a list of those"):
        as_images(given)  # type: ignore[arg-type]


def test_a_file_that_is_closed_or_write_only_is_named(tmp_path: Path) -> None:
    closed = io.BytesIO(png())
    closed.close()
    with (tmp_path / "out").open("wb") as written:
        for file in (closed, written):
            with pytest.raises(ImageError, match="give a file that is open for reading"):
                load_image(file)


def test_an_image_that_was_loaded_is_not_turned_again() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        file = io.BytesIO()
        Image.new("RGB", (30, 10)).save(file, kind, exif=exif)
        once = load_image(file)
        assert once.size == (10, 30)
        assert load_image(once).size == (10, 30)
