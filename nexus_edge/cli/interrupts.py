"""Ctrl-C from the first moment on: it waits while modules are imported, and until `app.main` can say what happened.

A KeyboardInterrupt in the middle of an import leaves half a module: extensions written in C end in errors of their own,
and no one is there yet to turn it into a line and an exit code.
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

AGAIN_S = 0.02  # until a signal that came too early is looked at again
IMPORTER = "<frozen importlib"  # how the file names of Python's own importer begin


class Interrupts:
    """When an interrupt may be raised: inside `allowed`, and not in the middle of an import."""

    def __init__(self) -> None:
        self._is_ready = False

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Inside, an interrupt is raised; after it nothing is left to stop but the last line.

        Code on its way up may fail over it and raise an error of its own instead, as torch does when its tracer loses
        count of the modes it has entered. What comes out of here is the interrupt.
        """
        self._is_ready = True
        try:
            yield
        except Exception as error:
            if _is_of_interrupt(error):
                raise KeyboardInterrupt from error
            raise
        finally:
            self._is_ready = False

    def install(self) -> None:
        """From now on; where a caller has a handler of its own, or in another thread than the first, nothing."""
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            signal.signal(signal.SIGINT, self._handle)
            sys.unraisablehook = self._not_raised

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._is_ready and not _is_importing(frame):
            raise KeyboardInterrupt
        self._later()

    def _not_raised(self, lost: "sys.UnraisableHookArgs") -> None:
        """An interrupt that came inside a destructor, which Python drops, comes again."""
        if issubclass(lost.exc_type, KeyboardInterrupt):
            self._later()
        else:
            sys.__unraisablehook__(lost)

    def _later(self) -> None:
        again = threading.Timer(AGAIN_S, _signal_main_thread)
        again.daemon = True
        again.start()


interrupts = Interrupts()
"""Of this process."""


def _signal_main_thread() -> None:
    """A signal that is raised in another thread would not end a system call that the main thread waits in."""
    if sys.platform == "win32":
        signal.raise_signal(signal.SIGINT)
    else:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def _is_of_interrupt(error: BaseException | None) -> bool:
    """Whether it came up while a KeyboardInterrupt was handled."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__context__
    return False


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith(IMPORTER):
            return True
        frame = frame.f_back
    return False
