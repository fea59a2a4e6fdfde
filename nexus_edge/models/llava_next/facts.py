"""What every runtime must know of a LLaVA-NeXT, as data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nexus_edge.interfaces.facts import (
    AnyresUnpad,
    FeatureLayout,
    ImageToken,
    JinjaTemplate,
    Sequential,
    Turns,
    VlmFacts,
)
from nexus_edge.interfaces.processor import DualProcessor, Processor
from nexus_edge.models.llava_next.anyres import read_anyres
from nexus_edge.models.llava_next.processing import LlavaNextProcessor
from nexus_edge.models.llava_next.prompt import CONTROL_TOKENS, IMAGE_TAG
from nexus_edge.processing.turns import byte_pairs, turns_of


def facts(
    config: Mapping[str, Any],
    processor: Path,
    opened: Processor | DualProcessor | None = None,
    chat: Turns | JinjaTemplate | None = None,
) -> VlmFacts:
    """See `Family.facts`."""
    anyres, settings = read_anyres(config), opened
    if not isinstance(settings, LlavaNextProcessor):
        settings = LlavaNextProcessor.from_folder(processor)
    chat = turns_of(settings.apply_chat_template) if chat is None else chat
    return VlmFacts(
        images=AnyresUnpad(
            mean=settings.mean,
            std=settings.std,
            resample="bicubic",
            view=anyres.side,
            grids=anyres.pinpoints,
            tokens_per_side=anyres.patches,
            padding=0,
        ),
        layout=FeatureLayout(order=("overview", "crops"), row_ends=("crops",)),
        merge="replace",
        tokenizer=byte_pairs(settings.tokenizer, chat, CONTROL_TOKENS),
        chat=chat,
        image_place=ImageToken(text=IMAGE_TAG, id=settings.image_token),
        stop_ids=settings.stop_ids,
        positions=Sequential(),
    )
