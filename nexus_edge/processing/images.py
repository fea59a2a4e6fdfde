"""Loads images safely: whatever comes in, RGB or an ImageError comes out."""

import struct
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from nexus_edge._extras import needs_extra
from nexus_edge._renamed import renamed
from nexus_edge.errors import ImageError
from nexus_edge.processing import samples, tiff
from nexus_edge.processing.kinds import DICOM_MAGIC, HEAD, UNKNOWN, kind_of
from nexus_edge.processing.partial import warn_of_frames
from nexus_edge.processing.sources import ImageInput as ImageInput
from nexus_edge.processing.sources import alone_with, image_of, name_of, open_source
from nexus_edge.processing.whole import check_palette, check_whole

# 134 million pixels: more than the 108-megapixel sensors of phones; 403 MB once it is RGB. Beyond it, expect an attack.
MAX_PIXELS = 128 * 2**20

PREFIX = 16  # bytes by which Pillow's plugins tell their format

# Only plain raster formats: Pillow would also start Ghostscript for EPS, and parse dozens of dead formats.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")

# What Pillow raises on damaged files, seen over 370,000 of them (its decoders do not agree on one error), and on bombs.
DECODER_ERRORS = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    struct.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)

# Modes that become these at once: a resize of PA forgets the palette, and Pillow makes RGB of La by way of LA only.
PLAIN = {"PA": "RGBA", "La": "LA"}

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


__getattr__ = renamed(__name__, {"Picture": "ImageInput"})


def load_image(source: ImageInput, name: str = "image") -> Image.Image:
    """An RGB image from whatever `ImageInput` allows: a path, bytes, a file, a data URI, a Pillow image or an array.

    What a file says of its samples is followed: where white is 0, how many bits are used, which range fractions have.
    Where it does not say, a range is assumed that its brightest pixel reaches to a quarter at least, and the image is
    refused if there is none, because it would be shown black; see `nexus_edge.processing.levels`.

    EXIF orientation is applied; ICC profiles and the shape of pixels are not (but for DICOM's), as in the models'
    original processors. Alpha is dropped, palettes and CMYK are converted by Pillow, as those do with
    `convert("RGB")`; that call clips 16-bit grey to white, so here its high byte is kept, which is what Pillow does for
    16-bit colour. Of several pages or frames the first is read, with a `PartialImageWarning`. A file is told by its
    content, not by its name; for DICOM see `nexus_edge.processing.dicom`.

    `name` stands for the image in messages; a path names itself. Raises ImageError.
    """
    return to_rgb(open_image(source, name), name)


def open_image(source: ImageInput, name: str = "image") -> Image.Image:
    """As `load_image`, still in the mode of the file: for originals that resize before they convert to RGB.

    Only grey of more than 8 bits is no longer what it was: where its values are no levels yet, it is mode L here.
    Raises ImageError.
    """
    name = name_of(source, name)
    opened = open_source(source, name)
    if isinstance(opened, Image.Image):
        return _decode(opened, None, name)
    if isinstance(opened, np.ndarray):
        if opened.ndim >= 2:
            check_size(opened.shape[1], opened.shape[0], name)  # before it is copied
        return _decode(image_of(opened, name), None, name)
    try:
        with opened:
            return _read(opened, name)
    except OSError as error:
        raise _unreadable(error, name) from error


def _read(file: BinaryIO, name: str) -> Image.Image:
    head = file.read(HEAD)
    file.seek(0)
    kind = kind_of(head)
    # A file that only ends like DICOM shall be told what it lacks.
    if head[128:132] == DICOM_MAGIC or (kind is UNKNOWN and name.lower().endswith((".dcm", ".dicom"))):
        with needs_extra(f"{name} is a DICOM file, which", "dicom"):
            from nexus_edge.processing.dicom import read_dicom
        return read_dicom(file, name)
    if kind.advice is not None:
        raise ImageError(f"{name} is {kind.name}, which is not read here; {kind.advice}")
    try:
        with _opened(file, head) as image:
            check_size(*image.size, name)
            if isinstance(image, TiffImageFile):
                tiff.choose_page(image, name)
            else:
                warn_of_frames(image, name)
            return _decode(image, file, name)
    except DECODER_ERRORS as error:
        if kind is not UNKNOWN and "cannot identify" in str(error):
            raise ImageError(
                f"{name} is {kind.name} of a kind that is not read here, or damaged; save it with 8 bits as PNG"
            ) from error
        raise _unreadable(error, name) from error


