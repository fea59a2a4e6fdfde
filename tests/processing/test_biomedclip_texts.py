"""Ids of BiomedCLIP, the same as open_clip's HFTokenizer makes of the same text with the same files."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nexus_edge.checkpoints import SafetensorsFile, tiny_folder
from nexus_edge.errors import CheckpointError
from nexus_edge.processing.word_pieces import WordPieceTokenizer

LENGTH = 256
TEXTS: list[str] = json.loads((Path(__file__).parent / "biomedical_texts.json").read_text(encoding="utf-8"))
EDGE_TEXTS = [
    "lung " * 400,
    "Hyperintense signal; " * 60,
    "x" * 100,  # the longest word that WordPiece still cuts up
    "x" * 101,
    "y" * 5000,
    "ab" * 49 + " " + "ab" * 51,
    "中" * 300,
    "😀" * 270,
    "é" * 150,
    "a." * 200,
    "half a surrogate pair \ud800, an undecoded byte \udcff",  # a text all the same: ftfy replaces them
    *["a " * count + "z" for count in (252, 253, 254)],  # one id less than fits, as many, one more
    "pneumonia " * 5000,
]

Original = Callable[[list[str]], NDArray[np.int64]]


@pytest.fixture(scope="module", params=["golden", "golden as vocab.txt", "larger", "larger, cased"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer's files."""
    folder = tmp_path_factory.mktemp("tokenizer")
    cased = request.param.endswith("cased")
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": not cased, "strip_accents": not cased}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    recorded = request.getfixturevalue("biomedclip_golden") / "tokenizer" / "tokenizer.json"
    if request.param == "golden":
        shutil.copy(recorded, folder)
        return folder
    if request.param == "golden as vocab.txt":
        vocabulary = json.loads(recorded.read_text(encoding="utf-8"))["model"]["vocab"]
        (folder / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.get)), encoding="utf-8")
        return folder
    trained = tokenizers.BertWordPieceTokenizer(lowercase=not cased, strip_accents=not cased)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]  # PubMedBERT's order
    trained.train_from_iterator(
        TEXTS * 2, vocab_size=3000, min_frequency=2, special_tokens=special, show_progress=False
    )
    trained.save_model(str(folder))
    return folder


@pytest.fixture(scope="module")
def ours(folder: Path) -> WordPieceTokenizer:
    return WordPieceTokenizer.from_folder(folder)


@pytest.fixture(scope="module")
def original(folder: Path, open_clip: ModuleType) -> Original:
    tokenizer = open_clip.tokenizer.HFTokenizer(str(folder), context_length=LENGTH)
    return lambda texts: tokenizer(texts).numpy()


def test_the_list_is_long_and_the_larger_vocabulary_knows_its_words(ours: WordPieceTokenizer, folder: Path) -> None:
    ids = ours.encode(TEXTS, LENGTH)
    assert len(TEXTS) >= 150
    assert (ids > 4).mean() > 0.04 and len(np.unique(ids)) > 100  # not rows of [UNK], which any tokenizer would match


def test_every_text_has_the_originals_ids(ours: WordPieceTokenizer, original: Original) -> None:
    texts = TEXTS + EDGE_TEXTS
    for text, row, expected in zip(texts, ours.encode(texts, LENGTH), original(texts), strict=True):
        assert row.tolist() == expected.tolist(), repr(text[:200])


def test_the_golden_texts_have_the_recorded_ids(biomedclip_golden: Path) -> None:
    texts = json.loads((biomedclip_golden / "cases.json").read_text(encoding="utf-8"))["texts"]
    recorded = SafetensorsFile(biomedclip_golden / "inputs.safetensors").read("text_ids")
    tokenizer = WordPieceTokenizer.from_folder(biomedclip_golden / "tokenizer")
    assert np.array_equal(tokenizer.encode(texts, LENGTH), recorded)


def test_the_count_is_that_of_the_whole_text(ours: WordPieceTokenizer, original: Original) -> None:
    for text in TEXTS:
        assert ours.count(text) == np.count_nonzero(original([text])) + text.count("[PAD]"), repr(text)
    assert ours.count("a " * 253 + "z") == LENGTH
    assert ours.count("a " * 5000) == 5002


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_text_has_the_originals_ids(ours: WordPieceTokenizer, original: Original, text: str) -> None:
    assert ours.encode([text], LENGTH).tolist() == original([text]).tolist()


@pytest.mark.parametrize(
    "said", [{"do_lower_case": False}, {"do_lower_case": True}, {"strip_accents": False},
             {"do_lower_case": False, "strip_accents": True}, {"tokenize_chinese_chars": False}],
)  # fmt: skip
def test_what_the_config_says_of_the_normaliser_counts(said: dict[str, bool], tmp_path: Path) -> None:
    """Beside a tokenizer.json that says otherwise, too: transformers gives the normaliser these values."""
    from transformers import AutoTokenizer

    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_folder("biomedclip") / name, tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text("utf-8"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**config, **said}), "utf-8")
    texts = ["Platelet CELL blood", "bl\N{COMBINING ACUTE ACCENT}ood blöod", "blood中cell"]
    original = AutoTokenizer.from_pretrained(tmp_path)(texts, padding="max_length", max_length=12)["input_ids"]
    assert WordPieceTokenizer.from_folder(tmp_path).encode(texts, 12).tolist() == original


def test_a_flag_that_is_none_is_refused_beside_a_tokenizer_json(tmp_path: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_folder("biomedclip") / name, tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": "false"}', "utf-8")
    with pytest.raises(CheckpointError, match="do_lower_case is 'false'; it must be true or false"):
        WordPieceTokenizer.from_folder(tmp_path)
