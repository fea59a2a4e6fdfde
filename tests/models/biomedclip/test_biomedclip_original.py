"""The model beside open_clip itself, with the same random weights, through a checkpoint folder."""

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nexus_edge.checkpoints import FolderCheckpoint
from nexus_edge.models import from_checkpoint
from nexus_edge.models.biomedclip.model import BiomedClip
from nexus_edge.models.loading import build_model

pytestmark = pytest.mark.slow

# Of unit vectors, absolute. The same operations in the same order give the same bits on one machine; other kernels may
# sum in another order, a rounding of 6e-8 each, of which a few tens add up over twelve layers.
# An epsilon ten times too large in half of a small ViT's norms is 6e-5, anything else wrong is more.
NOISE = 2e-6
PUBLISHED = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"


@dataclass(frozen=True)
class Shape:
    """The numbers of a small model, in the words of timm and Hugging Face."""

    vision: Mapping[str, Any]
    text: Mapping[str, Any]
    image_size: int = 32
    embed_dim: int = 16
    context_length: int = 12


SMALL = Shape(
    vision={"patch_size": 16, "embed_dim": 32, "depth": 2, "num_heads": 4},
    text={"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
          "vocab_size": 50, "max_position_embeddings": 20},
)  # fmt: skip
SHAPES = {
    "small": SMALL,
    "towers of different width and depth": replace(
        SMALL,
        vision={"patch_size": 16, "embed_dim": 24, "depth": 4, "num_heads": 3},
        text={**SMALL.text, "hidden_size": 40, "num_hidden_layers": 1, "num_attention_heads": 5},
    ),
    "one head, one layer": replace(
        SMALL,
        vision={"patch_size": 16, "embed_dim": 16, "depth": 1, "num_heads": 1},
        text={**SMALL.text, "num_hidden_layers": 1, "num_attention_heads": 1},
    ),
    "small patches, narrow MLP": replace(
        SMALL, vision={**SMALL.vision, "patch_size": 7, "mlp_ratio": 2.5}, image_size=42, embed_dim=33
    ),
    "all positions are context": replace(SMALL, context_length=20, text={**SMALL.text, "type_vocab_size": 1}),
    "another epsilon": replace(SMALL, text={**SMALL.text, "layer_norm_eps": 1e-3}),
}


