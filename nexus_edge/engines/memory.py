"""Memory that comes when it is written, and memory that was freed and that the C library would keep."""

import ctypes
import math
import mmap
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

PRIVATE = getattr(mmap, "MAP_PRIVATE", 0) | getattr(mmap, "MAP_ANONYMOUS", 0)


def give_back_freed_memory() -> None:
    """Let glibc return to the system what was freed; nothing happens with other C libraries.

    It keeps blocks of up to 32 MB for itself, which a session's weights are made of: 0.3 GB after the vision encoder
    of Phi-3-Vision.
    """
    if sys.platform != "linux":
        return
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except AttributeError:  # musl
        return
    trim(0)


def mapped_zeros(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros that take no memory until they are written; `numpy.zeros` promises that for large arrays only."""
    size = math.prod(shape) * dtype.itemsize
    # Windows has one kind of anonymous mapping; elsewhere the default is one for several processes, which costs more.
    mapped = mmap.mmap(-1, size) if sys.platform == "win32" else mmap.mmap(-1, size, flags=PRIVATE)
    return np.frombuffer(mapped, dtype).reshape(shape)
