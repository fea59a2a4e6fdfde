"""The layouts of checkpoints, one file each, found by scanning; finding them imports no torch.

open_clip.py     open_clip_config.json, one weights file, the tokenizer of a BERT
transformers.py  config.json, tokenizer files, one or many safetensors files: what no other format recognises
"""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path

from nexus_edge.axes import files
from nexus_edge.errors import CheckpointError
from nexus_edge.interfaces.checkpoint import CheckpointFormat

COMMON = "transformers"


@cache
def formats() -> Mapping[str, CheckpointFormat]:
    """Name -> format, by name."""
    return {name: import_module(f"{__name__}.{name}").FORMAT for name in files(__name__)}


def recognised(path: Path) -> CheckpointFormat | None:
    """The format other than the common one that a folder or file is of; None if there is none.

    Raises:
        CheckpointError: two recognise it
    """
    found = [name for name, known in formats().items() if name != COMMON and known.recognises(path)]
    if len(found) > 1:
        raise CheckpointError(f"{path}: may be of the formats {' and '.join(found)}; remove the files of one of them")
    return formats()[found[0]] if found else None


def format_of(path: Path) -> CheckpointFormat:
    """The format of a folder or file: the common one where no other recognises it; raises CheckpointError."""
    return recognised(path) or formats()[COMMON]
