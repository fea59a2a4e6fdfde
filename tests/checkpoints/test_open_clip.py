"""open_clip's folders: safetensors or pickled weights, where the BERT's numbers come from, and what is refused."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import golden_biomedclip
import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from nexus_edge.checkpoints import FolderCheckpoint, require_model_type
from nexus_edge.checkpoints.formats.open_clip import open_weights
from nexus_edge.errors import CheckpointError, MissingExtraError
from nexus_edge.models import from_checkpoint
from nexus_edge.models.biomedclip.processing import BiomedClipProcessor

CONFIG, PICKLED = "open_clip_config.json", "open_clip_pytorch_model.bin"
POSITIONS = "text.transformer.embeddings.position_ids"
PUBMEDBERT = "microsoft/BiomedNLP-PubMedBERT-base-uncased-abstract"
Config = dict[str, Any]
Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def tensors() -> Tensors:
    return safetensors.torch.load_file(golden_biomedclip.FOLDER / "model.safetensors")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """The golden checkpoint, to be damaged: config, text_config/, tokenizer/, model.safetensors."""
    folder = tmp_path / "clip"
    folder.mkdir()
    for name in (CONFIG, "model.safetensors"):
        shutil.copy(golden_biomedclip.FOLDER / name, folder)
    for name in ("text_config", "tokenizer"):
        shutil.copytree(golden_biomedclip.FOLDER / name, folder / name)
    return folder


@pytest.fixture
def pickled(clip: Path) -> Callable[[object], Path]:
    """Content -> the folder with this as its pickled weights, and no others."""

    def write(content: object) -> Path:
        (clip / "model.safetensors").unlink(missing_ok=True)
        torch.save(content, clip / PICKLED)
        return clip

    return write


def edit(folder: Path, change: Callable[[Config], object]) -> None:
    config = json.loads((folder / CONFIG).read_text())
    change(config)
    (folder / CONFIG).write_text(json.dumps(config))


def assert_weights(folder: Path, tensors: Tensors) -> None:
    state = from_checkpoint(folder).state_dict()
    assert set(state) == set(tensors)
    assert all(torch.equal(value, tensors[key]) for key, value in state.items())


@pytest.mark.parametrize("name", ["model.safetensors", "open_clip_model.safetensors"])
def test_safetensors(name: str, clip: Path, tensors: Tensors) -> None:
    (clip / "model.safetensors").rename(clip / name)
    (clip / PICKLED).write_bytes(b"never opened where there are safetensors")
    assert_weights(clip, tensors)


def test_pickled_weights_as_the_published_file_has_them(pickled: Callable[[object], Path], tensors: Tensors) -> None:
    """With the buffer of position indices that BERT had in 2023."""
    assert_weights(pickled({**tensors, POSITIONS: torch.arange(512)[None]}), tensors)


def test_the_buffer_may_stand_in_safetensors_too(clip: Path, tensors: Tensors) -> None:
    safetensors.torch.save_file({**tensors, POSITIONS: torch.arange(512)[None]}, clip / "model.safetensors")
    assert_weights(clip, tensors)


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
def test_types_of_pickled_weights(stored: torch.dtype, pickled: Callable[[object], Path], tensors: Tensors) -> None:
    folder = pickled({key: tensor.to(stored) for key, tensor in tensors.items()})
    assert_weights(folder, {key: tensor.to(stored).float() for key, tensor in tensors.items()})


def test_rows_and_release(pickled: Callable[[object], Path], tensors: Tensors) -> None:
    key = "visual.trunk.blocks.1.attn.qkv.weight"
    checkpoint = FolderCheckpoint(pickled(tensors))
    assert np.array_equal(checkpoint.rows(key, 3, 9), tensors[key][3:9].numpy())
    checkpoint.release(key)
    assert np.array_equal(checkpoint.read(key), tensors[key].numpy())
    with pytest.raises(CheckpointError, match="has no tensor 'nope'"):
        checkpoint.read("nope")


def test_what_does_not_fit_is_named(pickled: Callable[[object], Path], tensors: Tensors) -> None:
    damaged = {
        **tensors,
        "visual.head.proj.weight": torch.ones(48, 65),
        "logit_bias": torch.ones(()),  # SigLIP's, which would change every score
        "text.transformer.pooler.dense.weight": torch.ones(64, 64),
        "text.transformer.embeddings.word_embeddings.weight": torch.ones(1000, 64, dtype=torch.int8),
    }
    del damaged["text.proj.2.weight"], damaged["logit_scale"]
    folder = pickled(damaged)
    with pytest.raises(CheckpointError) as caught:
        from_checkpoint(folder)
    assert str(caught.value) == (
        f"{folder} does not fit the model: 2 missing: logit_scale, text.proj.2.weight; "
        "2 unexpected: logit_bias, text.transformer.pooler.dense.weight; "
        "1 of the wrong shape: visual.head.proj.weight [48, 65] instead of [48, 64]; "
        "1 not floating point (quantized checkpoint?): text.transformer.embeddings.word_embeddings.weight (int8)"
    )


def test_a_damaged_pickled_file_is_named(pickled: Callable[[object], Path], tensors: Tensors) -> None:
    folder = pickled(tensors)
    whole = (folder / PICKLED).read_bytes()
    (folder / PICKLED).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=rf"{PICKLED}: is not a readable PyTorch file") as caught:
        FolderCheckpoint(folder)
    assert caught.value.exit_code == 4


def test_without_torch_the_extra_is_named(
    pickled: Callable[[object], Path], tensors: Tensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pickled(tensors)
    monkeypatch.setitem(sys.modules, "nexus_edge.checkpoints.torch_file", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'nexus-edge\[export\]'"):
        FolderCheckpoint(folder)


def test_no_weights(clip: Path) -> None:
    (clip / "model.safetensors").rename(clip / "epoch_7.pt")
    with pytest.raises(CheckpointError, match=r"has no weights; expected .*model\.safetensors or .*\.bin"):
        FolderCheckpoint(clip)


def test_pickled_weights_of_other_folders_stay_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"w": torch.ones(1)}, folder / PICKLED)
    with pytest.raises(CheckpointError, match="pickled weights only, which can run code"):
        FolderCheckpoint(folder)


def test_the_config_says_what_it_is(clip: Path) -> None:
    checkpoint = FolderCheckpoint(clip)
    config = json.loads((clip / CONFIG).read_text())
    bert = json.loads((clip / "text_config" / "config.json").read_text())
    assert checkpoint.config == {**config, "model_type": "biomedclip", "text_config": bert}
    assert checkpoint.kind == "real"
    edit(clip, lambda config: config.update(_nexus_edge_weights="trained-tiny"))
    assert FolderCheckpoint(clip).kind == "trained-tiny"
    edit(clip, lambda config: config.update(_nexus_edge_weights="genuine"))
    with pytest.raises(CheckpointError, match="'genuine', expected one of real, trained-tiny, synthetic"):
        FolderCheckpoint(clip)


def test_another_family_is_refused_in_words_that_fit_the_folder(clip: Path, folder: Path) -> None:
    require_model_type(FolderCheckpoint(clip), "biomedclip")
    with pytest.raises(CheckpointError, match="holds a model of model_type 'biomedclip', expected 'phi3_v'"):
        require_model_type(FolderCheckpoint(clip), "phi3_v")
    with pytest.raises(CheckpointError, match="holds a model of model_type 'phi3_v', expected 'biomedclip'"):
        require_model_type(FolderCheckpoint(folder), "biomedclip")


def without_text_config(folder: Path, hf_model_name: object) -> None:
    shutil.rmtree(folder / "text_config")
    edit(folder, lambda config: config["model_cfg"]["text_cfg"].update(hf_model_name=hf_model_name))


@pytest.mark.parametrize("place", [CONFIG, "config.json"])
def test_the_berts_numbers_may_stand_beside(place: str, clip: Path, tensors: Tensors) -> None:
    bert = json.loads((clip / "text_config" / "config.json").read_text())
    without_text_config(clip, PUBMEDBERT)  # the numbers win over the name
    content = json.loads((clip / place).read_text()) if (clip / place).is_file() else {}
    (clip / place).write_text(json.dumps(content | {"text_config": bert}))
    assert_weights(clip, tensors)


@pytest.mark.parametrize(
    "name",
    [
        PUBMEDBERT,
        "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
        "microsoft/BiomedNLP-PubMedBERT-base-uncased-abstract-fulltext",
        "BiomedNLP-BiomedBERT-base-uncased-abstract-fulltext",
        "google-bert/bert-base-uncased",
    ],
)
def test_the_berts_numbers_follow_from_a_known_name(name: str, clip: Path) -> None:
    without_text_config(clip, name)
    config = FolderCheckpoint(clip).config["text_config"]
    assert (config["hidden_size"], config["num_hidden_layers"], config["vocab_size"]) == (768, 12, 30522)


@pytest.mark.parametrize(
    "name", ["bert-large-uncased", "microsoft/BiomedNLP-BiomedBERT-large-uncased-abstract", "../clip/text", "/etc"]
)
def test_an_unknown_bert_is_named(name: str, clip: Path) -> None:
    without_text_config(clip, name)
    with pytest.raises(CheckpointError) as caught:
        FolderCheckpoint(clip)
    assert f"{CONFIG}: the numbers of {name!r} are not known; put its config.json under" in str(caught.value)


@pytest.mark.parametrize("name", ["roberta-base", "distilbert-base-uncased", "xlm-roberta-large", "google/mt5-base"])
def test_another_architecture_is_no_bert_whatever_text_config_says(name: str, clip: Path) -> None:
    """open_clip asks this name, and nothing else, for the class of the text tower (hf_model.py, HFTextEncoder)."""
    edit(clip, lambda config: config["model_cfg"]["text_cfg"].update(hf_model_name=name))
    with pytest.raises(CheckpointError, match=f"hf_model_name is '{name}', which is no BERT"):
        FolderCheckpoint(clip)


@pytest.mark.parametrize("name", ["../outside", "/outside", "text_config/../../outside"])
def test_a_config_outside_the_folder_is_not_read(name: str, clip: Path) -> None:
    shutil.copytree(clip / "text_config", clip.parent / "outside")
    edit(clip, lambda config: config["model_cfg"]["text_cfg"].update(hf_model_name=name))
    with pytest.raises(CheckpointError, match="are not known"):
        FolderCheckpoint(clip)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["model_cfg"]["text_cfg"].pop("hf_model_name"), "model_cfg.text_cfg names no hf_model_name"),
        (lambda c: c["model_cfg"]["text_cfg"].update(hf_model_name=3), "model_cfg.text_cfg names no hf_model_name"),
        (lambda c: c["model_cfg"].update(text_cfg=None), "model_cfg.text_cfg names no hf_model_name"),
        (lambda c: c.pop("model_cfg"), "model_cfg.text_cfg names no hf_model_name"),
        (lambda c: c["model_cfg"]["vision_cfg"].update(timm_model_name="convnext_base", _golden_timm_kwargs=None),
         "timm_model_name is 'convnext_base', known are vit_"),
    ],
)  # fmt: skip
def test_another_kind_of_open_clip_model_is_refused(
    change: Callable[[Config], object], message: str, clip: Path
) -> None:
    edit(clip, change)
    with pytest.raises(CheckpointError) as caught:
        from_checkpoint(clip)
    assert f"{CONFIG}: {message}" in str(caught.value)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"null"])
def test_an_unusable_config_is_named(content: bytes, clip: Path) -> None:
    (clip / CONFIG).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{CONFIG}: is "):
        FolderCheckpoint(clip)


def processor_of(checkpoint: FolderCheckpoint, folder: Path) -> BiomedClipProcessor:
    """What a bundle reads from the files that it gets."""
    folder.mkdir()
    for name, content in checkpoint.processor_files().items():
        (folder / name).write_bytes(content)
    return BiomedClipProcessor.from_folder(folder)


def test_a_bundles_processor_is_the_checkpoints(clip: Path, tmp_path: Path) -> None:
    checkpoint = FolderCheckpoint(clip)
    assert set(checkpoint.processor_files()) == {"config.json", "tokenizer.json"}
    own, original = processor_of(checkpoint, tmp_path / "processor"), BiomedClipProcessor.from_folder(clip)
    texts = golden_biomedclip.cases()["texts"]
    assert np.array_equal(own.texts(texts), golden_biomedclip.text_ids().numpy())
    assert (own.image_size, own.mean, own.std) == (original.image_size, original.mean, original.std)
    assert json.loads(checkpoint.processor_files()["config.json"])["model_type"] == "biomedclip"


def test_a_vocabulary_stands_in_for_tokenizer_json(clip: Path, tmp_path: Path) -> None:
    tokenizer = json.loads((clip / "tokenizer" / "tokenizer.json").read_text())
    vocabulary = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get)
    shutil.rmtree(clip / "tokenizer")
    (clip / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    checkpoint = FolderCheckpoint(clip)
    assert set(checkpoint.processor_files()) == {"config.json", "vocab.txt"}
    ids = processor_of(checkpoint, tmp_path / "processor").texts(golden_biomedclip.cases()["texts"])
    assert np.array_equal(ids, golden_biomedclip.text_ids().numpy())


def test_a_missing_tokenizer_is_named(clip: Path) -> None:
    shutil.rmtree(clip / "tokenizer")
    with pytest.raises(CheckpointError, match=r"has neither tokenizer\.json nor vocab\.txt; copy one from 'tokenizer'"):
        FolderCheckpoint(clip).processor_files()


def test_open_clips_own_file_wins_over_that_of_transformers(clip: Path) -> None:
    """Repositories of open_clip hold both, with the keys of either library; open_clip reads its own."""
    (clip / "model.safetensors").rename(clip / "open_clip_model.safetensors")
    safetensors.torch.save_file({"of.transformers": torch.zeros(1)}, clip / "model.safetensors")
    assert "of.transformers" not in open_weights(clip)
