"""Whether a checkpoint's tokenizer files say the same: what one of them says alone would be ignored."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nexus_edge.errors import CheckpointError

TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token", "cls_token", "sep_token", "mask_token")
CONFIG, SPECIAL = "tokenizer_config.json", "special_tokens_map.json"


def check_agreement(
    folder: Path,
    configs: Mapping[str, Mapping[str, Any]],
    token_id: Callable[[str], int | None],
) -> None:
    """Compare the files with each other.

    Args:
        folder: of the checkpoint, for messages
        configs: parsed files by name
        token_id: from a token's text to its id in the tokenizer itself

    Raises:
        CheckpointError: two files contradict each other
    """
    config, special = configs.get(CONFIG, {}), configs.get(SPECIAL, {})
    for name in TOKENS:
        one, other = _text(config.get(name)), _text(special.get(name))
        if one is not None and other is not None and one != other:
            raise CheckpointError(
                f"{folder}: {name} is {one!r:.60} in {CONFIG} and {other!r:.60} in {SPECIAL}; fix one"
            )
    added = config.get("added_tokens_decoder")
    for id_, token in added.items() if isinstance(added, dict) else ():
        text = _text(token)
        if text is not None and str(token_id(text)) != id_:
            raise CheckpointError(
                f"{folder / CONFIG}: added_tokens_decoder has {text!r:.60} as id {id_}, tokenizer.json as "
                f"{token_id(text)}; take both files from the same checkpoint"
            )


def _text(token: object) -> str | None:
    """A special token's text; older files hold its flags as well."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else None
