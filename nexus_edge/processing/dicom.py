"""DICOM files to 8-bit pictures, as a viewer shows them when it opens the file; needs the extra `dicom`."""

import struct
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset, read_preamble
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from nexus_edge.errors import ImageError
from nexus_edge.processing.dicom_window import grey_levels
from nexus_edge.processing.images import MAX_PIXELS

# Where enhanced multi-frame files keep what older ones have at the top (PS3.3 C.7.6.16).
FUNCTIONAL_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
DISPLAY_GROUPS = ("PixelValueTransformationSequence", "FrameVOILUTSequence")
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")  # pydicom makes RGB of each of them

# What pydicom raises on damaged files, seen over 400,000 of them; for most of the damage it has no error of its own.
DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    EOFError,
    struct.error,
    BytesLengthException,
)


def read_dicom(file: BinaryIO, name: str) -> Image.Image:
    """The first frame of a file, in mode L or RGB; raises ImageError.

    Grey goes through the file's modality LUT or rescale, then through its VOI LUT or its first window; without either,
    its darkest pixel is black and its brightest white. MONOCHROME1 is inverted, so that bone is white as elsewhere.
    """
    try:
        header = _header(file, name)
        pixels = pixel_array(file, index=0)
        return Image.fromarray(_eight_bits(pixels, header, name))
    except InvalidDicomError as error:
        raise ImageError(f"{name} ends like a DICOM file but has no DICM at byte 128; export it again") from error
    except DAMAGE as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{name} cannot be read as DICOM ({detail:.200}); save it again, uncompressed") from error


def _header(file: BinaryIO, name: str) -> Dataset:
    """All that stands before the pixels, checked before they are decoded."""
    read_preamble(file, force=False)
    meta = read_dataset(file, is_implicit_VR=False, is_little_endian=True, stop_when=_after_meta)
    syntax = UID(meta.TransferSyntaxUID)
    if syntax == DeflatedExplicitVRLittleEndian:
        raise ImageError(f"{name} is a deflated DICOM, whose size nobody knows before it is unpacked; save it inflated")
    try:
        decodable = not syntax.is_compressed or get_decoder(syntax).is_available
    except NotImplementedError:
        decodable = False
    if not decodable:
        raise ImageError(
            f"{name} is compressed as {syntax.name}, which is not decoded here; save it uncompressed, "
            "or install pylibjpeg with pylibjpeg-libjpeg and pylibjpeg-openjpeg"
        )
    file.seek(0)
    header = dcmread(file, stop_before_pixels=True)
    if "Rows" not in header or "Columns" not in header:
        raise ImageError(f"{name} is a DICOM file without a picture; leave out reports, plans and directories")
    for groups in FUNCTIONAL_GROUPS:
        for group in header.get(groups, [])[:1]:
            for key in DISPLAY_GROUPS:
                for item in group.get(key, [])[:1]:
                    header.update(item)
    width, height = int(header.Columns), int(header.Rows)
    if width * height > MAX_PIXELS:
        raise ImageError(f"{name}: {width}x{height} is more than {MAX_PIXELS:,} pixels; make it smaller first")
    return header


def _after_meta(tag: BaseTag, vr: str | None, length: int) -> bool:
    return tag.group != 2


def _eight_bits(pixels: NDArray[np.integer], header: Dataset, name: str) -> NDArray[np.uint8]:
    """One decoded frame as uint8 [height, width(, 3)]."""
    kind, bits = str(header.PhotometricInterpretation), int(header.BitsStored)
    if not 1 <= bits <= 16 or pixels.dtype.kind not in "iu":
        raise ImageError(f"{name}: its pixels are {pixels.dtype} of {bits} bits; at most 16 whole bits are read")
    if kind in ("MONOCHROME1", "MONOCHROME2"):
        levels = grey_levels(pixels, bits, header, name)
        return levels if kind == "MONOCHROME2" else 255 - levels
    if kind == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, header)[:, :, :3]
        bits = 8 * pixels.dtype.itemsize
    elif kind not in COLOURS:
        raise ImageError(f"{name}: colours of the kind {kind!r:.40} are not known here; save it as RGB or MONOCHROME2")
    return (pixels >> max(bits - 8, 0)).astype(np.uint8)
