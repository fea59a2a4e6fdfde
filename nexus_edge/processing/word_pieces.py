"""Texts to rows of ids for a BERT text tower, with the checkpoint's own tokenizer.json or vocab.txt."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from nexus_edge.errors import CheckpointError, PromptError
from nexus_edge.processing.clean import clean_text
from nexus_edge.processing.folder import read_json

PAD_ID = 0  # the text tower masks this id, whatever the vocabulary calls it
SPECIAL = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"}


class WordPieceTokenizer:
    """Uncased or cased WordPiece between [CLS] and [SEP], after open_clip's cleaning."""

    def __init__(self, core: tokenizers.Tokenizer) -> None:
        core.no_truncation()  # a training run may have left its own limits in the file
        core.no_padding()
        self._core = core

    @classmethod
    def from_folder(cls, folder: Path) -> "WordPieceTokenizer":
        """Reads tokenizer.json, or else vocab.txt and tokenizer_config.json; raises CheckpointError."""
        path = folder / "tokenizer.json"
        if path.is_file():
            read_json(folder, path.name)  # says more about a damaged file than the parser below
            try:
                core = tokenizers.Tokenizer.from_file(str(path))
            except Exception as error:  # the library raises nothing more precise than Exception
                raise CheckpointError(f"{path} is not a tokenizer ({error}); download it again") from error
        else:
            path = folder / "vocab.txt"
            core = _from_vocabulary(path)
        tokenizer = cls(core)
        tokenizer._check(path)
        return tokenizer

    def _check(self, path: Path) -> None:
        ids = self._core.encode("").ids
        if len(ids) != 2 or PAD_ID in ids:
            raise CheckpointError(
                f"{path} makes {ids} of an empty text; a BERT tower needs [CLS] and [SEP], and {PAD_ID} for padding"
            )

    def encode(self, texts: Sequence[str], length: int) -> NDArray[np.int64]:
        """int64 [texts, length]: each text's ids, cut so that [SEP] still ends them, then zeros; raises PromptError."""
        rows = np.full((len(texts), length), PAD_ID, dtype=np.int64)
        encodings = self._core.encode_batch([_checked(text, index) for index, text in enumerate(texts)])
        for row, encoding in zip(rows, encodings, strict=True):
            ids = encoding.ids
            row[: len(ids)] = ids if len(ids) <= length else [*ids[: length - 1], ids[-1]]
        return rows

    def count(self, text: str) -> int:
        """How many ids the whole text has, with [CLS] and [SEP]; raises PromptError."""
        return len(self._core.encode(_checked(text, 0)).ids)


def _checked(text: Any, index: int) -> str:
    """The cleaned text; raises PromptError if it is no text, or not valid Unicode."""
    if not isinstance(text, str):
        raise PromptError(f"text {index + 1} is a {type(text).__name__}; give a list of texts")
    cleaned = clean_text(text)
    try:
        cleaned.encode()
    except UnicodeEncodeError as error:  # half a surrogate pair, or a byte that a terminal passed on undecoded
        raise PromptError(
            f"text {index + 1} is not valid Unicode at position {error.start}; give it as UTF-8"
        ) from error
    return cleaned


def _from_vocabulary(path: Path) -> tokenizers.Tokenizer:
    """BERT's tokenizer (Devlin et al. 2018) over a vocab.txt, where the line's number is the id."""
    try:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent} has neither tokenizer.json nor vocab.txt; download one of them") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); download it again") from error
    vocabulary = {line: index for index, line in enumerate(lines)}
    config = (
        read_json(path.parent, "tokenizer_config.json") if (path.parent / "tokenizer_config.json").is_file() else {}
    )
    special = {key: config.get(key) or token for key, token in SPECIAL.items()}
    for key, token in special.items():
        if not isinstance(token, str) or token not in vocabulary:
            raise CheckpointError(f"{path} has no {key} {token!r}; it is not the vocabulary of a BERT")
    core = tokenizers.Tokenizer(models.WordPiece(vocab=vocabulary, unk_token=special["unk_token"]))
    core.add_special_tokens(list(special.values()))
    core.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=config.get("tokenize_chinese_chars", True),
        strip_accents=config.get("strip_accents"),
        lowercase=config.get("do_lower_case", True),
    )
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(special[key], vocabulary[special[key]]) for key in ("sep_token", "cls_token")]
    core.post_processor = processors.BertProcessing(*ends)
    core.decoder = decoders.WordPiece()
    return core