def _opened(file: BinaryIO, head: bytes) -> ImageFile.ImageFile:
    """What `Image.open` does, but for its warning of more than 89 million pixels: `MAX_PIXELS` is the limit here.

    That warning can be turned off for the whole process only. Raises what decoders raise.
    """
    Image.init()
    for name in FORMATS:
        factory, accepts = Image.OPEN.get(name, (None, None))  # AVIF and JPEG 2000 depend on how Pillow was built
        if factory is None or (accepts is not None and accepts(head[:PREFIX]) is not True):
            continue
        try:
            file.seek(0)
            return factory(file, "")
        except (SyntaxError, IndexError, TypeError, struct.error):
            continue
    raise UnidentifiedImageError("cannot identify image file")


def check_size(width: int, height: int, name: str) -> None:
    """Raises ImageError for no pixels, and for more than `MAX_PIXELS`."""
    if width * height > MAX_PIXELS:
        raise ImageError(f"{name}: {width}x{height} is more than {MAX_PIXELS:,} pixels; make it smaller first")
    if width * height == 0:
        raise ImageError(f"{name}: {width}x{height} has no pixels; give an image with at least one")


def _decode(image: Image.Image, file: BinaryIO | None, name: str) -> Image.Image:
    check_size(*image.size, name)  # known from the header, before anything is unpacked
    try:
        with alone_with(image):
            kind, found = image.format, samples.samples_of(image, file, name)
            image.load()
        if file is not None:
            check_whole(image, file, name)
            if isinstance(image, TiffImageFile):
                tiff.widen_palette(image)
            check_palette(image, name)
        image = _upright(image)  # first, for conversions lose the metadata
        if image.mode in ("I", "F") or image.mode.startswith("I;16"):
            return samples.narrow_grey(image, found, kind, name)
        samples.check_colours(image, found, name)
        return image.convert(PLAIN[image.mode]) if image.mode in PLAIN else image
    except DECODER_ERRORS as error:
        raise _unreadable(error, name) from error


def to_rgb(image: Image.Image, name: str = "image") -> Image.Image:
    """An opened image as RGB; raises ImageError."""
    if image.mode == "RGB":
        return image
    try:
        # The detour saves Pillow's warning about the transparency of palettes.
        return (image.convert("RGBA") if image.mode == "P" else image).convert("RGB")
    except DECODER_ERRORS as error:
        raise _unreadable(error, name) from error


def _upright(image: Image.Image) -> Image.Image:
    """The image as its EXIF orientation says it is to be seen."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except (SyntaxError, struct.error):
        return image  # damaged metadata says nothing about the pixels
    if orientation not in UPRIGHT:
        return image
    turned = image.transpose(UPRIGHT[orientation])
    for key in ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"):
        turned.info.pop(key, None)  # else whoever is given this image would turn it again
    return turned


def _unreadable(error: Exception, name: str) -> ImageError:
    if isinstance(error, Image.DecompressionBombError):  # Pillow's own limit, above ours
        return ImageError(f"{name} has more than {MAX_PIXELS:,} pixels; make it smaller first")
    detail = " ".join(str(error).split()) or type(error).__name__
    if detail.startswith("conversion from"):  # of Pillow, which knows the mode and no way out of it
        return ImageError(f"{name} has colours of a kind that is not read here ({detail}); save it as RGB")
    if "cannot identify" in detail:  # Pillow names an object's address here
        detail = "it is not an image, or of an unsupported format"
    return ImageError(f"{name} cannot be read ({detail}); give an undamaged JPEG, PNG, WebP, GIF, BMP or TIFF")
