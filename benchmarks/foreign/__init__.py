"""Checkpoints that no tolerance was set on: small ones of any family, made from a seed.

kinds.py       what is done to numbers: drawn, disturbed, trained for some steps
phi3_vision.py, biomedclip.py   the sizes of a family's checkpoints, and a fine-tune's loss
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from foreign import biomedclip, phi3_vision

Make = Callable[[Path], None]


@dataclass(frozen=True)
class Family:
    """A family's checkpoints: name -> what writes the folder, always in the same order."""

    checkpoints: dict[str, Make]


FAMILIES = {"phi3-vision": Family(phi3_vision.checkpoints()), "biomedclip": Family(biomedclip.checkpoints())}
"""By the names that `nexus-edge export` knows."""
