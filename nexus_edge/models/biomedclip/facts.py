"""What every runtime must know of a BiomedCLIP, as data."""

from pathlib import Path

from PIL import Image

from nexus_edge.interfaces.facts import CentreCrop, DualEncoderFacts, WordPieces
from nexus_edge.interfaces.processor import DualProcessor
from nexus_edge.models.biomedclip.processing import BiomedClipProcessor
from nexus_edge.processing.word_pieces import PAD_ID
from nexus_edge.runtimes.dual_encoder.prompts import DEFAULT_TEMPLATES


def facts(processor: Path, settings: DualProcessor) -> DualEncoderFacts:
    """See `Family.facts`."""
    assert isinstance(settings, BiomedClipProcessor)
    has = {name: (processor / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json")}
    return DualEncoderFacts(
        images=CentreCrop(
            mean=settings.mean,
            std=settings.std,
            resample="bicubic" if settings.resample is Image.Resampling.BICUBIC else "bilinear",
            size=settings.image_size,
        ),
        tokenizer=WordPieces(
            file="processor/tokenizer.json" if has["tokenizer.json"] else "processor/vocab.txt",
            config="processor/tokenizer_config.json" if has["tokenizer_config.json"] else None,
            pad_id=PAD_ID,
            special=dict(settings.tokenizer.special),
        ),
        score="softmax",
        templates=DEFAULT_TEMPLATES,
    )
