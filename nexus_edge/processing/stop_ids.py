"""Which tokens end an answer, as far as a checkpoint's files say so."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nexus_edge.errors import CheckpointError
from nexus_edge.processing.folder import read_json
from nexus_edge.processing.tokenizer import Tokenizer

FILES = ("generation_config.json", "config.json")
"""Hold an `eos_token_id`, one or a list; transformers' `generate` takes the first file's, or the second's without it.
Both count here, because an answer ends at the end of a turn whichever file was kept."""


def read_stop_ids(folder: Path, tokenizer: Tokenizer) -> list[int]:
    """Ids of `eos_token_id` in `FILES`, and of the tokenizer's `eos_token`.

    Raises:
        CheckpointError: one of them is no id, or no token.
    """
    found = []
    for name in FILES:
        if (folder / name).is_file():
            found += ids_in(read_json(folder, name), str(folder / name))
    eos = read_json(folder, "tokenizer_config.json").get("eos_token")
    text = eos.get("content") if isinstance(eos, dict) else eos  # older files hold the token's flags as well
    if text is not None:
        id_ = tokenizer.token_id(text) if isinstance(text, str) else None
        if id_ is None:
            raise CheckpointError(f"{folder / 'tokenizer_config.json'}: eos_token {eos!r:.60} is not in tokenizer.json")
        found.append(id_)
    return found


def ids_in(config: Mapping[str, Any], source: str) -> list[int]:
    """The ids of an object's `eos_token_id`, none where it has none; raises CheckpointError."""
    value = config.get("eos_token_id")
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if not all(type(id_) is int and id_ >= 0 for id_ in ids):
        raise CheckpointError(f"{source}: eos_token_id is {value!r:.60}; it must be a token id or a list of them")
    return ids
