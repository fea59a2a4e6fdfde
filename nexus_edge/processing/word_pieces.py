"""Texts to rows of ids for a BERT text tower, with the checkpoint's own tokenizer.json or vocab.txt."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import models, normalizers, pre_tokenizers, processors

from nexus_edge._text import read_text
from nexus_edge.errors import CheckpointError, PromptError
from nexus_edge.processing.clean import clean_text
from nexus_edge.processing.folder import read_json
from nexus_edge.processing.tokenizer import read_tokenizer

PAD_ID = 0  # the text tower masks this id
SPECIAL = {
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "mask_token": "[MASK]",
}
OPTIONS = {
    "do_lower_case": "lowercase",
    "tokenize_chinese_chars": "handle_chinese_chars",
    "strip_accents": "strip_accents",
}
"""Key of the configuration -> what BERT's normaliser calls it. Where it is absent or null, tokenizer.json decides."""


class WordPieceTokenizer:
    """Uncased or cased WordPiece between [CLS] and [SEP], after open_clip's cleaning.

    Attributes:
        special: ids of the tokens that `SPECIAL` names, by their texts
    """

    def __init__(self, core: tokenizers.Tokenizer, special: Iterable[str]) -> None:
        self._core = core
        ids = {token: core.token_to_id(token) for token in special}
        self.special: Mapping[str, int] = {token: id_ for token, id_ in ids.items() if id_ is not None}

    @classmethod
    def from_folder(cls, folder: Path) -> "WordPieceTokenizer":
        """Reads tokenizer.json, or else vocab.txt, and tokenizer_config.json if it is there; raises CheckpointError."""
        config_file = folder / "tokenizer_config.json"
        config = read_json(folder, config_file.name) if config_file.is_file() else {}
        special = {key: _special(config.get(key), token) for key, token in SPECIAL.items()}
        path = folder / "tokenizer.json"
        if path.is_file():
            core = read_tokenizer(path)
        else:
            path = folder / "vocab.txt"
            core = _from_vocabulary(path, special)
        _obey(core, config, config_file)
        empty = [core.token_to_id(special[key]) for key in ("cls_token", "sep_token")]
        if core.encode("").ids != empty or core.token_to_id(special["pad_token"]) != PAD_ID:
            raise CheckpointError(
                f"{path} is not the tokenizer of a BERT text tower, which puts {special['cls_token']} and "
                f"{special['sep_token']} around each text and has {special['pad_token']} as id {PAD_ID}"
            )
        return cls(core, special.values())

    @property
    def largest_id(self) -> int:
        """The largest id that it gives."""
        return max(self._core.get_vocab().values(), default=0)

    def token_id(self, token: str) -> int | None:
        """The id of a token given as text, or None."""
        return self._core.token_to_id(token)

    def encode(self, texts: Sequence[str], length: int) -> NDArray[np.int64]:
        """int64 [texts, length]: each text's ids, cut so that [SEP] still ends them, then zeros; raises PromptError."""
        rows = np.full((len(texts), length), PAD_ID, dtype=np.int64)
        encodings = self._core.encode_batch([_cleaned(text, index) for index, text in enumerate(texts)])
        for row, encoding in zip(rows, encodings, strict=True):
            ids = encoding.ids
            row[: len(ids)] = ids if len(ids) <= length else [*ids[: length - 1], ids[-1]]
        return rows

    def count(self, text: str) -> int:
        """How many ids the whole text has, with [CLS] and [SEP]; raises PromptError."""
        return len(self._core.encode(_cleaned(text, 0)).ids)


def _cleaned(text: Any, index: int) -> str:
    """The text as it is tokenised; raises PromptError if it is none."""
    if not isinstance(text, str):
        raise PromptError(f"text {index + 1} is a {type(text).__name__}; give a list of texts")
    return clean_text(text)


def _special(value: Any, default: str) -> str:
    """A special token of tokenizer_config.json; older files hold the token's flags as well."""
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else default


def _obey(core: tokenizers.Tokenizer, config: dict[str, Any], source: Path) -> None:
    """What tokenizer_config.json says of the normaliser, as transformers has it; raises CheckpointError."""
    said = {key: config[key] for key in OPTIONS if config.get(key) is not None}
    for key, value in said.items():
        if not isinstance(value, bool):
            raise CheckpointError(f"{source}: {key} is {value!r:.40}; it must be true or false")
    if not said:
        return
    normalizer = core.normalizer
    if not isinstance(normalizer, normalizers.BertNormalizer):
        raise CheckpointError(f"{source}: {', '.join(said)}: tokenizer.json has no normaliser of BERT; remove one")
    for key, value in said.items():
        setattr(normalizer, OPTIONS[key], value)
    core.normalizer = normalizer


def _from_vocabulary(path: Path, special: dict[str, str]) -> tokenizers.Tokenizer:
    """BERT's tokenizer (Devlin et al. 2018) over a vocab.txt, where the line's number is the id."""
    try:
        lines = read_text(path).removesuffix("\n").split("\n")
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent} has neither tokenizer.json nor vocab.txt; download one of them") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CheckpointError(f"{path} {error}, or download it again") from error
    vocabulary = {line: index for index, line in enumerate(lines)}
    for key, token in special.items():
        if token not in vocabulary:
            raise CheckpointError(f"{path} has no {key} {token!r}; it is not the vocabulary of a BERT")
    core = tokenizers.Tokenizer(models.WordPiece(vocab=vocabulary, unk_token=special["unk_token"]))
    core.add_special_tokens(list(special.values()))
    core.normalizer = normalizers.BertNormalizer(lowercase=True, handle_chinese_chars=True, strip_accents=None)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(special[key], vocabulary[special[key]]) for key in ("sep_token", "cls_token")]
    core.post_processor = processors.BertProcessing(*ends)
    return core
