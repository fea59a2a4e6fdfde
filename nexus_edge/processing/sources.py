"""What may be given where an image is asked for: a path, bytes, a file, a data URI, a Pillow image or an array."""

import base64
import binascii
import io
import os
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard, cast
from urllib.parse import unquote_to_bytes

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nexus_edge._arguments import EMPTY_PATH
from nexus_edge.errors import ImageError

ImageInput = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | NDArray[np.uint8]
"""One image. A str is a path or a data URI; a file is read whole; an array is uint8 [height, width(, 1, 3 or 4)]."""

KINDS = "a path, bytes, a binary file, a data URI, a Pillow image or a uint8 array"
LOCKS = tuple(threading.Lock() for _ in range(16))  # more than one, so that other objects seldom wait
URL = re.compile(r"[a-z][a-z0-9+.-]+:/{1,2}", re.IGNORECASE)  # a Path makes one slash of two; C:\ has one letter
DOWNLOAD = "download it, and give its path"
LONGEST_NAME = 300  # characters of a name in a message


def alone_with(given: object) -> threading.Lock:
    """A lock for what threads share and cannot read at once: a file's position, a Pillow image not loaded yet."""
    return LOCKS[id(given) // 64 % len(LOCKS)]  # objects do not lie closer than that


def is_image_input(given: object) -> TypeGuard[ImageInput]:
    """Whether this is one image, or would be one: nothing here is opened."""
    return isinstance(given, str | os.PathLike | bytes | bytearray | memoryview | Image.Image | np.ndarray) or hasattr(
        given, "read"
    )


def as_images(given: ImageInput | Iterable[ImageInput] | None) -> list[ImageInput]:
    """Images as a list, whether one was given, several or none (None); raises ImageError for anything else."""
    if given is None:
        return []
    if is_image_input(given):
        return [given]
    if isinstance(given, Sequence | Iterator):
        return list(given)
    raise ImageError(f"images is a {type(given).__name__}; give {KINDS}, or a list of those")


def name_of(given: object, otherwise: str) -> str:
    """What to call an image in a message: its path if it has one."""
    if isinstance(given, str) and given and not is_data_uri(given):
        return given if len(given) <= LONGEST_NAME else f"{given[:40]}... ({len(given):,} characters)"
    if isinstance(given, os.PathLike):
        return str(given)
    return otherwise


def beside(file: Path, name: str) -> Path:
    """The file of an image that a line of `file` names, relative to it; raises ImageError for what is no path."""
    if is_data_uri(name):
        raise ImageError("the image is a data URI; save it as a file, and give its path")
    if URL.match(name):
        raise ImageError(f"the image {name!r:.300} is a URL, and images are not fetched from anywhere; {DOWNLOAD}")
    return file.parent / name


def is_data_uri(text: str) -> bool:
    """Whether it is one of RFC 2397, which browsers write for images inside a page."""
    return text[:5].lower() == "data:"


def open_source(given: ImageInput, name: str) -> BinaryIO | Image.Image | NDArray[np.uint8]:
    """The image, or a seekable file with its bytes, for the caller to close; raises ImageError.

    The network is never asked: a URL is refused in words.
    """
    if isinstance(given, Image.Image | np.ndarray):
        return given
    if isinstance(given, bytes | bytearray | memoryview):
        return io.BytesIO(given)
    if isinstance(given, str) and is_data_uri(given):
        return io.BytesIO(_data_of(given, name))
    if isinstance(given, str | os.PathLike):
        return _open_path(os.fspath(given), name)
    if hasattr(given, "read"):
        return io.BytesIO(_content_of(given, name))
    raise ImageError(f"{name} is a {type(given).__name__}; give {KINDS}")


def image_of(values: NDArray[Any], name: str) -> Image.Image:
    """An array as an image in mode L, RGB or RGBA; raises ImageError for all but uint8 of these shapes.

    Numbers of other types are refused because nothing says which of them is white.
    """
    if isinstance(values, np.ma.MaskedArray):
        raise ImageError(f"{name}: is a masked array, and an image has no mask; give array.filled(value)")
    if values.dtype == np.uint8 and values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.dtype == np.uint8 and (values.ndim == 2 or (values.ndim == 3 and values.shape[2] in (3, 4))):
        return Image.fromarray(np.ascontiguousarray(values))
    help_ = ""
    if values.dtype.kind == "f":
        help_ = "; if white is 1.0, give (255 * array).round().astype('uint8')"
    elif values.ndim == 4:
        help_ = "; of several images give a list"
    elif values.ndim == 3 and values.shape[0] in (1, 3, 4):
        help_ = "; if its channels come first, give array.transpose(1, 2, 0)"
    raise ImageError(
        f"{name}: an array must be uint8 [height, width], or that with 1, 3 or 4 channels, "
        f"not {values.dtype} {list(values.shape)}{help_}"
    )


def _open_path(path: str, name: str) -> BinaryIO:
    if not path:
        raise ImageError(f"{name} {EMPTY_PATH}")
    if URL.match(path):
        raise ImageError(f"{name} is a URL, and images are not fetched from anywhere; give a file, or its bytes")
    try:
        if not Path(path).is_file():  # also keeps us from waiting on a pipe
            if Path(path).exists():
                raise ImageError(f"{name}: is a folder, a pipe or a device; give the file of an image")
            raise ImageError(f"{name}: no such file; check the path of the image")
        return cast(BinaryIO, Path(path).open("rb"))
    except (OSError, ValueError) as error:  # too long for a name, or with a null in it
        if isinstance(error, OSError) and error.errno is not None and len(path) <= LONGEST_NAME:
            raise ImageError(f"{name} cannot be read ({os.strerror(error.errno)}); check its rights") from error
        raise ImageError(f"{name} is not a path; text in base64 needs data:image/png;base64, before it") from error


def _data_of(uri: str, name: str) -> bytes:
    head, comma, body = uri[5:].partition(",")
    if not comma:
        raise ImageError(f"{name}: a data URI has a comma before its data; give data:image/png;base64,...")
    content = unquote_to_bytes(body)
    if not head.lower().rstrip().endswith(";base64"):
        return content
    try:
        return base64.b64decode(b"".join(content.split()) + b"==", altchars=None, validate=False)
    except binascii.Error as error:
        raise ImageError(f"{name}: the data URI is not base64 ({error}); encode it again") from error


def _content_of(file: Any, name: str) -> bytes:
    """All bytes of an open file, from its start if it can go there."""
    try:
        with alone_with(file):
            if getattr(file, "seekable", lambda: False)():
                file.seek(0)
            content = file.read()
    except (OSError, ValueError) as error:  # closed, or opened for writing
        raise ImageError(f"{name} cannot be read ({error}); give a file that is open for reading") from error
    if not isinstance(content, bytes):
        raise ImageError(f"{name} is a file of text; open it with 'rb'")
    return content
