"""What an app must know of BiomedCLIP beside its packages."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nexus_edge.interfaces.target import ExportedModel
from nexus_edge.models.biomedclip.model import BiomedClip
from nexus_edge.models.biomedclip.processing import RESAMPLING, BiomedClipProcessor
from nexus_edge.processing.word_pieces import PAD_ID
from nexus_edge.runtimes.dual_encoder.prompts import DEFAULT_TEMPLATES

SHORT_TEXT = 64
"""Most tokens of the shorter text function: labels fit, and attention to padding costs as much as to words."""


def text_lengths(context: int) -> tuple[int, int]:
    """Tokens of the shorter text function, and of the one that takes every text."""
    return min(SHORT_TEXT, context // 2), context


def facts(exported: ExportedModel, processor: Path) -> Mapping[str, Any]:
    """See `Family`."""
    model, settings = exported.model, BiomedClipProcessor.from_folder(processor)
    assert isinstance(model, BiomedClip)
    files = {path.name for path in processor.iterdir()}
    return {
        "tokenizer": {
            "kind": "word_pieces",
            "file": next(f"processor/{name}" for name in ("tokenizer.json", "vocab.txt") if name in files),
            "config": "processor/tokenizer_config.json" if "tokenizer_config.json" in files else None,
            "bos_id": None,
            "pad_id": PAD_ID,
            "special": dict(settings.tokenizer.special),
        },
        "pictures": {
            "fit": "centre_crop",
            "size": settings.image_size,
            "mean": list(settings.mean),
            "std": list(settings.std),
            "resampling": next(name for name, filter_ in RESAMPLING.items() if filter_ is settings.resample),
            "most_crops": None,
            "tokens_per_side": None,
        },
        "generation": None,
        "zero_shot": {
            "embed_dim": model.embed_dim,
            "context": model.context_length,
            "text_lengths": list(text_lengths(model.context_length)),
            "logit_scale": exported.logit_scale,
            "templates": list(DEFAULT_TEMPLATES),
        },
    }
