"""BiomedCLIP in two graphs, one per tower, each with its own weights: most devices need the image tower only."""

from torch import Tensor, nn

from nexus_edge.bundle import TensorSpec
from nexus_edge.interfaces.graph import GraphSpec, ModelSplit
from nexus_edge.models.biomedclip.model import BiomedClip


class ImageEncoder(nn.Module):
    """Pixels to unit vectors."""

    def __init__(self, model: BiomedClip) -> None:
        super().__init__()
        self.root = model

    def forward(self, pixel_values: Tensor) -> Tensor:
        """[batch, 3, image_size, image_size] -> [batch, embed]"""
        return self.root.encode_image(pixel_values)


class TextEncoder(nn.Module):
    """Ids to unit vectors."""

    def __init__(self, model: BiomedClip) -> None:
        super().__init__()
        self.root = model

    def forward(self, input_ids: Tensor) -> Tensor:
        """int64 [batch, tokens], 0 after the end of a text -> [batch, embed]"""
        return self.root.encode_text(input_ids)


def graphs(model: BiomedClip) -> tuple[GraphSpec, ...]:
    """The towers, in the order of `SPLIT.names`."""
    params = model.params
    size = params.vision.image_size
    return (
        GraphSpec(
            "image_encoder",
            ImageEncoder(model),
            inputs=(TensorSpec("pixel_values", "float32", ("batch", 3, size, size)),),
            outputs=(TensorSpec("image_embeds", "float32", ("batch", params.embed_dim)),),
        ),
        GraphSpec(
            "text_encoder",
            TextEncoder(model),
            inputs=(TensorSpec("input_ids", "int64", ("batch", "tokens")),),
            outputs=(TensorSpec("text_embeds", "float32", ("batch", params.embed_dim)),),
        ),
    )


def _owner(module: str) -> str:
    return "image_encoder" if module.startswith("visual.") else "text_encoder"


SPLIT = ModelSplit(("image_encoder", "text_encoder"), _owner, graphs)
