"""Zero-shot accuracy and retrieval on a held-out split: reference model, full precision, behind the real processor.

Run: PYTHONPATH=. python training/biomedclip_tiny/evaluate.py --data DIR nexus_edge/assets/tiny_biomedclip
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from captions import HELD_OUT_TEMPLATES
from heldout import LABELS, TEMPLATES, held_out
from numpy.typing import NDArray
from PIL import Image

from nexus_edge.assets import recall_at, zero_shot_accuracy
from nexus_edge.models import from_checkpoint
from nexus_edge.models.biomedclip.model import BiomedClip
from nexus_edge.processing import DualProcessor, dual_from_checkpoint

BATCH = 64


@torch.inference_mode()
def embed_images(model: BiomedClip, processor: DualProcessor, images: Sequence[Image.Image]) -> NDArray[np.float32]:
    """[images, embed]"""
    batches = [images[i : i + BATCH] for i in range(0, len(images), BATCH)]
    return np.concatenate([model.encode_image(torch.from_numpy(processor.images(batch))).numpy() for batch in batches])


@torch.inference_mode()
def embed_texts(model: BiomedClip, processor: DualProcessor, texts: Sequence[str]) -> NDArray[np.float32]:
    """[texts, embed]"""
    return model.encode_text(torch.from_numpy(processor.texts(texts))).numpy()


def label_embeddings(model: BiomedClip, processor: DualProcessor, templates: Sequence[str]) -> NDArray[np.float32]:
    """Mean over the templates, normalised again, [labels, embed]"""
    prompts = [[template.format(label) for template in templates] for label in LABELS]
    rows = [embed_texts(model, processor, texts).mean(0) for texts in prompts]
    return np.stack([row / np.linalg.norm(row) for row in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--split", choices=("val", "test"), default="test")
    parser.add_argument("--fields", type=int, default=200)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model, processor = from_checkpoint(args.checkpoint), dual_from_checkpoint(args.checkpoint)
    cells, fields = held_out(args.data, args.split, args.fields)
    images = embed_images(model, processor, [cell.image for cell in cells])
    wanted = [LABELS.index(cell.label) for cell in cells]
    table: dict[str, object] = {}
    for name, templates in {"known": TEMPLATES[:1], "new": HELD_OUT_TEMPLATES, "all": TEMPLATES}.items():
        result = zero_shot_accuracy(images, label_embeddings(model, processor, templates), wanted)
        per_label = {label: f"{r}/{a}" for label, r, a in zip(LABELS, result.right, result.asked, strict=True)}
        table[f"zero-shot, {name} templates"] = {
            "accuracy": round(result.accuracy, 4), "balanced": round(result.balanced, 4), **per_label
        }  # fmt: skip
    images = embed_images(model, processor, [field.image for field in fields])
    texts = embed_texts(model, processor, [field.caption for field in fields])
    for k in (1, 5, 10):
        found = recall_at(k, images, texts)
        table[f"recall@{k} of {len(fields)} fields"] = {
            "image to text": round(found.image_to_text, 4), "text to image": round(found.text_to_image, 4),
            "chance": round(found.chance, 4),
        }  # fmt: skip
    for name, row in table.items():
        print(name, row)
    if args.json:
        args.json.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
