"""Molmo in three graphs: views to image features, ids to embeddings, embeddings to logits.

Which crop shows what is computed by the host (`crops.CropLayout`), in the float32 arithmetic of the original; the
vision encoder takes the masks and the index that follow from it.
"""

from torch import Tensor, nn

from nexus_edge.bundle import TensorSpec
from nexus_edge.interfaces.graph import GraphSpec, ModelSplit
from nexus_edge.models.molmo.crops import PATCHES, SIDE
from nexus_edge.models.molmo.model import Molmo
from nexus_edge.models.vlm_graphs import NAMES, decoder, embed_tokens, image_features


class VisionEncoder(nn.Module):
    """Views to image features; pooling and projector are inside."""

    def __init__(self, model: Molmo) -> None:
        super().__init__()
        self.root = model

    def forward(self, pixel_values: Tensor, image_masks: Tensor, feature_index: Tensor) -> Tensor:
        """[views, 3, 336, 336], [views, 24 * 24], int64 [image features] -> [image features, hidden]

        See `Molmo.packed`.
        """
        return self.root.packed(pixel_values, image_masks, feature_index)


def graphs(model: Molmo) -> tuple[GraphSpec, ...]:
    """The deployable parts, in the order in which a prompt runs through them."""
    return _vision_encoder(model), embed_tokens(model), decoder(model, model.params.embedding_size)


def _vision_encoder(model: Molmo) -> GraphSpec:
    return GraphSpec(
        "vision_encoder",
        VisionEncoder(model),
        inputs=(
            TensorSpec("pixel_values", "float32", ("views", 3, SIDE, SIDE)),
            TensorSpec("image_masks", "float32", ("views", PATCHES**2)),
            TensorSpec("feature_index", "int64", ("image_tokens",)),
        ),
        outputs=(image_features(model),),
    )


def _owner(module: str) -> str:
    if module.startswith("model.vision_backbone"):
        return "vision_encoder"
    return "embed_tokens" if module.startswith("model.transformer.wte") else "decoder"


SPLIT = ModelSplit(NAMES, _owner, graphs)
"""The split for targets with dynamic shapes."""
