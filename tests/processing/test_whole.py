"""Half an image is no image: files whose data end early, in ways over which Pillow and pydicom go without an error."""

import io
import struct
import zlib

import numpy as np
import pytest
from dicom_files import dataset, written
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit

from nexus_edge.errors import ImageError
from nexus_edge.processing.images import load_image

NOISE = np.random.default_rng(7).integers(0, 256, (120, 160, 3), dtype=np.uint8)
PALETTE = bytes([255, 0, 0, 0, 255, 0, 0, 0, 255])
END = b"\xff\xd9"


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, colour: int, data: bytes, *, before: bytes = b"", interlaced: bool = False) -> bytes:
    """A PNG of 8 bits, valid but for the length of `data`."""
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, interlaced)
    body = chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def rows(count: int, length: int) -> bytes:
    return (b"\0" + bytes(length)) * count


def jpeg(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def test_a_png_needs_all_of_its_rows() -> None:
    assert not np.asarray(load_image(png(64, 48, 2, rows(48, 192)))).any()  # black, and whole
    for count in (0, 24, 47):
        with pytest.raises(ImageError, match="truncated"):
            load_image(png(64, 48, 2, rows(count, 192)))


def test_an_interlaced_png_needs_all_of_its_passes() -> None:
    # Rows of an 8x8 image by pass, from the table in section 8.1 of PNG's specification: (rows, pixels of each).
    data = b"".join(rows(count, length) for count, length in ((1, 1), (1, 1), (1, 2), (2, 2), (2, 4), (4, 4), (4, 8)))
    assert load_image(png(8, 8, 0, data, interlaced=True)).size == (8, 8)
    with pytest.raises(ImageError, match="truncated"):
        load_image(png(8, 8, 0, data[:-9], interlaced=True))


def test_a_palette_needs_the_colours_of_all_pixels() -> None:
    good = load_image(png(3, 1, 3, b"\0\0\1\2", before=chunk(b"PLTE", PALETTE)))
    assert np.asarray(good).tolist() == [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]
    with pytest.raises(ImageError, match="image has colour 200 and a palette of 3"):
        load_image(png(3, 1, 3, b"\0\0\1\xc8", before=chunk(b"PLTE", PALETTE)))
    with pytest.raises(ImageError, match="image has colour 2 and a palette of 0"):
        load_image(png(3, 1, 3, b"\0\0\1\2"))


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}], ids=str
)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_needs_all_of_its_blocks(mode: str, options: dict[str, object]) -> None:
    image = Image.fromarray(NOISE).convert(mode)
    whole = jpeg(image, **options)
    with Image.open(io.BytesIO(whole)) as opened:
        expected = np.asarray(opened.convert("RGB"))
    for file in (whole, whole + b"what a camera appends" + END):
        np.testing.assert_array_equal(np.asarray(load_image(file)), expected)
    for share in (0.5, 0.75, 0.9):
        with pytest.raises(ImageError, match="truncated"):
            load_image(whole[: int(share * len(whole))] + END)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_is_grey_throughout_is_whole(progressive: bool) -> None:
    grey = Image.new("RGB", (61, 43), (128, 128, 128))
    assert (np.asarray(load_image(jpeg(grey, progressive=progressive))) == 128).all()


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_dicom_with_more_pixels_than_its_header_tells_of(syntax: str) -> None:
    made = dataset(NOISE[:48, :64, 0])
    assert load_image(written(made, syntax)).size == (64, 48)
    made.Rows = 24
    with pytest.raises(ImageError, match="its header tells of 24 rows, its pixels are 48"):
        load_image(written(made, syntax))


def test_a_huge_array_is_refused_before_it_is_copied() -> None:
    with pytest.raises(ImageError, match="40000x40000 is more than 134,217,728 pixels"):
        load_image(np.broadcast_to(np.uint8(3), (40000, 40000)))


def gif(**options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(NOISE).quantize(64).save(file, "GIF", **options)
    return file.getvalue()


@pytest.mark.parametrize("interlace", [0, 1])
def test_a_gif_needs_all_of_its_pixels(interlace: int) -> None:
    whole = gif(interlace=interlace)
    with Image.open(io.BytesIO(whole)) as opened:
        np.testing.assert_array_equal(np.asarray(load_image(whole)), np.asarray(opened.convert("RGB")))
    for share in (0.5, 0.75, 0.95):
        for end in (b"", b"\0;"):  # as a download ends, or with an empty block and the trailer
            with pytest.raises(ImageError):
                load_image(whole[: int(share * len(whole))] + end)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (257, 300)])
@pytest.mark.parametrize("colours", [2, 3, 17, 256])
def test_gifs_of_any_codes_are_whole(size: tuple[int, int], colours: int) -> None:
    values = np.random.default_rng(colours).integers(0, colours, size, np.uint8)
    for grey in (values, np.zeros(size, np.uint8), np.sort(values)):
        file = io.BytesIO()
        Image.fromarray(grey).save(file, "GIF")
        np.testing.assert_array_equal(np.asarray(load_image(file.getvalue()))[:, :, 0], grey)


def jpeg_tiff() -> bytes:
    file = io.BytesIO()
    Image.fromarray(NOISE).save(file, "TIFF", compression="jpeg", quality=90)
    return file.getvalue()


def test_a_jpeg_inside_a_tiff_needs_all_of_its_blocks() -> None:
    whole = jpeg_tiff()
    with Image.open(io.BytesIO(whole)) as opened:
        np.testing.assert_array_equal(np.asarray(load_image(whole)), np.asarray(opened.convert("RGB")))
        start, size = opened.tag_v2[273][0], opened.tag_v2[279][0]
    for share in (0.5, 0.9):
        kept = int(share * size)
        cut = whole[: start + kept] + END + bytes(size - kept - 2) + whole[start + size :]
        with pytest.raises(ImageError, match="truncated"):
            load_image(cut)


def test_a_jpeg_inside_a_dicom_needs_all_of_its_blocks() -> None:
    stream = jpeg(Image.fromarray(NOISE), quality=90)
    made = dataset(NOISE)
    made.PhotometricInterpretation, made.SamplesPerPixel, made.PlanarConfiguration = "YBR_FULL_422", 3, 0

    def file(frame: bytes) -> bytes:
        made.PixelData = encapsulate([frame])
        made["PixelData"].is_undefined_length = True
        return written(made, JPEGBaseline8Bit)

    assert load_image(file(stream)).size == (NOISE.shape[1], NOISE.shape[0])
    for share in (0.5, 0.9):
        for end in (b"", END):
            with pytest.raises(ImageError, match="truncated"):
                load_image(file(stream[: int(share * len(stream))] + end))
