"""What a TIFF file says of its samples where Pillow does not act on it, and files that it would misread.

TIFF revision 6.0 (Adobe, 1992), sections 8 and 19 to 23. Each refusal here was seen: Pillow 10.3 to 13 decode such a
file without an error to something else than what was written.
"""

import io
import math
import struct
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from nexus_edge.errors import ImageError
from nexus_edge.processing.partial import warn_of_more
from nexus_edge.processing.whole_jpeg import is_whole

SUBFILE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
STRIPS, STRIP_SIZES, TILES, TILE_SIZES, PLANAR, PREDICTOR, INK_SET = 273, 279, 324, 325, 284, 317, 332
JPEG, JPEG_TABLES = 7, 347
FORMAT, LEAST, MOST = 339, 340, 341
COLOUR_MAP = 320
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
SEPARATED, YCBCR = 5, 6
REDUCED, MASK = 1, 4  # bits of SUBFILE
MOST_PAGES = 64  # whose fields are looked at to tell pages from smaller copies and masks


@dataclass(frozen=True)
class Fields:
    """Of the page that is read: `limits` are SMinSampleValue and SMaxSampleValue, if both are there and in order."""

    bits: int
    format: int
    white_is_zero: bool
    limits: tuple[float, float] | None


def fields_of(image: TiffImageFile) -> Fields:
    """The fields of the current page."""
    least, most = _first(image, LEAST), _first(image, MOST)
    limits = None
    if least is not None and most is not None and math.isfinite(most - least) and least < most:
        limits = (float(least), float(most))
    return Fields(
        int(_first(image, BITS) or 1), int(_first(image, FORMAT) or UNSIGNED), _first(image, PHOTOMETRIC) == 0, limits
    )


def choose_page(image: TiffImageFile, name: str) -> None:
    """Go to the first page that is an image of its own: no smaller copy of another, no mask. Raises ImageError.

    Warns if there are several of them.
    """
    count = min(image.n_frames, MOST_PAGES)
    whole = [page for page in range(count) if _is_whole(image, page)]
    if not whole:
        raise ImageError(f"{name} shows only a preview of an image that is not read here; save it as JPEG or PNG")
    image.seek(whole[0])
    warn_of_more(image.n_frames if count == MOST_PAGES else len(whole), "pages", name)


def check_layout(image: TiffImageFile, file: BinaryIO | None, name: str) -> None:
    """Raises ImageError if Pillow would decode the page to something else than what was written."""
    fields, photometric = fields_of(image), _first(image, PHOTOMETRIC)
    planes, compression = _first(image, PLANAR) or 1, _first(image, COMPRESSION) or 1
    is_big_endian = image.tag_v2.prefix == b"MM"
    what = None
    if photometric is None:
        what = "does not say whether 0 is black or white"
    elif fields.format == SIGNED and fields.bits == 8:
        what = "has signed samples of 8 bits"
    elif fields.white_is_zero and fields.format == FLOAT:
        what = "says of fractions that 0 is white, but not what is black"
    elif planes == 2 and fields.bits > 8 and compression == 1:
        what = "has planes of more than 8 bits one after the other"
    elif _first(image, PREDICTOR) == 3 and is_big_endian:
        what = "has big-endian fractions with a predictor"
    elif photometric == SEPARATED and (_first(image, INK_SET) or 1) != 1:
        what = "has inks other than CMYK"
    elif photometric == YCBCR and compression == 1:
        what = "has uncompressed YCbCr"
    if what is not None:
        raise ImageError(f"{name} {what}, which is not read here; save it as PNG")
    _check_complete(image, int(planes), name)
    if compression == JPEG and file is not None:
        _check_jpegs(image, file, name)


def widen_palette(image: TiffImageFile) -> None:
    """A palette that holds 0 to 255 where TIFF wants 0 to 65,535 is read as it was meant; Pillow shows it black.

    An old fault of writers. libtiff tells it as here, by no value above 255 (`checkcmap` in tif_getimage.c, "Assuming
    8-bit colormap").
    """
    colours = image.tag_v2.get(COLOUR_MAP, ())
    if image.mode in ("P", "PA") and colours and max(colours) <= 255:
        image.putpalette(np.array(colours, np.uint8).reshape(3, -1).T.tobytes())


@cache
def pillow_inverts() -> bool:
    """Whether this Pillow turns 16-bit grey around whose 0 is white. Up to 13 it does so with 8 bits only."""
    entries = (
        (WIDTH, 1), (LENGTH, 1), (BITS, 16), (COMPRESSION, 1), (PHOTOMETRIC, 0), (STRIPS, 8), (277, 1), (278, 1),
        (STRIP_SIZES, 2),
    )  # fmt: skip
    content = b"II*\0" + struct.pack("<I", 10) + b"\0\0" + struct.pack("<H", len(entries))
    content += b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in entries) + bytes(4)
    with Image.open(io.BytesIO(content), formats=["TIFF"]) as image:
        return int(np.asarray(image)[0, 0]) != 0


def _first(image: TiffImageFile, tag: int) -> float | None:
    value = image.tag_v2.get(tag)
    if isinstance(value, tuple):
        value = value[0] if value else None
    return None if value is None else float(value)


def _is_whole(image: TiffImageFile, page: int) -> bool:
    try:
        image.seek(page)
    except SyntaxError:  # a page that Pillow does not read is still one
        return page > 0
    return not int(_first(image, SUBFILE) or 0) & (REDUCED | MASK)


def _check_jpegs(image: TiffImageFile, file: BinaryIO, name: str) -> None:
    """Each strip or tile is a whole JPEG (TIFF Technical Note 2): its tables stand apart, before all of them."""
    tables = image.tag_v2.get(JPEG_TABLES, b"")
    before = tables[:-2] if tables else b""  # without the marker that ends them
    tags = (TILES, TILE_SIZES) if TILES in image.tag_v2 else (STRIPS, STRIP_SIZES)
    place = file.tell()
    for offset, size in zip(*(image.tag_v2.get(tag, ()) for tag in tags), strict=True):
        file.seek(offset)
        stream = file.read(size)
        if not is_whole(before + stream[2:] if before else stream):
            raise ImageError(f"{name} is truncated: the data of a strip or tile end before its last row; save it again")
    file.seek(place)


def _check_complete(image: TiffImageFile, planes: int, name: str) -> None:
    """Each strip or tile has its bytes: sparse files leave some out, and Pillow shows what lies at byte 0 instead."""
    tags = (TILES, TILE_SIZES) if TILES in image.tag_v2 else (STRIPS, STRIP_SIZES)
    offsets, sizes = (image.tag_v2.get(tag, ()) for tag in tags)
    if TILES in image.tag_v2:
        width, height = _first(image, 322) or 0, _first(image, 323) or 0
    else:
        width, height = _first(image, WIDTH) or 0, _first(image, 278) or _first(image, LENGTH) or 0
    if width < 1 or height < 1:
        raise ImageError(f"{name} has strips or tiles of no size; save it again")
    across, down = math.ceil((_first(image, WIDTH) or 0) / width), math.ceil((_first(image, LENGTH) or 0) / height)
    expected = across * down * (int(_first(image, 277) or 1) if planes == 2 else 1)
    if len(offsets) < expected or 0 in offsets or 0 in sizes:
        missing = max(expected - len(offsets), sum(not size for size in sizes), sum(not offset for offset in offsets))
        raise ImageError(f"{name} lacks {missing} of its {expected} strips or tiles; save it again, all of it")
