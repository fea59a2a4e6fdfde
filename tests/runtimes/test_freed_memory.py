"""What was freed goes back to the system, also from below something that stays."""

import subprocess
import sys

import pytest

# In a process of its own: what other tests freed before would be taken again, and nothing would be seen.
SCRIPT = """
from pathlib import Path
import numpy as np
from nexus_edge.engines.memory import give_back_freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

# A block that was mapped on its own teaches the allocator, when it is freed, to keep such blocks from then on.
np.ones(4 << 20, np.uint8)
before = resident()
blocks = [np.ones(2 << 20, np.uint8) for _ in range(100)]
stays = np.ones(2 << 20, np.uint8)
full = resident()
blocks.clear()
kept = resident()
give_back_freed_memory()
print(full - before, kept - before, resident() - before, int(stays.all()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the resident memory")
def test_freed_blocks_below_one_that_stays_go_back() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    full, kept, left, whole = map(float, done.stdout.split())
    assert full > 150 and kept > 150, "MB: else there would be nothing to give back"
    assert left < 50 and whole
