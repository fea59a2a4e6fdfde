"""Whose checkpoint it is, and the hashes that tell it from every other."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nexus_edge._typed import read
from nexus_edge.bundle import Content, Manifest, Source
from nexus_edge.bundle.identity import identity
from nexus_edge.checkpoints import FolderCheckpoint, load_tensors, open_checkpoint, tiny_folder, write_tensors
from nexus_edge.checkpoints.fingerprint import WHOLE, fingerprint
from nexus_edge.checkpoints.origin import source_of
from nexus_edge.errors import BundleError

PUBLISHED = "microsoft/Phi-3-vision-128k-instruct"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the embedded checkpoint that says to be somebody's own."""
    place = tmp_path / "mine"
    shutil.copytree(tiny_folder(), place, ignore=shutil.ignore_patterns("heldout", "README.md"))
    _edit_config(place, lambda config: config.pop("_nexus_edge_weights"))
    return place


def _edit_config(folder: Path, edit: Callable[[dict[str, object]], object]) -> None:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    edit(config)
    (folder / "config.json").write_text(json.dumps(config, indent=4), "utf-8")


def _rewrite(path: Path, tensors: dict[str, Any]) -> None:
    path.unlink()
    write_tensors(path, tensors)


def test_a_folder_is_named_by_its_absolute_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle is opened from anywhere: a relative path would be looked up in the wrong place."""
    monkeypatch.chdir(folder.parent)
    source = source_of(FolderCheckpoint(Path("mine")))
    assert source.checkpoint == str(folder.resolve()) and Path(source.checkpoint).is_absolute()


def test_whose_it_is(folder: Path) -> None:
    own = source_of(FolderCheckpoint(folder))
    assert (own.published, own.base_model, own.label) == (False, None, "own")
    assert own.in_words.startswith("your own checkpoint, not the published one: ")
    published = source_of(FolderCheckpoint(folder, name=PUBLISHED, revision="abc"))
    assert (published.published, published.label) == (True, "published")
    assert published.in_words == f"the published checkpoint {PUBLISHED} at abc"
    tiny = source_of(open_checkpoint("tiny", PUBLISHED))
    assert (tiny.published, tiny.label) == (None, "trained-tiny")
    assert replace(own, published=None).label == "real", "an older bundle does not say"


@pytest.mark.parametrize(
    "card",
    [
        "---\nbase_model: owner/base\n---\n",
        "---\nlicense: mit\nbase_model:\n- owner/base\ntags: [x]\n---\n",
        "---\nbase_model: ['owner/base', 'a/b']\n---\n",
    ],
)
def test_a_fine_tune_says_of_what(folder: Path, card: str) -> None:
    (folder / "README.md").write_text(card, "utf-8")
    source = source_of(FolderCheckpoint(folder))
    assert source.base_model == "owner/base"
    assert source.label == "fine-tune of owner/base"
    assert "says it is a fine-tune of owner/base" in source.in_words


def test_what_transformers_noted_counts_where_the_card_is_silent(folder: Path) -> None:
    _edit_config(folder, lambda config: config.update(_name_or_path="owner/base"))
    assert source_of(FolderCheckpoint(folder)).base_model == "owner/base"
    _edit_config(folder, lambda config: config.update(_name_or_path="/home/somebody/run-7"))
    assert source_of(FolderCheckpoint(folder)).base_model is None, "a path names no model"


def test_what_changes_which_hash(folder: Path) -> None:
    """Format and place change none; a key, a shape, a number change theirs."""
    before = fingerprint(FolderCheckpoint(folder))
    other = folder.parent / "other"
    shutil.copytree(folder, other)
    _edit_config(other, lambda config: None)
    assert fingerprint(FolderCheckpoint(other)) == before
    _edit_config(other, lambda config: config.update(rope_theta=1e6))
    assert before.differences(fingerprint(FolderCheckpoint(other))) == ["configuration or tokenizer"]
    shutil.copyfile(folder / "config.json", other / "config.json")
    tensors = load_tensors(folder / "model.safetensors")
    name = max(tensors, key=lambda name: tensors[name].size)
    assert tensors[name].nbytes > WHOLE, "of this one only rows are hashed"
    scaled = tensors | {name: (tensors[name].astype(np.float32) * 1.01).astype(tensors[name].dtype)}
    assert (scaled[name] != tensors[name]).mean() > 0.5
    _rewrite(other / "model.safetensors", scaled)
    assert before.differences(fingerprint(FolderCheckpoint(other))) == ["weights"]
    small = min(tensors, key=lambda name: tensors[name].size)
    one = tensors[small].copy()
    one.reshape(-1)[-1] += 1
    _rewrite(other / "model.safetensors", tensors | {small: one})
    assert before.differences(fingerprint(FolderCheckpoint(other))) == ["weights"], "one number of a small tensor"
    _rewrite(other / "model.safetensors", tensors | {small: tensors[small].astype(np.float64)})
    assert "names, types or shapes of tensors" in before.differences(fingerprint(FolderCheckpoint(other)))


def test_an_older_manifest_has_no_hashes_and_keeps_its_identity() -> None:
    old = {"checkpoint": "a/b", "revision": "c", "weights": "real", "license": "mit"}
    source = read(old, Source, "source", BundleError)
    assert (source.content, source.published, source.base_model) == (None, None, None)
    manifest = Manifest("biomedclip", "mine", "1", source, {}, ("coreml",), {}, 64, {})
    # SHA-256 of the JSON that the version before these fields hashed.
    assert identity(manifest, "coreml") == "0f42e1d5c1d84e4ba980c6b8033a77fcbd663cadebd22ef54d76221620806ee2"
    content = Content("0" * 64, "1" * 64, "2" * 64)
    new = replace(source, published=False, base_model="x/y", content=content)
    assert read(json.loads(json.dumps(asdict(new))), Source, "source", BundleError) == new
    with pytest.raises(BundleError, match="source: content: values"):
        read(old | {"content": asdict(replace(content, values="no"))}, Source, "source", BundleError)
    with pytest.raises(BundleError, match="published"):
        read(old | {"published": "yes"}, Source, "source", BundleError)
