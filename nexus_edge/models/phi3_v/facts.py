"""What every runtime must know of a Phi-3-Vision, as data."""

from collections.abc import Mapping
from typing import Any

from nexus_edge.interfaces.facts import Chat, FeatureLayout, HdCrops, ImageTags, LongRope, Sequential, VlmFacts
from nexus_edge.interfaces.processor import Processor
from nexus_edge.models.phi3_v.params import Phi3VisionParams
from nexus_edge.models.phi3_v.processing import Phi3VProcessor
from nexus_edge.models.phi3_v.prompt import ROLES, STOP_TOKENS
from nexus_edge.processing.hd_transform import CROP, TOKENS_PER_SIDE, WHITE
from nexus_edge.processing.turns import byte_pairs


def facts(config: Mapping[str, Any], settings: Processor, chat: Chat) -> VlmFacts:
    """See `Family.facts`."""
    assert isinstance(settings, Phi3VProcessor)
    params = Phi3VisionParams.from_json(config)
    switch = params.rope.original_max_position_embeddings
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
