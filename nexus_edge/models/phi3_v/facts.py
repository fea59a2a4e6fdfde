"""What every runtime must know of a Phi-3-Vision, as data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nexus_edge.interfaces.facts import (
    FeatureLayout,
    HdCrops,
    ImageTags,
    JinjaTemplate,
    LongRope,
    Sequential,
    Turns,
    VlmFacts,
)
from nexus_edge.interfaces.processor import DualProcessor, Processor
from nexus_edge.models.phi3_v.params import Phi3VisionParams
from nexus_edge.models.phi3_v.processing import Phi3VProcessor
from nexus_edge.models.phi3_v.prompt import ROLES, STOP_TOKENS
from nexus_edge.processing.hd_transform import CROP, TOKENS_PER_SIDE, WHITE
from nexus_edge.processing.turns import byte_pairs, turns_of


def facts(
    config: Mapping[str, Any],
    processor: Path,
    opened: Processor | DualProcessor | None = None,
    chat: Turns | JinjaTemplate | None = None,
) -> VlmFacts:
    """See `Family.facts`."""
    params, settings = Phi3VisionParams.from_json(config), opened
    if not isinstance(settings, Phi3VProcessor):
        settings = Phi3VProcessor.from_folder(processor)
    switch = params.rope.original_max_position_embeddings
    chat = turns_of(settings.apply_chat_template) if chat is None else chat
    return VlmFacts(
        images=HdCrops(
            mean=settings.mean,
            std=settings.std,
            resample="bilinear",
            view=CROP,
            most_crops=settings.num_crops,
            tokens_per_side=TOKENS_PER_SIDE,
            padding=WHITE,
            overview_resample="bicubic",
        ),
        layout=FeatureLayout(
            order=("overview", "separator", "crops") if params.global_first else ("crops", "separator", "overview"),
            row_ends=("crops", "overview"),
        ),
        merge="replace",
        tokenizer=byte_pairs(settings.tokenizer, chat, (*(f"<|{role}|>" for role in ROLES), *STOP_TOKENS)),
        chat=chat,
        image_place=ImageTags(text="<|image_{number}|>"),
        stop_ids=settings.stop_ids,
        positions=LongRope(limit=switch) if switch < params.max_position_embeddings else Sequential(),
    )
