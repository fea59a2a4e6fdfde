"""LLaVA-NeXT in three graphs: views to image features, ids to embeddings, embeddings to logits.

Which feature goes where depends on roundings of float64 that not every runtime keeps, so the host computes it
(`AnyRes.layout` and `ViewLayout.feature_index`) and the vision encoder takes the index.
"""

from torch import Tensor, nn

from nexus_edge.bundle import TensorSpec
from nexus_edge.interfaces.graph import GraphSpec, ModelSplit
from nexus_edge.models.llava_next.model import LlavaNext
from nexus_edge.models.vlm_graphs import NAMES, decoder, embed_tokens, image_features


class VisionEncoder(nn.Module):
    """Views to image features; projector and newline are inside."""

    def __init__(self, model: LlavaNext) -> None:
        super().__init__()
        self.root = model

    def forward(self, pixel_values: Tensor, feature_index: Tensor) -> Tensor:
        """[views, 3, side, side], int64 [image tokens] -> [image tokens, hidden]; see `LlavaNext.packed`"""
        return self.root.packed(pixel_values, feature_index)


def graphs(model: LlavaNext) -> tuple[GraphSpec, ...]:
    """The deployable parts, in the order in which a prompt runs through them."""
    return _vision_encoder(model), embed_tokens(model), decoder(model, model.params.text.vocab_size)


def _vision_encoder(model: LlavaNext) -> GraphSpec:
    side = model.params.anyres.side
    return GraphSpec(
        "vision_encoder",
        VisionEncoder(model),
        inputs=(
            TensorSpec("pixel_values", "float32", ("views", 3, side, side)),
            TensorSpec("feature_index", "int64", ("image_tokens",)),
        ),
        outputs=(image_features(model),),
    )


def _owner(module: str) -> str:
    if module.startswith(("vision_tower.", "multi_modal_projector.")) or module == "image_newline":
        return "vision_encoder"
    return "embed_tokens" if module == "language_model.model.embed_tokens" else "decoder"


SPLIT = ModelSplit(NAMES, _owner, graphs)
