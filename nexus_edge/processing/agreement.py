"""Whether a checkpoint's tokenizer files say the same: what one of them says alone would be ignored."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nexus_edge.configs.transformers import FLAGS
from nexus_edge.errors import CheckpointError

TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token", "cls_token", "sep_token", "mask_token")
CONFIG, SPECIAL = "tokenizer_config.json", "special_tokens_map.json"
TOKENIZER, ADDED = "tokenizer.json", "added_tokens.json"
VOCABULARY = "vocab.txt"
PADDED_TO = (8, 16, 32, 64, 128)
"""Multiples to which rows of embeddings are padded for matrix units: tensor cores want 8 or 64, Megatron-LM takes 128.
Published BERTs of 30,522 tokens have 30,522 rows, or 30,528."""


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
    for text, said in configs.get(ADDED, {}).items():
        if token_id(text) != said:
            raise CheckpointError(
                f"{folder / ADDED}: has {text!r:.60} as id {said!r:.20}, the tokenizer as {token_id(text)}; take both "
                "files from the same checkpoint"
            )
    _check_flags(folder, config, configs.get(TOKENIZER, {}))
    _check_ids(folder / TOKENIZER, configs.get(TOKENIZER, {}))


def _check_flags(folder: Path, config: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> None:
    """Flags say what of the text around it a token takes, and whether it is control at all.

    transformers adds each token of `added_tokens_decoder` that is not there with the same flags once more, so its
    flags win there; other readers of tokenizer.json never see them.
    """
    added, listed = config.get("added_tokens_decoder"), tokenizer.get("added_tokens")
    of_text = {_text(token): token for token in listed if isinstance(token, dict)} if isinstance(listed, list) else {}
    for token in added.values() if isinstance(added, dict) else ():
        own = of_text.get(_text(token))
        if own is None or not isinstance(token, dict):
            continue
        for flag in FLAGS:
            if token.get(flag) is not None and token[flag] is not own.get(flag, False):
                raise CheckpointError(
                    f"{folder / CONFIG}: added_tokens_decoder has {flag} {token[flag]!r:.20} for {_text(token)!r:.60}, "
                    f"{TOKENIZER} {own.get(flag, False)!r:.20}; take both files from the same checkpoint"
                )


def check_vocabulary(folder: Path, tokens: int, vocab_size: int) -> None:
    """Hold a vocab.txt, which may be cut short anywhere and still be one, against the model's embeddings.

    Raises:
        CheckpointError: it has fewer tokens than the model has rows, and padding does not explain that
    """
    if vocab_size != tokens and vocab_size not in {-(-tokens // multiple) * multiple for multiple in PADDED_TO}:
        raise CheckpointError(
            f"{folder}: {VOCABULARY} has {tokens} tokens, and the model embeddings for {vocab_size} (vocab_size); "
            "it was cut short, or is another model's: download it again"
        )


def _check_ids(path: Path, tokenizer: Mapping[str, Any]) -> None:
    """Whether each token of a tokenizer.json has one id, and each id one token: the library takes either in silence."""
    id_of, token_of = dict[str, int](), dict[int, str]()
    for text, id_ in _entries(tokenizer):
        other, first = token_of.setdefault(id_, text), id_of.setdefault(text, id_)
        if first != id_:
            raise CheckpointError(f"{path}: has {text!r:.60} as id {first} and as id {id_}; download it again")
        if other != text:
            raise CheckpointError(f"{path}: has id {id_} for {other!r:.60} and for {text!r:.60}; download it again")


def _entries(tokenizer: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Tokens with their ids, of the model's vocabulary and of those that were added to it."""
    model = tokenizer.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    yield from vocabulary.items() if isinstance(vocabulary, dict) else ()
    added = tokenizer.get("added_tokens")
    for token in added if isinstance(added, list) else ():
        if isinstance(token, dict) and isinstance(token.get("content"), str) and isinstance(token.get("id"), int):
            yield token["content"], token["id"]


def _text(token: object) -> str | None:
    """A special token's text; older files hold its flags as well."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else None
