"""The file of an index: safetensors, which many libraries read, checked as if an enemy had written it.

Tensors: `embeddings` float32 or float16 [images, dim], `sizes` and `times` int64 [images], and `paths` uint8 [bytes],
each path in UTF-8 with a zero byte after it. `__metadata__` holds `format`, the texts of `FACTS`, and `crc32` of the
tensors in the order of their names: the format itself has no checksum.
"""

import os
import posixpath
import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from nexus_edge._outputs import SAFETENSORS, FileKind
from nexus_edge.checkpoints.base import Array
from nexus_edge.errors import CheckpointError, InputError
from nexus_edge.storage.header import REMEDY
from nexus_edge.storage.reader import SafetensorsFile
from nexus_edge.storage.writer import write_tensors

FORMAT = "nexus-edge image index 2"
FACTS = ("image_tower", "model", "weights", "bundle")
KINDS = {
    "embeddings": (("float32", "float16"), 2),
    "sizes": (("int64",), 1),
    "times": (("int64",), 1),
    "paths": (("uint8",), 1),
}
"""Tensor -> its dtypes and its number of dimensions."""

INDEX = FileKind(
    "an index", (".safetensors",), re.compile(SAFETENSORS + rb'"format":"nexus-edge image index \d+",', re.DOTALL)
)
AGAIN = "make it again with nexus-edge embed"
LONGEST = 255  # bytes of a file's name, on the usual file systems
_ZIP = b"PK\x03\x04"


def write_index(path: Path, arrays: Mapping[str, Array], facts: Mapping[str, str]) -> None:
    """Write a file that is not there yet; raises OutputError.

    Args:
        path: of the file
        arrays: those of `KINDS`
        facts: those of `FACTS`
    """
    write_tensors(path, arrays, {"format": FORMAT, **facts, "crc32": _checksum(arrays)})


def read_index(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays of `KINDS`, copied, and the texts of `FACTS`.

    Raises:
        InputError: no such file, of an earlier version, damaged, or other tensors than expected.
    """
    try:
        with path.open("rb") as opened:
            if opened.read(len(_ZIP)) == _ZIP:
                raise InputError(f"{path}: is an index of an earlier version (.npz), which is no longer read; {AGAIN}")
        file = SafetensorsFile(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except CheckpointError as error:
        raise InputError(f"{str(error).removesuffix(f'; {REMEDY}')}; it is damaged or not an index: {AGAIN}") from error
    said = file.metadata.get("format")
    if said != FORMAT:
        raise InputError(f"{path}: format is {said!r:.60}, this nexus-edge reads {FORMAT!r}; {AGAIN}")
    missing = [name for name in (*FACTS, "crc32") if name not in file.metadata]
    if missing or file.infos.keys() != KINDS.keys():
        raise InputError(f"{path}: lacks what an index has, or has more; {AGAIN}")
    for name, (dtypes, dims) in KINDS.items():
        info = file.infos[name]
        if info.dtype not in dtypes or len(info.shape) != dims:
            raise InputError(f"{path}: {name} is {info.dtype} {list(info.shape)!r:.60}; {AGAIN}")
    arrays = {name: np.array(file.read(name)) for name in KINDS}
    if _checksum(arrays) != file.metadata["crc32"]:
        raise InputError(f"{path}: is damaged, its checksum is not that of its data; {AGAIN}")
    return arrays, {name: file.metadata[name] for name in FACTS}


def check_paths(paths: Sequence[str]) -> None:
    """Raise ValueError for what `embed` does not write: no path at all, one twice, an absolute one, one of a folder.

    A path may lead out of the index's folder ("../images/a.png"), and on Windows to another drive.
    """
    if not paths:
        raise ValueError("it holds no images")
    if len(set(paths)) < len(paths):
        raise ValueError(f"{next(path for path, count in Counter(paths).items() if count > 1)!r:.100} is there twice")
    for path in paths:
        is_plain = posixpath.normpath(path) == path and posixpath.basename(path) not in ("", ".", "..")
        is_drive = os.name == "nt" and PureWindowsPath(path).drive != ""
        if not is_plain or (path.startswith("/") and not is_drive):
            raise ValueError(f"{path!r:.100} is not the path of a file relative to the index")
        if len(os.fsencode(posixpath.basename(path))) > LONGEST:
            raise ValueError(f"{path!r:.100} is longer than a file's name can be")


def encode_paths(paths: Sequence[str]) -> NDArray[np.uint8]:
    """The paths as bytes; half surrogate pairs, which stand for bytes that are no text, come back as they were."""
    return np.frombuffer("".join(f"{path}\0" for path in paths).encode("utf-8", "surrogatepass"), np.uint8)


def decode_paths(data: Array) -> tuple[str, ...]:
    """The paths from their bytes; raises ValueError if they are no text."""
    text = data.tobytes().decode("utf-8", "surrogatepass")
    if text and not text.endswith("\0"):
        raise ValueError("the last path is cut off")
    return tuple(text.split("\0")[:-1])


def _checksum(arrays: Mapping[str, Array]) -> str:
    value = 0
    for name in sorted(arrays):
        value = zlib.crc32(np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8).data, value)
    return f"{value:08x}"
