"""Exchanges two paths in one step, so that neither name is ever without its file or folder."""

import ctypes
import errno
import os
import sys
from pathlib import Path

AT_FDCWD = -2 if sys.platform == "darwin" else -100
# Linux: renameat2(2), RENAME_EXCHANGE of linux/fs.h. macOS: renameatx_np(2), RENAME_SWAP of sys/stdio.h.
CALLS = {"linux": "renameat2", "darwin": "renameatx_np"}
SWAP = 2  # both headers
UNABLE = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}  # an older kernel, or the file system


def exchange(one: Path, other: Path) -> bool:
    """Whether the two, on one file system, have exchanged their places; False where the system cannot, nothing done.

    Raises:
        OSError: it can, and did not: one of them is gone, or may not be moved.
    """
    call = getattr(_libc(), CALLS.get(sys.platform, ""), None) if sys.platform in CALLS else None
    if call is None:
        return False
    call.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    if call(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), SWAP) == 0:
        return True
    code = ctypes.get_errno()
    if code in UNABLE:
        return False
    raise OSError(code, os.strerror(code), str(other))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
