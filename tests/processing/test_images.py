"""Every kind of image becomes the RGB that a person would see, or an ImageError of one line."""

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nexus_edge.errors import ImageError
from nexus_edge.processing.images import MAX_PIXELS, UPRIGHT, load_image, open_image
from nexus_edge.processing.partial import PartialImageWarning

SCENE = np.random.default_rng(7).integers(0, 256, (5, 9, 3), dtype=np.uint8)
ORIENTATION = 0x0112


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("source", ["path", "text", "bytes", "pillow", "array"])
def test_every_kind_of_source_gives_the_same_pixels(tmp_path: Path, source: str) -> None:
    image = Image.fromarray(SCENE)
    path = tmp_path / "scene.png"
    image.save(path)
    sources = {"path": path, "text": str(path), "bytes": path.read_bytes(), "pillow": image, "array": SCENE}
    loaded = load_image(sources[source])
    assert loaded.mode == "RGB"
    assert np.array_equal(np.asarray(loaded), SCENE)


def test_transparency_is_dropped_not_blended() -> None:
    clear = np.dstack([SCENE, np.zeros(SCENE.shape[:2], np.uint8)])
    assert np.array_equal(np.asarray(load_image(encoded(Image.fromarray(clear)))), SCENE)


def test_transparent_palette_keeps_its_colours_without_a_warning() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load_image(encoded(image, transparency=b"\x00\x80"))
    assert np.asarray(loaded).tolist() == [[[10, 20, 30], [40, 50, 60]]]


@pytest.mark.parametrize("most", [255, 65_535])
@pytest.mark.parametrize("mode", ["P", "PA"])
def test_a_tiff_palette_of_8_bits_is_read_as_one_of_16(mode: str, most: int, tmp_path: Path) -> None:
    """TIFF 6.0, ColorMap: 0 to 65535. libtiff reads a map without a value above 255 as one of 8 bits.

    TIFFReadRGBAImageOriented of libtiff 4.5 gave the same pixels of such files.
    """
    image = Image.fromarray(SCENE).quantize(16)
    colours = np.array(image.getpalette(), np.int64).reshape(-1, 3)
    colours = np.vstack([colours, np.zeros((256 - len(colours), 3), np.int64)])
    path = tmp_path / "image.tif"
    image.convert(mode).save(path)
    by_pillow, wanted = ((colours * factor).T.astype("<u2").tobytes() for factor in (256, most // 255))
    assert path.read_bytes().count(by_pillow) == 1
    path.write_bytes(path.read_bytes().replace(by_pillow, wanted))
    assert np.array_equal(np.asarray(load_image(path)), colours[np.asarray(image)])


@pytest.mark.parametrize("mode", ["La", "RGBa"])
def test_premultiplied_colours_are_those_before(mode: str) -> None:
    image = Image.new("RGBA", (3, 2), (200, 100, 50, 128)).convert({"La": "LA", "RGBa": "RGBA"}[mode])
    expected = np.asarray(image.convert("RGB")).astype(int)
    found = np.asarray(load_image(image.convert(mode))).astype(int)
    assert np.abs(found - expected).max() <= 1, "a colour times 128/255 rounds to 8 bits"


def test_a_palette_with_alpha_is_resized_as_colours() -> None:
    """Pillow resizes the indices of PA and forgets its palette."""
    image = Image.fromarray(np.kron(SCENE, np.ones((4, 4, 1), np.uint8))).quantize(64)
    pixels = np.asarray(open_image(image.convert("PA")).resize((8, 8), Image.Resampling.BICUBIC).convert("RGB"))
    colours = np.asarray(image.convert("RGB").resize((8, 8), Image.Resampling.BICUBIC))
    assert np.abs(pixels.astype(int) - colours).max() <= 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "PA", "CMYK", "YCbCr", "LAB", "HSV", "RGBX"])
def test_other_modes_are_what_pillow_makes_of_them(mode: str) -> None:
    image = Image.new(mode, (3, 2))
    assert np.array_equal(np.asarray(load_image(image)), np.asarray(image.convert("RGB")))


def test_cmyk_jpeg_keeps_its_colours() -> None:
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # magenta and yellow make red
    red, green, blue = np.asarray(load_image(encoded(image, "JPEG", quality=95)))[4, 4].astype(int)
    assert red > 250 and green < 5 and blue < 5  # JPEG is off by a few of 255


def test_16_bit_grey_keeps_its_high_byte_instead_of_turning_white() -> None:
    values = np.array([[0x0012, 0x1234, 0x8000, 0xFFFF]], np.uint16)
    loaded = np.asarray(load_image(encoded(Image.fromarray(values))))
    assert loaded[0].tolist() == [[0] * 3, [0x12] * 3, [0x80] * 3, [0xFF] * 3]


@pytest.mark.parametrize("mode", ["I", "F"])
def test_wide_grey_with_8_bit_values_stays(mode: str) -> None:
    image = Image.new(mode, (1, 1), 200)
    assert np.asarray(load_image(image)).tolist() == [[[200] * 3]]


