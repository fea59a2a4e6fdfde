"""What belongs to one process."""

from typing import NoReturn


class OfOneProcess:
    """Cannot be pickled or copied: it holds sessions of a runtime, and their threads and caches."""

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        kind = type(self).__name__
        raise TypeError(
            f"a {kind} cannot be pickled or copied; load the bundle in each process, or share it by threads"
        )
