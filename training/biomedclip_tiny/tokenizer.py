"""The checkpoint's own tokenizer: BERT's uncased WordPiece in PubMedBERT's layout (ids 0 to 4 are control tokens)."""

import json
from pathlib import Path

from captions import vocabulary_text
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

CONTROL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789.,:;()-/%'\"+<>=&?!"
ENDINGS = (
    "s", "es", "ed", "er", "ing", "ion", "al", "ic", "ous", "ly", "oid", "cyte", "cytes", "cytic", "blast", "phil",
    "gram", "graph", "scope", "scopic", "micro", "photo", "logy", "logical", "oma", "itis", "emia", "osis", "stained",
)  # fmt: skip


def make_tokenizer() -> Tokenizer:
    """Control tokens, each sign alone and as a continuation, endings, and the captions' words.

    The words are few and known, so nothing is learned: `tokenizers`' own trainer breaks ties by hash order, and would
    give another vocabulary each time.
    """
    splitter = blank(Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]")))
    words = {
        word
        for text in vocabulary_text()
        for word, _ in splitter.pre_tokenizer.pre_tokenize_str(splitter.normalizer.normalize_str(text))
    }
    pieces = sorted({*words - {"{", "}"}, *ALPHABET, *(f"##{end}" for end in (*ALPHABET[:36], *ENDINGS))})
    return finished({piece: i for i, piece in enumerate((*CONTROL, *pieces))})


def finished(vocab: dict[str, int]) -> Tokenizer:
    """The tokenizer of a vocabulary."""
    tokenizer = blank(Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100)))
    ends = [(token, vocab[token]) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", ends)
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(CONTROL))
    return tokenizer


def blank(tokenizer: Tokenizer) -> Tokenizer:
    """With BERT's uncased normaliser and splitting."""
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def save(tokenizer: Tokenizer, folder: Path, context_length: int) -> None:
    """tokenizer.json, vocab.txt and tokenizer_config.json."""
    tokenizer.save(str(folder / "tokenizer.json"))
    vocab = tokenizer.get_vocab()
    (folder / "vocab.txt").write_text("".join(f"{p}\n" for p in sorted(vocab, key=vocab.__getitem__)), encoding="utf-8")
    names = {f"{token.strip('[]').lower()}_token": token for token in CONTROL}
    config = {
        "do_lower_case": True,
        **names,
        "model_max_length": context_length,
        "strip_accents": None,
        "tokenize_chinese_chars": True,
        "tokenizer_class": "BertTokenizer",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
