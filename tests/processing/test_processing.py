"""Finding the processor of a folder, and what importing it costs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nexus_edge import processing
from nexus_edge.errors import CheckpointError
from nexus_edge.models.biomedclip.processing import BiomedClipProcessor
from nexus_edge.models.phi3_v.processing import Phi3VProcessor


def test_a_checkpoint_folder_and_a_bundle_give_the_same_processor(checkpoint: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(checkpoint, bundle / "processor")
    (bundle / "manifest.json").write_text("{}")
    one, other = processing.from_checkpoint(checkpoint), processing.from_checkpoint(str(bundle))
    assert isinstance(one, Phi3VProcessor) and isinstance(other, Phi3VProcessor)
    assert one("the cat")["input_ids"].tolist() == other("the cat")["input_ids"].tolist()
    assert str(one.apply_chat_template([{"role": "user", "content": "Hi"}])) == "<|user|>\nHi<|end|>\n<|assistant|>\n"
    assert one.decode(one.encode("the cat")) == "the cat"


@pytest.mark.parametrize("model_type", ["phi3_vv", "gpt2", None, ["phi3_v"]])
def test_another_model_type_is_refused_with_what_there_is(checkpoint: Path, model_type: object) -> None:
    (checkpoint / "config.json").write_text(json.dumps({"model_type": model_type}))
    with pytest.raises(CheckpointError, match=r"model_type .* nexus-edge does not know.*phi3_v"):
        processing.from_checkpoint(checkpoint)


def test_a_folder_without_config_or_no_folder_is_explained(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        processing.from_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="no such folder"):
        processing.from_checkpoint(tmp_path / "gone")


def test_an_open_clip_folder_and_a_bundle_give_the_same_processor(dual_checkpoint: Path, tmp_path: Path) -> None:
    config = json.loads((dual_checkpoint / "open_clip_config.json").read_text())
    bundle = tmp_path / "bundle"
    (bundle / "processor").mkdir(parents=True)
    (bundle / "manifest.json").write_text("{}")
    (bundle / "processor" / "config.json").write_text(json.dumps({"model_type": "biomedclip"} | config))
    shutil.copy(dual_checkpoint / "vocab.txt", bundle / "processor")
    one, other = processing.dual_from_checkpoint(dual_checkpoint), processing.dual_from_checkpoint(str(bundle))
    assert isinstance(one, BiomedClipProcessor) and isinstance(other, BiomedClipProcessor)
    assert one.texts(["abc"]).tolist() == other.texts(["abc"]).tolist()
    assert one.image_size == other.image_size == 32


def test_open_clips_config_goes_before_another_one(dual_checkpoint: Path) -> None:
    (dual_checkpoint / "config.json").write_text("{}")  # the golden checkpoint has such a copy, without a model_type
    assert processing.family_in(dual_checkpoint).model_type == "biomedclip"
    assert processing.dual_from_checkpoint(dual_checkpoint).context_length == 8


def test_a_model_of_the_other_kind_is_refused(checkpoint: Path, dual_checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model_type 'biomedclip' has no processor.*phi3_v"):
        processing.from_checkpoint(dual_checkpoint)
    with pytest.raises(CheckpointError, match=r"model_type 'phi3_v' has no processor.*biomedclip"):
        processing.dual_from_checkpoint(checkpoint)


def test_every_family_meets_its_protocol(checkpoint: Path, dual_checkpoint: Path) -> None:
    for protocol, folder in ((processing.Processor, checkpoint), (processing.DualProcessor, dual_checkpoint)):
        names = [name for name in vars(protocol) if not name.startswith("_")]
        assert all(hasattr(processing.open_any(folder), name) for name in names)


def test_importing_it_imports_no_training_library() -> None:
    code = "import sys, nexus_edge.processing; print({'torch', 'onnx', 'safetensors', 'pydicom'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
