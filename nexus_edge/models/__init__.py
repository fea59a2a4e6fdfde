"""The families of models, one folder each, named after the `model_type` of their checkpoints.

A folder whose `__init__.py` has a `FAMILY` (see `nexus_edge.interfaces.family`) is found by scanning. Its `__init__`,
`params`, `processing` and `config_keys` import no torch.

base.py     what every reference model offers beside `forward`
loading.py  from a checkpoint to a reference model that computes
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from nexus_edge.models.base import ReferenceModel

__all__ = ["from_checkpoint"]


def from_checkpoint(path: str | Path, dtype: "torch.dtype | None" = None) -> "ReferenceModel":
    """The reference model of a checkpoint folder, in eval mode.

    Args:
        path: the folder
        dtype: of its parameters; None: float32

    Raises:
        CheckpointError: the folder is incomplete, corrupt, or not of a known model.
    """
    import torch

    from nexus_edge.models import loading

    return loading.from_checkpoint(path, torch.float32 if dtype is None else dtype)
