"""An index of images: search in it, and its file."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nexus_edge._arguments import require_kind, require_path, require_whole
from nexus_edge._atomic import replaced_when_done
from nexus_edge._outputs import require_own
from nexus_edge.bundle import DualEncoderInfo
from nexus_edge.errors import InputError
from nexus_edge.interfaces.engine import Floats
from nexus_edge.runtimes.dual_encoder.index.file import (
    AGAIN,
    INDEX,
    check_paths,
    decode_paths,
    encode_paths,
    read_index,
    write_index,
)
from nexus_edge.runtimes.dual_encoder.unit_rows import check_unit_rows, require_rows

ROWS = 65_536  # that are compared at once: 134 MB of 512 float32


@dataclass(frozen=True)
class Stamp:
    """What a file's size (bytes) and time of change (nanoseconds) were; the same again means the same image."""

    size: int
    time: int

    @classmethod
    def of(cls, path: Path) -> "Stamp":
        """Of a file now; raises OSError."""
        stat = path.stat()
        return cls(stat.st_size, stat.st_mtime_ns)


@dataclass(frozen=True)
class Hit:
    """An image that was found, and the cosine of its embedding and the query's, -1..1."""

    path: str
    score: float


@dataclass(frozen=True)
class ImageIndex:
    """Embeddings of images.

    Attributes:
        embeddings: float32 or float16 [images, dim], L2-normalised
        paths: of the images relative to the folder that holds the index's file, with forward slashes
        stamps: of the images when they were embedded
        image_tower: SHA-256 of the tower that made it
        model, weights: of the bundle, for people
        bundle: its folder, relative like `paths`: the first place to look for a model that can search here
    """

    embeddings: NDArray[np.float32] | NDArray[np.float16]
    paths: tuple[str, ...]
    stamps: tuple[Stamp, ...]
    image_tower: str
    model: str
    weights: str
    bundle: str

    def __len__(self) -> int:
        return len(self.paths)

    def check(self, info: DualEncoderInfo, where: str) -> None:
        """Raise InputError if another image tower made the index than that of the model `where`."""
        if self.image_tower != info.image_tower:
            raise InputError(
                f"the index was made by another model ({self.model}) than {where}; "
                f"give the bundle that made it with --bundle, or make the index again"
            )
        if self.embeddings.shape[1] != info.embed_dim:
            raise InputError(
                f"the index holds {self.embeddings.shape[1]} numbers per image, {where} {info.embed_dim}; "
                "it was changed: make it again with nexus-edge embed"
            )

    def nearest(self, query: Floats, top_k: int) -> list[Hit]:
        """The `top_k` images with the highest cosine to `query` [dim], best first; of equals, the earlier one.

        Raises:
            InputError: `top_k` is not a whole number, or below 1
        """
        require_whole("top_k", top_k)
        if top_k < 1:
            raise InputError(f"top_k is {top_k}; ask for at least one hit")
        starts = range(0, len(self), ROWS)
        chunks = [self.embeddings[start : start + ROWS].astype(np.float32, copy=False) @ query for start in starts]
        scores = np.concatenate(chunks) if chunks else np.zeros(0, np.float32)
        best = np.argsort(-scores, kind="stable")[:top_k]
        return [Hit(self.paths[index], float(scores[index])) for index in best]

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the file in one step, also over an index that is there.

        Args:
            path: of the file
            overwrite: replace a file that is no index, too

        Raises:
            InputError: the embeddings are none of an index
            OutputError: it cannot be written, or a file is there that nexus-edge did not write as an index
        """
        path = require_path("path", path)
        require_kind("overwrite", overwrite, bool, "true or false")
        require_rows(self.embeddings, len(self.paths), ("float32", "float16"), "image")
        if not overwrite:
            require_own("save", path, INDEX, "choose another name, or pass overwrite=True")
        arrays = {
            "embeddings": self.embeddings,
            "sizes": np.array([stamp.size for stamp in self.stamps], np.int64),
            "times": np.array([stamp.time for stamp in self.stamps], np.int64),
            "paths": encode_paths(self.paths),
        }
        facts = {
            "image_tower": self.image_tower, "model": self.model, "weights": self.weights, "bundle": self.bundle,
        }  # fmt: skip
        with replaced_when_done(path) as temporary:
            write_index(temporary, arrays, facts)

    @classmethod
    def load(cls, path: str | Path) -> "ImageIndex":
        """Read and validate a file; raises InputError that says what is wrong with it."""
        arrays, facts = read_index(require_path("path", path))
        embeddings, sizes, times = (arrays[name] for name in ("embeddings", "sizes", "times"))
        try:
            paths = decode_paths(arrays["paths"])
        except ValueError as error:
            raise InputError(f"{path}: its paths are not text ({error}); {AGAIN}") from error
        if len({len(embeddings), len(paths), len(sizes), len(times)}) > 1:
            raise InputError(f"{path}: its arrays do not fit each other; {AGAIN}")
        try:
            check_paths(paths)
            check_unit_rows(embeddings, "image")
        except ValueError as error:
            raise InputError(f"{path}: its paths are not those of images: {error}; {AGAIN}") from error
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        return cls(embeddings, paths, tuple(map(Stamp, sizes.tolist(), times.tolist())), **facts)


def relative_to_index(path: Path, index: Path) -> str:
    """How the file `index` names `path`: relative to its own folder, so that both may move together."""
    try:
        return Path(os.path.relpath(path, index.parent)).as_posix()
    except ValueError:  # another drive of Windows
        return path.resolve().as_posix()


def from_index(name: str, index: Path) -> Path:
    """The path that leads from the current folder to what the file `index` calls `name`."""
    return Path(os.path.normpath(index.parent / name))
