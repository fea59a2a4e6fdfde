"""Tells a JPEG stream from the beginning of one, whether it is a file or lies inside TIFF or DICOM."""

import io
import re

import numpy as np
from PIL import Image

# A marker ends the data of a scan; FF 00 is a byte of it, and FF D0 to FF D7 go on with it (T.81, B.1.1.2).
MARKER = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
END_OF_IMAGE, TEM = 0xD9, 0x01
MORE_DATA = bytes(value * 37 % 251 for value in range(1, 65))  # without FF; no scan goes on like this
GREY = 128  # what a JPEG decoder shows where it has no data


def may_be_filled(image: Image.Image) -> bool:
    """Whether the last pixel looks like a block without data, whose luma or chroma are grey; else nothing is missing.

    The scans of a progressive image each cover all of it, so that a block may lack some of its data.
    """
    last = image.getpixel((image.width - 1, image.height - 1))
    if image.info.get("progressive") or image.mode not in ("L", "RGB"):
        return True
    return last == GREY if image.mode == "L" else isinstance(last, tuple) and len(set(last)) == 1


def has_all_blocks(image: Image.Image, data: bytes) -> bool:
    """Whether the image stays the same if the data of its last scan go on, which a decoder with all blocks skips."""
    end = end_of_image(data)
    if end is None:
        return True  # Pillow has said so where it matters
    with Image.open(io.BytesIO(data[:end] + MORE_DATA + data[end:]), formats=["JPEG"]) as longer:
        return bool(np.array_equal(np.asarray(image), np.asarray(longer)))


def is_whole(data: bytes) -> bool:
    """Whether a stream has its end, and data for all of its blocks; of one that Pillow does not decode, its end.

    The decoders of TIFF and DICOM fill in what is missing, and say nothing.
    """
    if end_of_image(data) is None:
        return False
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            image.load()
            return not may_be_filled(image) or has_all_blocks(image, data)
    except (OSError, SyntaxError, ValueError):  # 12 bits, or lossless
        return True


def end_of_image(data: bytes) -> int | None:
    """Where the marker is that ends the first image in `data`."""
    place = 2
    while marker := MARKER.search(data, place):
        kind, place = data[marker.end() - 1], marker.end()
        if kind == END_OF_IMAGE:
            return marker.start()
        if kind != TEM:  # which alone has no length
            place += int.from_bytes(data[place : place + 2], "big")
    return None
