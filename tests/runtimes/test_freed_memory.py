"""What was freed goes back to the system, also from below something that stays."""

import sys
from pathlib import Path

import numpy as np
import pytest

from nexus_edge.runtimes.memory import give_back_freed_memory

MB = 1 << 20


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the resident memory")
def test_freed_blocks_below_one_that_stays_go_back() -> None:
    # A block that was mapped on its own teaches the allocator, when it is freed, to keep such blocks from then on.
    np.ones(4 * MB, np.uint8)
    before = resident_bytes()
    blocks = [np.ones(2 * MB, np.uint8) for _ in range(100)]
    stays = np.ones(2 * MB, np.uint8)
    assert resident_bytes() - before > 150 * MB
    blocks.clear()
    give_back_freed_memory()
    assert resident_bytes() - before < 50 * MB
    assert stays.all()
