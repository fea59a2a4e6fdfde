"""What every runtime must know of a LLaVA-NeXT, as data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nexus_edge.interfaces.facts import AnyresUnpad, BytePairs, FeatureLayout, ImageToken, Sequential, VlmFacts
from nexus_edge.models.llava_next.anyres import read_anyres
from nexus_edge.models.llava_next.processing import LlavaNextProcessor
from nexus_edge.models.llava_next.prompt import CONTROL_TOKENS, IMAGE_TAG
from nexus_edge.processing.turns import tokens_in, turns_of


def facts(config: Mapping[str, Any], processor: Path) -> VlmFacts:
    """See `Family.facts`."""
    anyres, settings = read_anyres(config), LlavaNextProcessor.from_folder(processor)
    tokenizer = settings.tokenizer
    chat = turns_of(settings.apply_chat_template)
    control = (*CONTROL_TOKENS, *tokens_in(chat, tokenizer.control_tokens))
    ids = {token: tokenizer.token_id(token) for token in control}
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
        tokenizer=BytePairs(
            file="processor/tokenizer.json",
            config="processor/tokenizer_config.json",
            bos_id=tokenizer.bos_id,
            special={token: id_ for token, id_ in ids.items() if id_ is not None},
        ),
        chat=chat,
        image_place=ImageToken(text=IMAGE_TAG, id=settings.image_token),
        stop_ids=settings.stop_ids,
        positions=Sequential(),
    )
