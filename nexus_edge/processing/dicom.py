"""DICOM files to 8-bit images, as a viewer shows them when it opens the file; needs the extra `dicom`."""

import struct
from itertools import islice
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset, read_preamble
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, JPEGBaseline8Bit, JPEGExtended12Bit

from nexus_edge.errors import ImageError
from nexus_edge.processing.dicom_pixel_shape import with_square_pixels
from nexus_edge.processing.dicom_slide import assembled, is_tiled
from nexus_edge.processing.dicom_window import grey_levels
from nexus_edge.processing.images import check_size
from nexus_edge.processing.levels import high_byte
from nexus_edge.processing.partial import warn_of_more
from nexus_edge.processing.whole_jpeg import is_whole

# Where enhanced multi-frame files keep what older ones have at the top (PS3.3 C.7.6.16).
FUNCTIONAL_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
DISPLAY_GROUPS = ("PixelValueTransformationSequence", "FrameVOILUTSequence", "PixelMeasuresSequence")
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")  # pydicom makes RGB of each of them

JPEGS = (JPEGBaseline8Bit, JPEGExtended12Bit)

PIXEL_GROUP, UNDEFINED_LENGTH = 0x7FE0, 0xFFFFFFFF

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
    """The image of a file in mode L or RGB; raises ImageError.

    Grey goes through the file's modality LUT or rescale, then through its VOI LUT or its first window. Without either,
    samples of up to 8 bits that are not rescaled are levels already, and of others the darkest is black and the
    brightest white. MONOCHROME1 is inverted, so that bone is white as elsewhere; padding is black and counts for
    neither end. Pixels that are not square are made so. The tiles of a whole slide are put together; of other frames
    the first is read, with a `PartialImageWarning`. Overlays and presentation states are not drawn.
    """
    try:
        header = _header(file, name)
        _check_jpegs(file, header, name)
        if is_tiled(header):
            pixels = assembled(file, header, name)
        else:
            # pydicom would zero the bits above BitsStored, which hold the pixels' own where HighBit is higher.
            is_low = int(header.HighBit) == int(header.BitsStored) - 1
            pixels = pixel_array(file, index=0, correct_unused_bits=is_low)
        image = with_square_pixels(Image.fromarray(_eight_bits(pixels, header, name)), header, name)
        if not is_tiled(header):
            warn_of_more(int(header.get("NumberOfFrames") or 1), "frames", name)
        return image
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
        raise ImageError(f"{name} is a DICOM file without an image; leave out reports, plans and directories")
    for groups in FUNCTIONAL_GROUPS:
        for group in header.get(groups, [])[:1]:
            for key in DISPLAY_GROUPS:
                for item in group.get(key, [])[:1]:
                    header.update(item)
    check_size(int(header.Columns), int(header.Rows), name)
    if not syntax.is_compressed:
        _check_length(file, header, syntax.is_implicit_VR, syntax.is_little_endian, name)
    if "BitsStored" not in header or "PhotometricInterpretation" not in header:
        raise ImageError(f"{name} has fractions for pixels, or does not say what they are; save it with whole numbers")
    return header


def _check_length(file: BinaryIO, header: Dataset, is_implicit: bool, is_little: bool, name: str) -> None:
    """Raises ImageError if the element of the pixels, at which `file` is, has other rows than the header tells of."""
    order: Literal["little", "big"] = "little" if is_little else "big"
    start = file.read(8 if is_implicit else 12)
    group = int.from_bytes(start[:2], order)
    found = int.from_bytes(start[-4:], order)
    row = int(header.Columns) * int(header.get("SamplesPerPixel") or 1) * int(header.get("BitsAllocated") or 8) / 8
    if header.get("PhotometricInterpretation") == "YBR_FULL_422":
        row *= 2 / 3
    rows = int(header.Rows) * int(header.get("NumberOfFrames") or 1)
    if group == PIXEL_GROUP and found != UNDEFINED_LENGTH and abs(found - rows * row) >= max(row, 2):
        raise ImageError(
            f"{name} is truncated: its header tells of {rows} rows, its pixels are {found / row:.0f}; export it again"
        )


def _check_jpegs(file: BinaryIO, header: Dataset, name: str) -> None:
    """Raises ImageError if a frame that is read is the beginning of a JPEG: its decoder fills in what is missing."""
    if header.file_meta.TransferSyntaxUID not in JPEGS:
        return
    file.seek(0)
    whole = dcmread(file, specific_tags=["PixelData", "NumberOfFrames"])
    count = int(header.get("NumberOfFrames") or 1)
    for frame in islice(generate_frames(whole.PixelData, number_of_frames=count), count if is_tiled(header) else 1):
        if not is_whole(frame):
            raise ImageError(f"{name} is truncated: the data of a frame end before its last row; export it again")
    file.seek(0)


def _after_meta(tag: BaseTag, vr: str | None, length: int) -> bool:
    return tag.group != 2


def _check_palette(header: Dataset, name: str) -> None:
    """Raises ImageError unless each table has as many entries of as many bits as its descriptor says (C.7.6.3.1.5)."""
    for colour in ("Red", "Green", "Blue"):
        key = f"{colour}PaletteColorLookupTable"
        said = header.get(f"{key}Descriptor")
        table = header.get(f"{key}Data") or header.get(f"Segmented{key}Data")
        if said is None or len(said) != 3 or table is None:
            raise ImageError(f"{name} has a palette without {colour.lower()}, or no descriptor of it; export it again")
        entries, bits = int(said[0]) or 2**16, int(said[2])
        if bits not in (8, 16):
            raise ImageError(f"{name} has a palette of {bits} bits, and 8 or 16 are known; save it as RGB")
        if f"{key}Data" in header and len(table) not in (entries, entries + 1, 2 * entries):
            raise ImageError(
                f"{name} has a palette of {entries} colours and {len(table)} bytes of {colour.lower()}; export it again"
            )


def _eight_bits(pixels: NDArray[np.integer], header: Dataset, name: str) -> NDArray[np.uint8]:
    """One decoded frame as uint8 [height, width(, 3)]."""
    kind, bits = str(header.PhotometricInterpretation), int(header.BitsStored)
    if not 1 <= bits <= 16 or pixels.dtype.kind not in "iu":
        raise ImageError(f"{name}: its pixels are {pixels.dtype} of {bits} bits; at most 16 whole bits are read")
    if kind in ("MONOCHROME1", "MONOCHROME2"):
        return grey_levels(pixels, bits, header, name)
    if kind == "PALETTE COLOR":
        _check_palette(header, name)
        pixels = apply_color_lut(pixels, header)[:, :, :3]
        # Some writers put 8-bit entries into tables of 16, where they would all be black.
        bits = 8 if pixels.max() <= 255 else 8 * pixels.dtype.itemsize
    elif kind not in COLOURS:
        raise ImageError(f"{name}: colours of the kind {kind!r:.40} are not known here; save it as RGB or MONOCHROME2")
    return high_byte(pixels, bits)