@pytest.fixture
def original(
    open_clip: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Shape], tuple[nn.Module, Path]]:
    """Shape -> open_clip's model, and a checkpoint folder of its weights."""
    import timm
    import transformers

    def make(shape: Shape) -> tuple[nn.Module, Path]:
        folder = tmp_path / "checkpoint"
        transformers.BertConfig(**shape.text).save_pretrained(folder / "bert")
        vision = {"timm_model_name": "vit_base_patch16_224", "timm_pool": "", "image_size": shape.image_size}
        text = {
            "hf_model_name": "bert",
            "hf_proj_type": "mlp",
            "hf_pooler_type": "cls_last_hidden_state_pooler",
            "context_length": shape.context_length,
        }
        numbers = functools.partial(timm.create_model, img_size=shape.image_size, **shape.vision)
        with monkeypatch.context() as patch:
            patch.setattr(timm, "create_model", numbers)  # open_clip itself knows timm's models by name only
            local = {**text, "hf_model_name": str(folder / "bert"), "hf_model_pretrained": False}
            model = open_clip.CustomTextCLIP(shape.embed_dim, vision, local).eval()
        randomize(model)
        config = {"embed_dim": shape.embed_dim, "vision_cfg": {**vision, "timm_kwargs": shape.vision}, "text_cfg": text}
        config["vision_cfg"]["timm_proj"] = "linear"
        (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
        torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
        return model, folder

    return make


def randomize(model: nn.Module) -> None:
    """Values large enough that every parameter matters; a fresh model's biases and class token do not."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name == "logit_scale":
                parameter.fill_(1.5)
                continue
            norm = "norm" in name.rsplit(".", 2)[-2].lower() and name.endswith("weight")
            spread = 0.3 if parameter.ndim < 2 else 1.5 / parameter[0].numel() ** 0.5
            parameter.normal_(float(norm), spread, generator=generator)


def texts(vocab_size: int, lengths: list[int], tokens: int) -> Tensor:
    """int64 [texts, tokens]: ids above 0, then padding."""
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(1, vocab_size, (len(lengths), tokens), generator=generator)
    for row, length in zip(ids, lengths, strict=True):
        row[length:] = 0
    return ids


def images(count: int, size: int) -> Tensor:
    """[count, 3, size, size]"""
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("name", SHAPES)
def test_small_models_agree(name: str, original: Callable[[Shape], tuple[nn.Module, Path]]) -> None:
    shape = SHAPES[name]
    theirs, folder = original(shape)
    ours = from_checkpoint(folder)
    assert isinstance(ours, BiomedClip)
    assert set(ours.state_dict()) == set(theirs.state_dict())
    pixels = images(3, shape.image_size)
    ids = texts(shape.text["vocab_size"], [shape.context_length, 7, 2, 1], shape.context_length)
    with torch.inference_mode():
        assert_close(ours.encode_image(pixels), theirs.encode_image(pixels, normalize=True))
        assert_close(ours.encode_text(ids), theirs.encode_text(ids, normalize=True))
        logits, _ = theirs.get_logits(pixels, ids)
        # exp(logit_scale) times the cosines
        assert_close(ours(pixels, ids), logits, NOISE * float(theirs.logit_scale.exp()))


def test_padding_that_no_text_needs_can_be_left_out(original: Callable[[Shape], tuple[nn.Module, Path]]) -> None:
    theirs, folder = original(SMALL)
    ids = texts(50, [9, 4], 12)
    with torch.inference_mode():
        whole = theirs.encode_text(ids, normalize=True)
        assert_close(from_checkpoint(folder).encode_text(ids[:, :9]), whole)


def test_more_tokens_than_the_context_up_to_berts_positions(
    original: Callable[[Shape], tuple[nn.Module, Path]],
) -> None:
    theirs, folder = original(SMALL)
    ids = texts(50, [20, 13], 20)
    with torch.inference_mode():
        assert_close(from_checkpoint(folder).encode_text(ids), theirs.encode_text(ids, normalize=True))


def test_the_published_size(open_clip: ModuleType, tmp_path: Path) -> None:
    """ViT-B/16 and BERT-base, both towers, from the published configuration: 195,902,721 parameters."""
    import transformers

    transformers.BertConfig().save_pretrained(tmp_path / "bert")  # the defaults are BERT-base's
    vision = {"timm_model_name": "vit_base_patch16_224", "timm_model_pretrained": False, "timm_pool": "",
              "timm_proj": "linear", "image_size": 224}  # fmt: skip
    text = {"hf_model_name": PUBLISHED, "hf_tokenizer_name": PUBLISHED, "hf_proj_type": "mlp",
            "hf_pooler_type": "cls_last_hidden_state_pooler", "context_length": 256}  # fmt: skip
    local = {**text, "hf_model_name": str(tmp_path / "bert"), "hf_model_pretrained": False}
    theirs = open_clip.CustomTextCLIP(512, vision, local).eval()
    randomize(theirs)
    assert sum(parameter.numel() for parameter in theirs.parameters()) == 195_902_721

    config = {"model_cfg": {"embed_dim": 512, "vision_cfg": vision, "text_cfg": text}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    torch.save({"logit_scale": theirs.logit_scale}, tmp_path / "open_clip_pytorch_model.bin")
    with torch.device("meta"):
        ours = build_model(FolderCheckpoint(tmp_path))
    assert isinstance(ours, BiomedClip)
    ours.load_state_dict(theirs.state_dict(), assign=True)  # the same memory, and every key
    assert sum(parameter.numel() for parameter in ours.parameters()) == 195_902_721

    pixels, ids = images(2, 224), texts(30_522, [256, 12], 256)
    with torch.inference_mode():
        assert_close(ours.encode_image(pixels), theirs.encode_image(pixels, normalize=True))
        assert_close(ours.encode_text(ids), theirs.encode_text(ids, normalize=True))


def assert_close(actual: Tensor, expected: Tensor, noise: float = NOISE) -> None:
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() <= noise
