"""The embedded dual encoder: what it is made of, and that it keeps what its page says."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nexus_edge.assets import HeldOutImages, held_out_images, recall_at, zero_shot_accuracy
from nexus_edge.checkpoints import FolderCheckpoint
from nexus_edge.models import from_checkpoint
from nexus_edge.models.biomedclip.model import BiomedClip
from nexus_edge.models.biomedclip.processing import BiomedClipProcessor

pytestmark = pytest.mark.slow

TINY = Path(__file__).parents[2] / "nexus_edge" / "assets" / "tiny_biomedclip"


@pytest.fixture(scope="module")
def held_out() -> HeldOutImages:
    return held_out_images()


class Encoder:
    """Reference model and processor in one."""

    def __init__(self, folder: Path) -> None:
        model = from_checkpoint(folder)
        assert isinstance(model, BiomedClip)
        self.model, self.processor = model, BiomedClipProcessor.from_folder(folder)

    @torch.inference_mode()
    def images(self, files: list[Path]) -> NDArray[np.float32]:
        return self.model.encode_image(torch.from_numpy(self.processor.images(files))).numpy()

    @torch.inference_mode()
    def texts(self, texts: list[str]) -> NDArray[np.float32]:
        return self.model.encode_text(torch.from_numpy(self.processor.texts(texts))).numpy()

    def labels(self, labels: tuple[str, ...], templates: tuple[str, ...]) -> NDArray[np.float32]:
        means = [self.texts([template.format(label) for template in templates]).mean(axis=0) for label in labels]
        return np.stack([mean / np.linalg.norm(mean) for mean in means])


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(TINY)


def stated(name: str) -> float:
    """A figure of the README's table about the wheel's set, as a share."""
    row = next(line for line in (TINY / "README.md").read_text().splitlines() if line.startswith(f"| {name} |"))
    (percent,) = re.findall(r"([\d.]+) %", row.split("|")[2])
    return float(percent) / 100


def test_it_fits_in_eight_megabytes() -> None:
    assert sum(file.stat().st_size for file in TINY.rglob("*") if file.is_file()) <= 8_000_000


def test_the_tensors_are_exactly_open_clips() -> None:
    """Names as in the published checkpoint, without the buffer that newer ones leave out."""
    both = ("weight", "bias")
    vit = [f"{m}.{p}" for m in ("norm1", "norm2", "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2") for p in both]
    bert = [f"attention.self.{m}" for m in ("query", "key", "value")]
    bert += ["attention.output.dense", "attention.output.LayerNorm", "intermediate.dense", "output.dense"]
    bert += ["output.LayerNorm"]
    expected = {"logit_scale", "visual.head.proj.weight", "text.proj.0.weight", "text.proj.2.weight"}
    expected |= {f"visual.trunk.{name}" for name in ("cls_token", "pos_embed")}
    expected |= {f"visual.trunk.{m}.{p}" for m in ("patch_embed.proj", "norm") for p in both}
    expected |= {f"visual.trunk.blocks.{i}.{name}" for i in range(6) for name in vit}
    tables = ("word_embeddings", "position_embeddings", "token_type_embeddings")
    expected |= {f"text.transformer.embeddings.{m}.weight" for m in tables}
    expected |= {f"text.transformer.embeddings.LayerNorm.{p}" for p in both}
    expected |= {f"text.transformer.encoder.layer.{i}.{m}.{p}" for i in range(3) for m in bert for p in both}
    keys = FolderCheckpoint(TINY).keys()
    assert set(keys) == expected
    assert {info.dtype for info in keys.values()} == {"float16"}


def test_it_says_that_it_is_not_the_published_model() -> None:
    assert FolderCheckpoint(TINY).kind == "trained-tiny"


def test_it_names_cells_it_never_saw_as_well_as_its_page_says(encoder: Encoder, held_out: HeldOutImages) -> None:
    images = encoder.images([cell.path for cell in held_out.cells])
    result = zero_shot_accuracy(images, encoder.labels(held_out.labels, held_out.templates), held_out.wanted)
    # one image of 90 may fall to the other side of a border with another libjpeg or BLAS
    assert result.balanced >= stated("zero-shot, balanced accuracy") - 0.012, result
    assert result.balanced >= 0.97


@pytest.mark.parametrize("k", [1, 5, 10])
def test_it_finds_fields_and_captions_as_well_as_its_page_says(
    encoder: Encoder, held_out: HeldOutImages, k: int
) -> None:
    images = encoder.images([field.path for field in held_out.fields])
    found = recall_at(k, images, encoder.texts([field.caption for field in held_out.fields]))
    # two of 60, for the same reason
    assert found.image_to_text >= stated(f"recall@{k}, image to text") - 0.034
    assert found.text_to_image >= stated(f"recall@{k}, text to image") - 0.034
    assert min(found.image_to_text, found.text_to_image) > 3 * found.chance


def test_no_caption_is_cut(encoder: Encoder, held_out: HeldOutImages) -> None:
    processor = encoder.processor
    for crop in (*held_out.cells, *held_out.fields, *held_out.smears):
        assert processor.count_tokens(crop.caption) <= processor.context_length


def test_other_words_for_the_cells_work_too(encoder: Encoder, held_out: HeldOutImages) -> None:
    images = encoder.images([cell.path for cell in held_out.cells])
    synonyms = ("leukocyte", "erythrocyte", "thrombocyte")
    result = zero_shot_accuracy(images, encoder.labels(synonyms, ("this is a photo of {}",)), held_out.wanted)
    assert result.balanced >= 0.95
