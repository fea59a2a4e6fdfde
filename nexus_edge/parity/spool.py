"""Values that wait on disk: what leaves the layers of a full-size model is gigabytes, of which one layer is needed at a
time."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from tempfile import TemporaryFile, gettempdir
from threading import Lock

import numpy as np

from nexus_edge.errors import OutputError
from nexus_edge.parity.metrics import Array


class Spool:
    """An unnamed temporary file that grows with every array kept; it goes with the object."""

    def __init__(self) -> None:
        self._file = TemporaryFile(prefix="nexus-edge-")  # noqa: SIM115  lives as long as the arrays in it
        self._lock = Lock()
        self._end = 0

    def keep(self, array: Array) -> "Kept":
        """Write an array.

        Raises:
            OutputError: the disk of temporary files is full.
        """
        data = np.ascontiguousarray(array)
        with self._lock:
            offset = self._end
            try:
                self._file.seek(offset)
                self._file.write(data.data)
            except OSError as error:
                message = f"{gettempdir()}: values of the parity ladder cannot be written ({error.strerror})"
                raise OutputError(f"{message}; make room there, or name another folder in TMPDIR") from error
            self._end += data.nbytes
        return Kept(self, offset, data.shape, data.dtype)

    def load(self, kept: "Kept") -> Array:
        """Read an array back, bit by bit what was written."""
        found: Array = np.empty(kept.shape, kept.dtype)
        with self._lock:
            self._file.seek(kept.offset)
            self._file.readinto(found.data)
        return found


@dataclass(frozen=True)
class Kept:
    """Where an array lies in a spool."""

    spool: Spool
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    def load(self) -> Array:
        """The array, as a copy of its own."""
        return self.spool.load(self)


class LazyValues(Mapping[str, Array]):
    """Tensors by name, each made when it is asked for and forgotten by the one who asked."""

    def __init__(self, makers: Mapping[str, Callable[[], Array]]) -> None:
        self._makers = dict(makers)

    @classmethod
    def of(cls, values: Mapping[str, Array]) -> "LazyValues":
        """Values as they are."""
        return cls({name: partial(values.__getitem__, name) for name in values})

    def __getitem__(self, name: str) -> Array:
        return self._makers[name]()

    def __contains__(self, name: object) -> bool:
        return name in self._makers

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)
