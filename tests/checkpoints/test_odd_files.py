"""What stands in a file's place and is none: pipes, pages, pointers of other spellings."""

import os
import shutil
from pathlib import Path

import pytest

from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import SafetensorsFile, open_checkpoint, tiny_folder
from nexus_edge.checkpoints.pointers import is_pointer
from nexus_edge.errors import BundleError, CheckpointError

HUB = "microsoft/Phi-3-vision-128k-instruct"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copy = tmp_path / "checkpoint"
    shutil.copytree(tiny_folder(), copy, ignore=shutil.ignore_patterns("heldout"))
    return copy


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_pipe_in_a_files_place_is_refused_and_not_waited_for(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(CheckpointError, match=f"{name}.*a pipe"):
        open_checkpoint(str(folder), HUB).processor_files()


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_link_that_leads_nowhere_is_called_one(folder: Path, name: str) -> None:
    """Copies of the hub's cache have them: the files are links there."""
    (folder / name).unlink()
    (folder / name).symlink_to(folder / "blobs" / "0")
    with pytest.raises(CheckpointError, match=f"{name}: is a link that leads nowhere"):
        open_checkpoint(str(folder), HUB).processor_files()


def test_a_pipe_that_nothing_needs_is_left_alone(folder: Path) -> None:
    os.mkfifo(folder / "notes.json")
    assert open_checkpoint(str(folder), HUB).config["model_type"] == "phi3_v"


def test_a_manifest_that_is_a_pipe_is_no_bundle(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "manifest.json")
    with pytest.raises(BundleError, match="is not a bundle"):
        Bundle.open(tmp_path)


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><html>...", b"Entry not found", b"Invalid username or password."])
def test_a_page_in_the_place_of_weights_is_called_text(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="begins with the text"):
        SafetensorsFile(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    "content",
    [
        b"version https://git-lfs.github.com/spec/v1\r\noid sha256:0\r\nsize 1\r\n",
        b"\xef\xbb\xbfversion https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        b"version https://hawser.github.com/spec/v1\noid sha256:0\nsize 1\n",
    ],
)
def test_pointers_of_other_spellings_are_pointers(tmp_path: Path, content: bytes) -> None:
    """The specification names the older two; editors and mail add the others."""
    (tmp_path / "model.safetensors").write_bytes(content)
    assert is_pointer(tmp_path / "model.safetensors")


@pytest.mark.parametrize("name", ["quantize_config.json", "quant_config.json", "hf_quant_config.json"])
def test_what_other_tools_quantized_is_refused_by_its_file(folder: Path, name: str) -> None:
    (folder / name).write_text('{"bits": 4}', "utf-8")
    with pytest.raises(CheckpointError, match=name):
        open_checkpoint(str(folder), HUB)


def test_an_adapter_beside_a_whole_model_is_not_ignored(folder: Path) -> None:
    """transformers with peft installed adds it, and the answers are those of the adapter."""
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}', "utf-8")
    (folder / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="a whole model and an adapter"):
        open_checkpoint(str(folder), HUB)
