"""Loads pictures safely: whatever comes in, RGB or an ImageError comes out."""

import io
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from nexus_edge._extras import needs_extra
from nexus_edge.errors import ImageError

Picture = str | Path | bytes | Image.Image | NDArray[np.uint8]

# 134 million pixels: more than the 108-megapixel sensors of phones; 403 MB once it is RGB. Beyond it, expect an attack.
MAX_PIXELS = 128 * 2**20

# Only plain raster formats: Pillow would also start Ghostscript for EPS, and parse dozens of dead formats.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")

DICOM_HEAD = 132  # bytes: a preamble of 128, then DICM

# What Pillow raises on damaged files, seen over 370,000 of them (its decoders do not agree on one error), and on bombs.
DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    OverflowError,
    RuntimeError,
    MemoryError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)

# How to turn the stored pixels for each EXIF orientation (Exif 2.32, tag 0x0112).
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def load_image(source: Picture, name: str = "picture") -> Image.Image:
    """An RGB picture from a path, the bytes of a file, a Pillow image or a uint8 array [height, width(, 3 or 4)].

    EXIF orientation is applied. Alpha is dropped, palettes and CMYK are converted by Pillow, as the models' original
    processors do with `convert("RGB")`; that call clips 16-bit grey to white, so here its high byte is kept instead,
    which is what Pillow does for 16-bit colour. Of an animation the first frame is taken. DICOM files are told by their
    content or their ending; see `nexus_edge.processing.dicom`.

    `name` stands for the picture in messages; a path names itself. Raises ImageError.
    """
    return to_rgb(open_image(source, name), name)


def open_image(source: Picture, name: str = "picture") -> Image.Image:
    """As `load_image`, still in the mode of the file: for originals that resize before they convert to RGB.

    Only grey of 16 bits is no longer what it was: it is 8 bits here. Raises ImageError.
    """
    if isinstance(source, Image.Image):
        return _decode(source, name)
    if isinstance(source, np.ndarray):
        return _decode(_from_array(source, name), name)
    if isinstance(source, bytes):
        return _read(io.BytesIO(source), name)
    if not isinstance(source, str | Path):
        raise ImageError(f"{name} is a {type(source).__name__}; give a path, bytes, a Pillow image or an array")
    path = Path(source)
    if not path.is_file():  # also keeps us from waiting on a pipe
        raise ImageError(f"{path}: no such file; check the path of the picture")
    try:
        with path.open("rb") as file:
            return _read(file, str(path))
    except OSError as error:
        raise _unreadable(error, str(path)) from error


def _read(file: BinaryIO, name: str) -> Image.Image:
    head = file.read(DICOM_HEAD)
    file.seek(0)
    # The magic of PS3.10 7.1; a file that only ends like one shall be told what it lacks.
    if head[128:] == b"DICM" or name.lower().endswith((".dcm", ".dicom")):
        with needs_extra(f"{name} is a DICOM file, which", "dicom"):
            from nexus_edge.processing.dicom import read_dicom
        return read_dicom(file, name)
    Image.init()
    formats = [known for known in FORMATS if known in Image.OPEN]  # AVIF and JPEG 2000 depend on how Pillow was built
    try:
        image = Image.open(file, formats=formats)
    except DECODER_ERRORS as error:
        raise _unreadable(error, name) from error
    with image:
        return _decode(image, name)


def _from_array(values: NDArray[np.uint8], name: str) -> Image.Image:
    if values.dtype != np.uint8 or not (values.ndim == 2 or (values.ndim == 3 and values.shape[2] in (3, 4))):
        raise ImageError(
            f"{name}: an array must be uint8 [height, width], or that with 3 or 4 channels, "
            f"not {values.dtype} {list(values.shape)}"
        )
    return Image.fromarray(values)


def _decode(image: Image.Image, name: str) -> Image.Image:
    width, height = image.size
    if width * height > MAX_PIXELS:  # known from the header, before anything is unpacked
        raise ImageError(f"{name}: {width}x{height} is more than {MAX_PIXELS:,} pixels; make it smaller first")
    if width * height == 0:
        raise ImageError(f"{name}: {width}x{height} has no pixels; give a picture with at least one")
    try:
        image.load()
        image = _upright(image)  # first, for conversions lose the metadata
        if image.mode in ("I", "F") or image.mode.startswith("I;16"):
            image = _narrow_grey(image, name)
        return image
    except DECODER_ERRORS as error:
        raise _unreadable(error, name) from error


def to_rgb(image: Image.Image, name: str = "picture") -> Image.Image:
    """An opened picture as RGB; raises ImageError."""
    if image.mode == "RGB":
        return image
    try:
        # The detour saves Pillow's warning about the transparency of palettes.
        return (image.convert("RGBA") if image.mode == "P" else image).convert("RGB")
    except DECODER_ERRORS as error:
        raise _unreadable(error, name) from error


def _upright(image: Image.Image) -> Image.Image:
    """The picture as its EXIF orientation says it is to be seen."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except (SyntaxError, struct.error):
        return image  # damaged metadata says nothing about the pixels
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def _narrow_grey(image: Image.Image, name: str) -> Image.Image:
    """Grey with more than 8 bits: values up to 255 stay as they are, those of 16 bits become their high byte."""
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    sixteen_bits = image.mode.startswith("I;16") or (image.mode == "I" and high > 255)
    if not (low >= 0 and high <= (65535 if sixteen_bits else 255)):  # this form also catches NaN
        raise ImageError(
            f"{name}: mode {image.mode} with values {low:g} to {high:g} has no known range; save it with 8 bits"
        )
    return Image.fromarray((values >> 8).astype(np.uint8)) if sixteen_bits else image


def _unreadable(error: Exception, name: str) -> ImageError:
    detail = " ".join(str(error).split()) or type(error).__name__
    if "cannot identify" in detail:  # Pillow names an object's address here
        detail = "it is no image, or of another format"
    return ImageError(f"{name} cannot be read ({detail}); give an undamaged JPEG, PNG, WebP, GIF, BMP or TIFF")
