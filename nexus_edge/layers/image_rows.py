"""Where image features go among token embeddings."""

import torch
from torch import Tensor, nn


def image_rows(is_image: Tensor, image_features: Tensor) -> Tensor:
    """The image features in their order at the positions of images, zeros elsewhere.

    Args:
        is_image: bool [batch, tokens]
        image_features: [image tokens, hidden], as many rows as `is_image` has true entries

    Returns:
        [batch, tokens, hidden]
    """
    # Row 0 stands for "no image", so that the gather is valid for a prompt without images.
    nothing = image_features.new_zeros(1, image_features.shape[1])
    count = is_image.flatten().to(torch.int64).cumsum(0).view(is_image.shape)
    return nn.functional.embedding(torch.where(is_image, count, 0), torch.cat((nothing, image_features)))
