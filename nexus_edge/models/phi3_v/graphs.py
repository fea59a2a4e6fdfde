"""Phi-3-Vision in three graphs, named and shaped as ONNX Runtime GenAI expects them."""

from torch import Tensor, nn

from nexus_edge.bundle import TensorSpec
from nexus_edge.interfaces.graph import GraphSpec, ModelSplit
from nexus_edge.models.phi3_v.model import Phi3V
from nexus_edge.models.vlm_graphs import NAMES, decoder, embed_tokens, image_features


class VisionEncoder(nn.Module):
    """Pixels to image features; HD layout, separators and projector are inside."""

    def __init__(self, model: Phi3V) -> None:
        super().__init__()
        self.root = model

    def forward(self, pixel_values: Tensor, image_sizes: Tensor) -> Tensor:
        """[images, crops, 3, 336, 336], int64 [images, 2] -> [image tokens, hidden]"""
        return self.root.model.vision_embed_tokens(pixel_values, image_sizes)


def graphs(model: Phi3V) -> tuple[GraphSpec, ...]:
    """The deployable parts, in the order in which a prompt runs through them."""
    return _vision_encoder(model), embed_tokens(model), decoder(model, model.params.vocab_size)


def _vision_encoder(model: Phi3V) -> GraphSpec:
    crop = model.params.vision.image_size
    return GraphSpec(
        "vision_encoder",
        VisionEncoder(model),
        inputs=(
            TensorSpec("pixel_values", "float32", ("images", "crops", 3, crop, crop)),
            TensorSpec("image_sizes", "int64", ("images", 2)),
        ),
        outputs=(image_features(model),),
    )


def _owner(module: str) -> str:
    if module.startswith("model.vision_embed_tokens."):
        return "vision_encoder"
    return "embed_tokens" if module == "model.embed_tokens" else "decoder"


SPLIT = ModelSplit(NAMES, _owner, graphs)
