"""What every runtime must know of a LLaVA-NeXT, as data."""

from collections.abc import Mapping
from typing import Any

from nexus_edge.interfaces.facts import AnyresUnpad, Chat, FeatureLayout, ImageToken, Sequential, VlmFacts
from nexus_edge.interfaces.processor import Processor
from nexus_edge.models.llava_next.anyres import read_anyres
from nexus_edge.models.llava_next.processing import LlavaNextProcessor
from nexus_edge.models.llava_next.prompt import CONTROL_TOKENS, IMAGE_TAG
from nexus_edge.processing.turns import byte_pairs


def facts(config: Mapping[str, Any], settings: Processor, chat: Chat) -> VlmFacts:
    """See `Family.facts`."""
    assert isinstance(settings, LlavaNextProcessor)
    anyres = read_anyres(config)
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
