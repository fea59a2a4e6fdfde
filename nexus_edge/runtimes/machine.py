"""What a measurement needs to know of the machine and of the clock."""

import os
import platform
import sys
import time
from pathlib import Path


class Clock:
    """Wall time in laps."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last call."""
        started, self._started = self._started, time.perf_counter()
        return self._started - started


def peak_rss_bytes() -> int | None:
    """Most memory that this process had resident, or None where the system does not say (Windows)."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts kilobytes


def machine() -> str:
    """Processor and number of cores, for people."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        models = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        name = models[0] if models else name
    return f"{name}, {os.cpu_count()} cores"
