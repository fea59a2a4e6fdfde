"""Imports of libraries that report to their makers, or write into the user's home, kept from doing either.

A process that imports ONNX Runtime or OpenVINO itself, before this package does, decides that for itself.
"""

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ONNXRUNTIME_SWITCH = "ORT_DISABLE_TELEMETRY"
OPENVINO_SENDER = "openvino_telemetry"
MATPLOTLIB_FOLDER = "MPLCONFIGDIR"

_lock = threading.RLock()  # environment and sys.modules are the whole process's


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Around `import onnxruntime` and `import openvino`: no socket is opened, no file is written.

    ONNX Runtime 1.32 reads its switch once, when its library is loaded; without it, it keeps a database and a device
    id in ~/.cache/Microsoft and looks up a host of its maker. OpenVINO 2026.4 sends an event and writes ~/intel
    unless its sender cannot be imported: it then takes a stand-in of its own.
    """
    with _lock, _environment(ONNXRUNTIME_SWITCH, "1"):
        blocked = OPENVINO_SENDER not in sys.modules
        if blocked:
            sys.modules[OPENVINO_SENDER] = None  # type: ignore[assignment]  # how Python marks "not to be imported"
        try:
            yield
        finally:
            if blocked:
                del sys.modules[OPENVINO_SENDER]


@contextmanager
def without_font_cache() -> Iterator[None]:
    """Around the first import of matplotlib: its settings and its list of fonts live in a folder that goes away.

    So a report looks the same whatever the user's matplotlibrc says.
    """
    with _lock, tempfile.TemporaryDirectory(prefix="nexus-edge-") as folder, _environment(MATPLOTLIB_FOLDER, folder):
        yield


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """A variable of the environment with this value, unless the user gave it one."""
    if name in os.environ:
        yield
        return
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
