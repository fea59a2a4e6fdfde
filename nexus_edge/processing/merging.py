"""Image features among the embeddings of a prompt."""

import numpy as np
from numpy.typing import NDArray

from nexus_edge.interfaces.engine import Array, Floats
from nexus_edge.interfaces.host import Merge


def merge_features(embeds: Floats, is_image: NDArray[np.bool_], features: Array, merge: Merge) -> Floats:
    """Embeddings [tokens, hidden], changed in place: features [image tokens, hidden] in their order where images are.

    Args:
        embeds: of all tokens
        is_image: bool, as many as tokens or fewer; what follows is text
        features: as many rows as `is_image` has true entries
        merge: see `Merge`
    """
    rows = np.flatnonzero(is_image)
    if merge == "add":
        embeds[rows] += features
    else:
        embeds[rows] = features
    return embeds
