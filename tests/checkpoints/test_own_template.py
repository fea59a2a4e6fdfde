"""A checkpoint's chat template travels with its processor, or stays behind where the user says so."""

import json
import shutil
from pathlib import Path

import pytest

from nexus_edge.checkpoints import open_checkpoint, tiny_folder
from nexus_edge.errors import CheckpointError
from nexus_edge.models.phi3_v.clients.ort_genai import with_template
from nexus_edge.models.phi3_v.prompt import CHAT_TEMPLATE
from nexus_edge.processing import from_checkpoint
from nexus_edge.recipe import find_recipe

OWN = "{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}"
FILES = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")


@pytest.fixture(params=FILES)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The embedded Phi-3-Vision with a template of its own in one of the files that may hold it."""
    path = tmp_path / "checkpoint"
    shutil.copytree(tiny_folder("phi3_v"), path, ignore=shutil.ignore_patterns("heldout"))
    file = path / request.param
    config = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    text = OWN if file.suffix == ".jinja" else json.dumps({**config, "chat_template": OWN})
    file.write_text(text, "utf-8")
    return path


def prompt_of(folder: Path, *ignored: str) -> str:
    """Of the processor folder that a bundle would have."""
    recipe = find_recipe("phi3-vision", "int4")
    files = open_checkpoint(str(folder), recipe.checkpoint, ignored).processor_files()
    (folder.parent / "processor").mkdir()
    for name, content in files.items():
        (folder.parent / "processor" / name).write_bytes(content)
    return str(from_checkpoint(folder.parent / "processor").apply_chat_template([{"role": "user", "content": "Hi"}]))


def test_it_is_the_bundles(folder: Path) -> None:
    assert prompt_of(folder) == "[user] Hi "


def test_the_familys_is_taken_where_it_is_ignored(folder: Path) -> None:
    """What tokenizer_config.json holds is left out as well; the family's own is Phi-3-vision's."""
    assert prompt_of(folder, "chat_template") == "<|user|>\nHi<|end|>\n<|assistant|>\n"
    assert not (folder.parent / "processor" / "chat_template.jinja").exists()


def test_other_keys_that_are_read_cannot_be_ignored(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="num_crops is used"):
        open_checkpoint(str(folder), find_recipe("phi3-vision", "int4").checkpoint, ("num_crops",))


def test_clients_that_read_one_file_find_it_there(folder: Path) -> None:
    files = open_checkpoint(str(folder), find_recipe("phi3-vision", "int4").checkpoint).processor_files()
    assert json.loads(with_template(files))["chat_template"] == OWN
    plain = {"tokenizer_config.json": json.dumps({"chat_template": CHAT_TEMPLATE}).encode()}
    assert with_template(plain) == plain["tokenizer_config.json"]
