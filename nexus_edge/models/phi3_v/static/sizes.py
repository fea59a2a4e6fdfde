"""The sizes that Phi-3-Vision's programs are made in."""

from nexus_edge.models.phi3_v.model import Phi3V

PROMPT_TOKENS = 64
"""Tokens of a chunk of a prompt: the Neural Engine is busy with it, and a rest is not filled up with much."""

MOST_CONTEXT = 4096
"""Tokens of the caches: an image of 2,500 and an answer. At Phi-3-Vision's size they are 1.6 GB."""

CROPS = (1, 4)
"""Crops of one call; an image has 2 to 17."""


def kept_context(model: Phi3V) -> int:
    """Tokens that the caches hold."""
    return min(MOST_CONTEXT, model.context_length)
