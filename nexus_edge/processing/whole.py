"""Tells an image from the beginning of one: Pillow fills what a file's data do not reach, and says nothing of it."""

import io
import math
import struct
import zlib
from typing import BinaryIO

import numpy as np
from PIL import Image

from nexus_edge.errors import ImageError
from nexus_edge.processing.whole_gif import has_all_pixels
from nexus_edge.processing.whole_jpeg import has_all_blocks, may_be_filled

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # samples of a pixel by PNG's colour type
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of each pass the first column and row, and the steps between them (PNG, third edition, section 8)."""
AT_ONCE = 2**20  # bytes that are inflated together


def check_whole(image: Image.Image, file: BinaryIO, name: str) -> None:
    """Raises ImageError if a decoded PNG, JPEG or GIF shows more than its file has data for.

    Looks at the data again only where the last of the image is what a decoder fills in; so the last block of a JPEG may
    lack a part of its data.
    """
    last = image.crop((0, image.height - 1, image.width, image.height))
    if image.format == "PNG" and (image.info.get("interlace") or not np.asarray(last).any()):
        is_whole = _has_all_rows(file)
    elif image.format in ("JPEG", "MPO") and may_be_filled(image):
        file.seek(0)
        is_whole = has_all_blocks(image, file.read())
    elif image.format == "GIF" and (image.info.get("interlace", 1) or not np.asarray(last)[0, -1].any()):
        file.seek(0)
        is_whole = has_all_pixels(file.read())
    else:
        return
    if not is_whole:
        raise ImageError(f"{name} is truncated: its data end before its last row; save it again, all of it")


def check_palette(image: Image.Image, name: str) -> None:
    """Raises ImageError if pixels of a file have colours that its palette lacks, which would be black."""
    if image.mode != "P":
        return
    colours = 0 if image.palette is None else len(image.getpalette() or ()) // 3
    highest = int(np.asarray(image).max())
    if highest >= colours:
        raise ImageError(f"{name} has colour {highest} and a palette of {colours}; it is damaged: save it again")


def _has_all_rows(file: BinaryIO) -> bool:
    file.seek(len(PNG_MAGIC))
    expected = found = 0
    inflate = zlib.decompressobj()
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        content = file.read(length) if kind in (b"IHDR", b"IDAT") else b""
        file.seek(4 + length - len(content), io.SEEK_CUR)
        if kind == b"IHDR":
            expected = _bytes_of(content)
        try:
            while kind == b"IDAT" and content and found < expected:
                found += len(inflate.decompress(content, AT_ONCE))
                content = inflate.unconsumed_tail
        except zlib.error:
            return False
    return found >= expected


def _bytes_of(header: bytes) -> int:
    """Of all rows, each with the byte of its filter."""
    width, height, depth, colour, _, _, is_interlaced = struct.unpack(">IIBBBBB", header)
    total = 0
    for left, top, across, down in ADAM7 if is_interlaced else ((0, 0, 1, 1),):
        columns, rows = math.ceil((width - left) / across), math.ceil((height - top) / down)
        if columns > 0 and rows > 0:
            total += rows * (1 + math.ceil(columns * depth * CHANNELS[colour] / 8))
    return total
