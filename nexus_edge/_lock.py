"""Locks an open file against other processes; the lock goes with the file, also when its process is killed."""

import sys
from typing import IO

if sys.platform == "win32":
    import msvcrt

    _BEHIND = 1 << 62  # a byte that nobody reads: a locked one cannot be read through another handle

    def try_lock(file: IO[bytes]) -> bool:
        """Whether the file is now this process's; False if another one holds it."""
        file.seek(_BEHIND)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            file.seek(0)
        return True
else:
    import fcntl

    def try_lock(file: IO[bytes]) -> bool:
        """Whether the file is now this process's; False if another one holds it."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True  # a file system without locks
        return True
