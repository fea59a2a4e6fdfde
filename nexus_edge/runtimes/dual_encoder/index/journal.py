"""What an interrupted `embed` has done: one line per image, appended as they are embedded."""

import base64
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from nexus_edge._atomic import make_folder_of
from nexus_edge._lock import try_lock
from nexus_edge._text import parse_json
from nexus_edge.errors import OutputError
from nexus_edge.interfaces.engine import Floats
from nexus_edge.runtimes.dual_encoder.index.image_index import Stamp
from nexus_edge.runtimes.dual_encoder.unit_rows import TOLERANCE

FORMAT = "nexus-edge index journal 1"
MARK = b'{"format": "nexus-edge index journal '  # what a journal of any version begins with
FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)


@dataclass(frozen=True)
class Entry:
    """An image that is done."""

    stamp: Stamp
    embedding: Floats


class Journal:
    """The file beside an index that is being made. It goes when the index is written, and stays when that fails,
    if it holds anything.

    Attributes:
        entries: what an earlier run left, by the name of the image in the index

    Raises:
        OutputError: on entering, if the folder cannot be written, another process is making this index, or what has
            the journal's name is no journal: a link, a file of two names, or a file that somebody else made.
    """

    def __init__(self, index: Path, image_tower: str, dim: int) -> None:
        self.path = index.with_name(f"{index.name}.partial")
        self._head = json.dumps({"format": FORMAT, "image_tower": image_tower, "dim": dim})
        self._dim = dim
        self.entries: dict[str, Entry] = {}

    def __enter__(self) -> "Journal":
        try:
            make_folder_of(self.path)
            self._file = self._locked()
            end = self._read()
            self._holds_work = bool(self.entries)
            self._file.seek(end)
            self._file.truncate()  # a line that a killed process wrote half
            if not end:
                self._file.write(f"{self._head}\n".encode())
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror}; choose another -o") from error
        return self

    def _locked(self) -> IO[bytes]:
        while True:
            found = self._there()
            if found is not None and not stat.S_ISREG(found.st_mode):
                raise self._not_ours("is a link" if stat.S_ISLNK(found.st_mode) else "is no file")
            file = os.fdopen(os.open(self.path, FLAGS, 0o666), "r+b")
            try:
                if not try_lock(file):
                    raise OutputError(
                        f"{self.path}: another nexus-edge embed is writing it; wait for its end, or choose another -o"
                    )
                # The other process may have removed it between the two calls; then this is no longer the one there.
                found = self._there()
                if found is not None and os.path.samestat(os.fstat(file.fileno()), found):
                    self._require_ours(file, found)
                    return file
            except BaseException:
                file.close()
                raise
            file.close()

    def _there(self) -> os.stat_result | None:
        """What has the journal's name; a link is not followed."""
        try:
            return self.path.lstat()
        except FileNotFoundError:
            return None

    def _require_ours(self, file: IO[bytes], found: os.stat_result) -> None:
        """Raise OutputError for a file that is somebody else's; an empty one, or half a first line, is a journal's."""
        if found.st_nlink > 1:
            raise self._not_ours("has another name too (a hard link)")
        head = file.read(len(MARK))
        if not MARK.startswith(head):
            raise self._not_ours("is there already and no journal of nexus-edge embed")

    def _not_ours(self, problem: str) -> OutputError:
        return OutputError(
            f"{self.path}: {problem}, so what is done is not written there; choose another -o, or remove it first"
        )

    def add(self, entries: Mapping[str, Entry]) -> None:
        """Append lines, and hand them to the system at once: they outlive this process. Raises OutputError."""
        try:
            for name, entry in entries.items():
                values = base64.b64encode(entry.embedding.astype("<f4").tobytes()).decode()
                line = {"path": name, "size": entry.stamp.size, "time": entry.stamp.time, "embedding": values}
                self._file.write(f"{json.dumps(line)}\n".encode())
            self._file.flush()
            self._holds_work = self._holds_work or bool(entries)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror}") from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        done = kind is None or not self._holds_work
        if done and os.name != "nt":
            self.path.unlink(missing_ok=True)  # before the lock goes, so that it is nobody else's
        self._file.close()
        if done and os.name == "nt":  # where an open file cannot be removed
            self.path.unlink(missing_ok=True)

    def _read(self) -> int:
        """Fill `entries`; where the good lines end. A journal of another model, or none, has none."""
        with self.path.open("rb") as file:
            if file.readline().rstrip(b"\n") != self._head.encode():
                return 0
            end = file.tell()
            for line in file:
                entry = self._parse(line)
                if entry is None:
                    break
                self.entries[entry[0]] = entry[1]
                end += len(line)
        return end

    def _parse(self, line: bytes) -> tuple[str, Entry] | None:
        if not line.endswith(b"\n"):
            return None
        try:
            value: Any = parse_json(line.decode())
            embedding = np.frombuffer(base64.b64decode(value["embedding"], validate=True), "<f4")
            stamp, name = Stamp(int(value["size"]), int(value["time"])), str(value["path"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        if embedding.shape != (self._dim,) or not abs(float(np.linalg.norm(embedding)) - 1) <= TOLERANCE:
            return None
        return name, Entry(stamp, embedding)