@pytest.mark.parametrize(("mode", "value"), [("I", -1), ("I", 65536), ("F", 256.0), ("F", float("nan"))])
def test_wide_grey_of_unknown_range_is_refused(mode: str, value: float) -> None:
    with pytest.raises(ImageError, match="have no known range"):
        load_image(Image.new(mode, (2, 2), value))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_undone(kind: str, orientation: int) -> None:
    upright = Image.new("RGB", (48, 32), "white")
    upright.paste("red", (0, 0, 24, 16))  # one corner, so that all eight orientations differ
    stored = upright
    if orientation != 1:
        stored = next(turned for turned in _turnings(upright) if _same(turned.transpose(UPRIGHT[orientation]), upright))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    loaded = load_image(encoded(stored, kind, exif=exif))
    assert loaded.size == upright.size
    difference = np.asarray(loaded).astype(int) - np.asarray(upright)
    assert np.abs(difference[:12, :20]).max() < 16 and np.abs(difference[20:, 28:]).max() < 16  # lossy JPEG and WebP


def test_rotated_phone_image_stands_up() -> None:
    """The commonest case by its definition, without our own table: 6 means "turn clockwise to show"."""
    stored = np.zeros((2, 3, 3), np.uint8)
    stored[0, 0] = (255, 0, 0)  # top left of what was stored is top right of what is seen
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    loaded = np.asarray(load_image(encoded(Image.fromarray(stored), exif=exif)))
    assert loaded.shape == (3, 2, 3) and loaded[0, 1].tolist() == [255, 0, 0]


@pytest.mark.parametrize("mode", ["I;16", "P", "L", "1", "CMYK", "RGBA"])
def test_turned_images_of_other_modes_stand_up(mode: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    image = Image.fromarray(np.full((2, 3), 60_000, np.uint16)) if mode == "I;16" else Image.new(mode, (3, 2))
    assert load_image(encoded(image, "TIFF", exif=exif)).size == (2, 3)


def test_damaged_exif_does_not_lose_the_image() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    whole = encoded(Image.fromarray(SCENE), "WEBP", exif=exif, lossless=True)
    assert b"MM\x00*" in whole
    assert load_image(whole.replace(b"MM\x00*", b"MM\x00?")).size == (9, 5)


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("blue", "red")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    with pytest.warns(PartialImageWarning, match="image has 2 frames; the first is read"):
        assert np.asarray(load_image(data))[0, 0].tolist() == [0, 0, 255]


def test_the_given_image_is_not_changed() -> None:
    image = Image.fromarray(SCENE).convert("P")
    before = image.tobytes(), image.mode
    load_image(image)
    assert (image.tobytes(), image.mode) == before


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes whose header promises any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_pillows_own_limit_is_not_spoken_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)  # at twice as many Pillow refuses, below that it warns
    path = tmp_path / "wide.png"
    Image.new("RGB", (10, 5), "red").save(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_image(path).size == (10, 5)


@pytest.mark.parametrize("side", [11_600, 50_000])  # just above our limit; above Pillow's own
def test_decompression_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, side: int) -> None:
    assert side * side > MAX_PIXELS
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb(side, side))
    with pytest.raises(ImageError, match=r"bomb\.png.*(smaller|decompression bomb)"):
        load_image(path)


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"notes\.txt cannot be read"):
        load_image(path)


@pytest.mark.parametrize("kind", ["EPS", "TGA", "ICO"])
def test_formats_beyond_the_plain_ones_are_not_even_opened(kind: str) -> None:
    with pytest.raises(ImageError, match=r"is PostScript, which is not read|it is not an image"):
        load_image(encoded(Image.new("RGB", (16, 16)), kind))


def test_an_animation_that_ends_in_its_second_frame_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    image = Image.effect_noise((24, 32), 80)
    image.save(path, save_all=True, append_images=[image.rotate(180)])
    whole = path.read_bytes()
    for length in range(len(whole) // 2, len(whole), 7):  # Pillow looks for the next frame's bytes, and has none
        path.write_bytes(whole[:length])
        try:
            load_image(path)
        except ImageError as error:
            assert str(error).startswith(f"{path} cannot be read (") and "\n" not in str(error)


def test_truncated_image_is_named(tmp_path: Path) -> None:
    whole = encoded(Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)))
    path = tmp_path / "half.png"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match=r"half\.png cannot be read \(image file is truncated"):
        load_image(path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing.png", "missing.png: no such file"),
        (".", "is a folder, a pipe or a device"),
        ("/dev/zero", "is a folder, a pipe or a device"),
        (None, "image is a NoneType"),
        (np.zeros((2, 2, 3), np.float32), "uint8"),
        (np.zeros((2, 2, 2), np.uint8), "1, 3 or 4 channels"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
    ],
)
def test_what_cannot_be_loaded_is_explained(source: object, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        load_image(source)  # type: ignore[arg-type]


SEEDS = [encoded(Image.fromarray(SCENE), kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SEEDS), st.data())
def test_damage_gives_an_image_or_one_line(whole: bytes, data: st.DataObject) -> None:
    damaged = bytearray(whole[: data.draw(st.integers(1, len(whole)))])
    for position in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=6)):
        damaged[position] = data.draw(st.integers(0, 255))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            assert load_image(bytes(damaged)).mode == "RGB"
        except ImageError as error:
            assert "\n" not in str(error)


def _turnings(image: Image.Image) -> list[Image.Image]:
    return [image.transpose(way) for way in Image.Transpose]


def _same(one: Image.Image, other: Image.Image) -> bool:
    return one.size == other.size and one.tobytes() == other.tobytes()
