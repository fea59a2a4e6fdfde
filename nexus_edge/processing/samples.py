"""What a file says of its samples beyond Pillow's mode, and the levels that follow from it."""

import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from nexus_edge.processing import tiff
from nexus_edge.processing.levels import (
    FLOAT_WHITES,
    LEAST_SHARE,
    WHOLE_WHITES,
    check_reach,
    guessed,
    high_byte,
    scaled,
)

SIXTEEN = 2**16 - 1
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Samples:
    """Attributes of one image's samples.

    Attributes:
        bits: that are used of each, from the lowest; 16 where nothing else is said
        is_wide: whether the file has 16 bits of each colour, of which Pillow keeps 8
        is_stated: whether the file says what white is, and not only how many bits there are
        is_unsigned_32: Pillow holds them as signed
        is_inverted: 0 is white, and Pillow leaves that to its caller
        limits: black and white as fields of the file have them
    """

    bits: int = 16
    is_wide: bool = False
    is_stated: bool = False
    is_unsigned_32: bool = False
    is_inverted: bool = False
    limits: tuple[float, float] | None = None


def samples_of(image: Image.Image, file: BinaryIO | None, name: str) -> Samples:
    """What is known of an opened image before its pixels are decoded; `file` if it was opened from one.

    Raises ImageError for a TIFF file whose pixels Pillow would misread.
    """
    if isinstance(image, TiffImageFile):
        tiff.check_layout(image, file, name)
        fields = tiff.fields_of(image)
        return Samples(
            bits=fields.bits,
            is_wide=fields.bits == 16,
            is_stated=fields.bits < 16,
            is_unsigned_32=fields.bits == 32 and fields.format == tiff.UNSIGNED,
            is_inverted=fields.white_is_zero and image.mode.startswith("I;16") and not tiff.pillow_inverts(),
            limits=fields.limits,
        )
    tiles = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else ()  # in Pillow 10 a plain tuple
    arguments = arguments if isinstance(arguments, tuple) else (arguments,)
    if image.format == "PPM":  # Pillow scales by the file's own maximum, the last argument, where that is unusual
        maximum = next((value for value in reversed(arguments) if type(value) is int and value > 255), SIXTEEN)
        return Samples(is_stated=maximum != SIXTEEN, is_wide=maximum == SIXTEEN and "I;16B" not in arguments)
    is_wide = any(";16" in value for value in arguments if isinstance(value, str))
    if image.format == "PNG" and is_wide and file is not None:
        return Samples(bits=_significant_bits(file), is_wide=True)
    return Samples(is_wide=is_wide)


def narrow_grey(image: Image.Image, samples: Samples, kind: str | None, name: str) -> Image.Image:
    """Grey with more than 8 bits as mode L; `kind` is Pillow's name of the format. Raises ImageError.

    Whole numbers and fractions of 0 to 255 keep their mode, in which the original processors resize them.
    """
    values = np.asarray(image)
    if image.mode in ("I", "F") and kind not in ("PNG", "PPM") and not (samples.limits or samples.is_inverted):
        low, high = values.min(), values.max()
        if low >= 0 and LEAST_SHARE * 255 <= high <= 255:
            return image
    if image.mode == "F":
        levels = scaled(values, *samples.limits) if samples.limits else None
        if levels is None or not np.isfinite(values).all():
            levels = guessed(values, FLOAT_WHITES, name)
    elif image.mode.startswith("I;16") or kind in ("PNG", "PPM"):
        levels = _of_16_bits(values, samples, name)
    elif samples.limits:
        levels = scaled(values.view(np.uint32) if samples.is_unsigned_32 else values, *samples.limits)
    elif samples.is_unsigned_32:
        levels = guessed(values.view(np.uint32), WHOLE_WHITES, name)
    else:
        levels = guessed(values, WHOLE_WHITES[:2], name)
    return Image.fromarray(255 - levels if samples.is_inverted else levels)


def check_colours(image: Image.Image, samples: Samples, name: str) -> None:
    """Refuse colours of 16 bits that use so few of them that the image would be black; raises ImageError."""
    if samples.is_wide and not samples.is_stated and image.mode in ("RGB", "RGBA"):
        high = int(np.asarray(image.convert("RGB")).max())
        check_reach(256 * high + 255, SIXTEEN, name)


def _of_16_bits(values: NDArray[np.integer], samples: Samples, name: str) -> NDArray[np.uint8]:
    high, bits = int(values.max()), samples.bits
    if high >= 2**bits or (bits > 8 and _is_scaled(values, bits)):
        bits = 16
    if bits == 16 and not samples.is_stated:
        if samples.limits and high < (SIXTEEN + 1) // 4:
            return scaled(values, *samples.limits)
        check_reach(high, SIXTEEN, name)
    return high_byte(values, bits)


def _is_scaled(values: NDArray[np.integer], bits: int) -> bool:
    """Whether samples fill 16 bits from the top, as PNG asks for: shifted, the rest zero or their own upper bits."""
    shift = 16 - bits
    top = (values.astype(np.uint32) >> shift) << shift
    return bool(np.isin(values - top, (0,)).all() or (values == top | (top >> bits)).all())


def _significant_bits(file: BinaryIO) -> int:
    """The sBIT of a grey PNG (its section 11.3.3.4), 16 if it has none."""
    place = file.tell()
    try:
        file.seek(len(PNG_MAGIC))
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind == b"sBIT":
                content = file.read(min(length, 4))
                return content[0] if content and 1 <= content[0] <= 16 else 16
            if kind == b"IDAT":
                break
            file.seek(length + 4, 1)
    finally:
        file.seek(place)
    return 16
