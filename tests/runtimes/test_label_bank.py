"""Label banks: what is written is read again, by others too, and what is not a bank is refused."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors
import toy_dual

from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import write_tensors
from nexus_edge.errors import InputError, OutputError
from nexus_edge.runtimes import DualEncoder, LabelBank, PromptSet, load_dual_encoder

LABELS = ("red", "green", "blau {}, \u00df")
TEMPLATES = ("a photo of {}", "{} cell")


@pytest.fixture(scope="module")
def model(dual_bundle: Bundle) -> DualEncoder:
    return load_dual_encoder(dual_bundle)


@pytest.fixture(scope="module")
def bank(model: DualEncoder) -> LabelBank:
    return model.label_bank(LABELS, TEMPLATES)


@pytest.fixture
def path(bank: LabelBank, tmp_path: Path) -> Path:
    bank.save(tmp_path / "sub" / "labels.bank")
    return tmp_path / "sub" / "labels.bank"


def test_a_bank_comes_back_as_it_was(bank: LabelBank, path: Path, model: DualEncoder) -> None:
    found = LabelBank.load(path)
    assert found.prompts == PromptSet(LABELS, TEMPLATES)
    assert np.array_equal(found.embeddings, bank.embeddings)
    assert (found.text_tower, found.model, found.weights) == (model.info.text_tower, "toy-dual", "synthetic")
    assert model.classify(toy_dual.plain_image("red"), found).best == "red"


def test_other_programs_read_it(path: Path, bank: LabelBank) -> None:
    with safetensors.safe_open(path, "numpy") as file:
        assert np.array_equal(file.get_tensor("embeddings"), bank.embeddings)
        assert tuple(json.loads(file.metadata()["labels"])) == LABELS
        assert file.metadata()["text_tower"] == bank.text_tower


def test_a_bank_of_another_text_tower_is_refused(path: Path, tmp_path: Path) -> None:
    other = load_dual_encoder(toy_dual.write_bundle(tmp_path / "other", tint=2.0))
    with pytest.raises(InputError, match=r"another text tower \(of toy-dual\) than that of other; make it again"):
        other.classify(toy_dual.plain_image("red"), LabelBank.load(path))


def test_a_bank_of_another_size_is_refused(bank: LabelBank, model: DualEncoder) -> None:
    changed = dataclasses.replace(bank, embeddings=np.ones((3, 1), np.float32))
    with pytest.raises(InputError, match="holds 1 numbers per label"):
        model.classify(toy_dual.plain_image("red"), changed)


def metadata(bank: LabelBank, embeddings: np.ndarray | None = None, **change: str) -> dict[str, str]:
    """A header with the hash that runtimes/README.md describes, worked out again."""
    texts = {"labels": json.dumps(LABELS), "templates": json.dumps(TEMPLATES)}
    names = {"text_tower": bank.text_tower, "model": "m", "weights": "real"}
    facts = {"format": "nexus-edge label bank 2", **texts, **names} | change
    rows = bank.embeddings if embeddings is None else embeddings
    sealed = "".join(f"{text}\0" for text in facts.values()).encode() + rows.astype("<f4").tobytes()
    return {**facts, "sha256": hashlib.sha256(sealed).hexdigest()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "is not a label bank of this version"),
        ({"labels": "[1, 2, 3]"}, "must be lists of texts"),
        ({"labels": "[" * 100_000}, "are not JSON"),
        ({"labels": '["a", "b"]'}, "3 embeddings of 2 labels"),
        ({"labels": '["a", "b", "a"]'}, "'a' appears twice"),
        ({"templates": '["no place"]'}, "must contain"),
    ],
)
def test_a_changed_header_is_found(change: dict[str, str], message: str, bank: LabelBank, tmp_path: Path) -> None:
    path = tmp_path / "changed.bank"
    write_tensors(path, {"embeddings": bank.embeddings}, metadata(bank, **change))
    with pytest.raises(InputError, match=message) as raised:
        LabelBank.load(path)
    assert str(path) in str(raised.value)


def test_the_header_of_these_tests_is_a_good_one(bank: LabelBank, tmp_path: Path) -> None:
    write_tensors(tmp_path / "good.bank", {"embeddings": bank.embeddings}, metadata(bank))
    assert LabelBank.load(tmp_path / "good.bank").labels == LABELS


def test_every_flipped_bit_is_found_or_changes_nothing(path: Path, bank: LabelBank, tmp_path: Path) -> None:
    content, flipped = path.read_bytes(), tmp_path / "flipped.bank"
    refused = 0
    for place in range(len(content)):
        flipped.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        try:
            found = LabelBank.load(flipped)
        except InputError as error:
            refused += 1
            assert str(error).startswith(f"{flipped}: ")
        else:  # white space behind the header
            assert found.prompts == bank.prompts and np.array_equal(found.embeddings, bank.embeddings)
            assert vars(found).keys() == vars(bank).keys() and found.text_tower == bank.text_tower
    assert refused > len(content) - 64


@pytest.mark.parametrize(
    "change", [{"labels": '["green", "red", "blau"]'}, {"model": "other"}, {"text_tower": "0" * 64}]
)
def test_changed_texts_are_found(change: dict[str, str], bank: LabelBank, tmp_path: Path) -> None:
    write_tensors(tmp_path / "c.bank", {"embeddings": bank.embeddings}, metadata(bank) | change)
    with pytest.raises(InputError, match=r"c\.bank: is damaged, its checksum is not that of its data; make it again"):
        LabelBank.load(tmp_path / "c.bank")


def test_rows_in_another_order_are_found(bank: LabelBank, tmp_path: Path) -> None:
    write_tensors(tmp_path / "c.bank", {"embeddings": bank.embeddings[::-1].copy()}, metadata(bank))
    with pytest.raises(InputError, match="its checksum is not that of its data"):
        LabelBank.load(tmp_path / "c.bank")


def test_a_bank_of_before_checksums_says_how_to_make_a_new_one(bank: LabelBank, tmp_path: Path) -> None:
    facts = metadata(bank) | {"format": "nexus-edge label bank 1"}
    del facts["sha256"]
    write_tensors(tmp_path / "old.bank", {"embeddings": bank.embeddings}, facts)
    with pytest.raises(InputError, match=r"old\.bank: .* without a checksum; make it again with nexus-edge bank"):
        LabelBank.load(tmp_path / "old.bank")


@pytest.mark.parametrize("missing", ["labels", "templates", "text_tower", "model", "sha256"])
def test_a_missing_entry_is_named(missing: str, bank: LabelBank, tmp_path: Path) -> None:
    facts = {name: text for name, text in metadata(bank).items() if name != missing}
    write_tensors(tmp_path / "less.bank", {"embeddings": bank.embeddings}, facts)
    with pytest.raises(InputError, match=f"'{missing}' is missing"):
        LabelBank.load(tmp_path / "less.bank")


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (np.full((3, 4), np.nan, np.float32), "3 of 3 label embeddings are not finite or not of length 1"),
        (np.full((3, 4), np.inf, np.float32), "not finite"),
        (np.full((3, 4), 3e38, np.float32), "not of length 1"),
        (np.zeros((3, 4), np.float32), "not of length 1"),
        (np.full((3, 4), 0.5, np.float64), "holds no float32"),
        (np.full(3, 1, np.float32), "holds no float32"),
    ],
)
def test_embeddings_that_no_tower_computes(
    embeddings: np.ndarray, message: str, bank: LabelBank, tmp_path: Path
) -> None:
    write_tensors(tmp_path / "bad.bank", {"embeddings": embeddings}, metadata(bank, embeddings))
    with pytest.raises(InputError, match=message):
        LabelBank.load(tmp_path / "bad.bank")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.astype(np.float64), "must be float32, not float64"),
        (lambda rows: rows.astype(">f4"), "must be float32, not >f4"),
        (lambda rows: rows.tolist(), "must be float32, not list"),
        (lambda rows: rows[:-1], "rows are needed, one each"),
        (lambda rows: rows[0], "rows are needed, one each"),
        (lambda rows: rows * 2, "not of length 1"),
    ],
)
def test_what_load_would_refuse_is_not_saved(
    change: Callable[[np.ndarray], np.ndarray], message: str, bank: LabelBank, path: Path
) -> None:
    before = path.read_bytes()
    with pytest.raises(InputError, match=message):
        dataclasses.replace(bank, embeddings=change(bank.embeddings)).save(path)
    assert path.read_bytes() == before


def test_every_truncation_is_found(path: Path, tmp_path: Path) -> None:
    content = path.read_bytes()
    cut = tmp_path / "cut.bank"
    for length in (0, 7, 8, 100, len(content) - 1):
        cut.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"cut\.bank"):
            LabelBank.load(cut)
    with pytest.raises(InputError, match="cannot be read"):
        LabelBank.load(tmp_path / "absent.bank")


def test_a_folder_that_cannot_be_written(bank: LabelBank, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        bank.save(tmp_path / "file" / "labels.bank")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_nothing_of_others_is_replaced(bank: LabelBank, path: Path, tmp_path: Path) -> None:
    bank.save(path)  # a bank of ours
    (tmp_path / "empty").touch()
    bank.save(tmp_path / "empty")
    thesis = tmp_path / "thesis"
    thesis.write_text('The mark is "format":"nexus-edge label bank 2".')
    with pytest.raises(OutputError, match=r"thesis: is there already and not a label bank .* pass overwrite=True"):
        bank.save(thesis)
    assert thesis.read_text().startswith("The mark is")
    bank.save(thesis, overwrite=True)
    assert LabelBank.load(thesis).labels == LABELS
    with pytest.raises(InputError, match="overwrite must be true or false"):
        bank.save(thesis, overwrite=1)  # type: ignore[arg-type]
