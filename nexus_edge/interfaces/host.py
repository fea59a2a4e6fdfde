"""What a runtime does between the graphs of a vision-language model, which each family says once: numpy, no torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from nexus_edge.interfaces.engine import Array, Floats, Ids, Run
from nexus_edge.interfaces.graph import Interface
from nexus_edge.interfaces.processor import ModelInputs

Merge = Literal["replace", "add"]
"""What becomes of the embeddings at image tokens: an image's features replace them, or are added to them."""

Image = Mapping[str, Array]
"""What the vision graphs read of one image; equal arrays mean equal features."""


@dataclass(frozen=True)
class PromptTokens:
    """A prompt as an engine reads it.

    Attributes:
        ids: int64 [tokens], all of which the token embedding takes; where features replace the embedding, 0 stands
        is_image: bool [tokens], where an image feature goes
        images: in the order of their features
    """

    ids: Ids
    is_image: NDArray[np.bool_]
    images: tuple[Image, ...] = ()


class PositionScheme(Protocol):
    """Which positions the tokens of a sequence have, and which keys of a cache fit together."""

    def of_prompt(self, prompt: PromptTokens) -> Ids:
        """int64 [axes, tokens]"""

    def between(self, prompt: Ids, start: int, stop: int) -> Ids:
        """Of the tokens from `start` to `stop` of a sequence, int64 [axes, stop - start].

        `prompt` is what `of_prompt` gave; text follows it.
        """

    def regime(self, length: int) -> int:
        """Keys that were rotated for sequences of the same regime may share a cache; never less for longer ones."""


class VlmHost(Protocol):
    """Between the graphs of one target of a bundle; the runtime and the ladder both use it."""

    @property
    def positions(self) -> PositionScheme:
        """Of the decoder's tokens."""

    @property
    def merge(self) -> Merge:
        """See `Merge`."""

    def prompt(self, inputs: ModelInputs) -> PromptTokens:
        """What the family's processor made of a prompt, as an engine reads it."""

    def images(self, inputs: Mapping[str, Array]) -> tuple[Image, ...]:
        """The images of what the processor made, without what only fills up a batch."""

    def views(self, image: Image) -> int:
        """How many views of an image go through the vision encoder, to which its time is proportional."""

    def encode(self, run: Run, image: Image) -> Floats:
        """Features of an image, [image tokens, hidden], in the order of its tokens.

        Args:
            run: the graphs; a call that takes views takes them in their order, and fills up at their end
            image: one of `images`
        """


HostMaker = Callable[[Mapping[str, Interface], Path], VlmHost]
"""Makes a model's host for the graphs of a target, by their names in the manifest, in the folder that holds them.

Raises BundleError where that folder is damaged, or for graphs that the family has no host for."""
