"""What `--checkpoint` may name."""

from collections.abc import Sequence
from pathlib import Path

import pytest

import nexus_edge.checkpoints as checkpoints
from nexus_edge.checkpoints import FolderCheckpoint, open_checkpoint
from nexus_edge.checkpoints.hub import open_cached
from nexus_edge.errors import CheckpointError

DEFAULT = "microsoft/Phi-3-vision-128k-instruct"
BIOMEDCLIP = "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Hub ids that would be downloaded."""
    ids: list[str] = []

    def record(spec: str, ignored: Sequence[str] = ()) -> FolderCheckpoint:
        ids.append(spec)
        raise CheckpointError("no network in this test")

    monkeypatch.setattr(checkpoints, "open_hub", record)
    return ids


@pytest.mark.parametrize(
    ("spec", "hub_id"),
    [(None, DEFAULT), ("me/my-finetune", "me/my-finetune"), ("me/my.finetune@v1.0", "me/my.finetune@v1.0")],
)
def test_hub_ids_and_the_default_go_to_the_hub(spec: str | None, hub_id: str, asked: list[str]) -> None:
    with pytest.raises(CheckpointError, match="no network"):
        open_checkpoint(spec, DEFAULT)
    assert asked == [hub_id]


def test_a_folder_wins_over_a_hub_id_of_the_same_name(
    folder: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent.parent)
    spec = f"{folder.parent.name}/{folder.name}"
    assert open_checkpoint(spec, DEFAULT).name == spec
    assert asked == []


@pytest.mark.parametrize(
    "spec", ["./absent", "/absent/folder", "a/b/c", "absent", "../x", "x" * 5000, "a\0b", "~nobody/x"]
)
def test_what_is_neither_folder_nor_hub_id_is_refused(spec: str, asked: list[str]) -> None:
    with pytest.raises(CheckpointError, match=r"no such folder|cannot be read"):
        open_checkpoint(spec, DEFAULT)
    assert asked == []


def test_an_empty_name_is_not_the_folder_one_stands_in(
    folder: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(CheckpointError, match="the checkpoint's name is empty"):
        open_checkpoint("", DEFAULT)
    assert asked == []


@pytest.mark.parametrize("spec", ["org/" + "x" * 300, "org/a--b", "org/a..b", "org/a."])
def test_what_the_hub_would_not_take_for_an_id_is_refused(spec: str) -> None:
    with pytest.raises(CheckpointError, match="not a hub id"):
        open_checkpoint(spec, DEFAULT)
    with pytest.raises(CheckpointError, match="not a hub id"):
        open_cached(spec)


def test_a_file_is_not_a_checkpoint(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="is a file; give the folder"):
        open_checkpoint(str(folder / "model.safetensors"), DEFAULT)


def test_synthetic_takes_the_numbers_of_the_model_that_was_asked_for() -> None:
    older, newer = (open_checkpoint("synthetic", hub_id) for hub_id in (DEFAULT, "microsoft/Phi-3.5-vision-instruct"))
    assert older.kind == newer.kind == "synthetic"
    assert (older.config["sliding_window"], newer.config["sliding_window"]) == (131_072, 262_144)
    towers = open_checkpoint("synthetic", BIOMEDCLIP)
    assert (towers.kind, towers.config["model_type"]) == ("synthetic", "biomedclip")


@pytest.mark.parametrize("spec", ["tiny", "synthetic"])
def test_a_model_without_stand_ins_is_named_with_those_that_have_them(spec: str) -> None:
    with pytest.raises(CheckpointError, match=f"no {spec} weights for org/other; known: {BIOMEDCLIP}, {DEFAULT}, "):
        open_checkpoint(spec, "org/other")


@pytest.mark.parametrize(
    ("hub_id", "model_type", "files"),
    [
        (DEFAULT, "phi3_v", {"config.json", "tokenizer.json", "preprocessor_config.json"}),
        (BIOMEDCLIP, "biomedclip", {"config.json", "tokenizer.json"}),
    ],
)
def test_the_embedded_checkpoint_is_of_the_model_that_was_asked_for(
    hub_id: str, model_type: str, files: set[str]
) -> None:
    tiny = open_checkpoint("tiny", hub_id)
    assert (tiny.name, tiny.kind, tiny.config["model_type"]) == ("tiny", "trained-tiny", model_type)
    assert files <= set(tiny.processor_files())
