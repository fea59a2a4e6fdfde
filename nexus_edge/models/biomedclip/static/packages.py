"""BiomedCLIP's towers: a package each, and one for iOS 17 where the schemes allow it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from nexus_edge.bundle import ComputeUnits, Role, TensorSpec
from nexus_edge.interfaces.graph import GraphSpec
from nexus_edge.models.biomedclip.graphs import ImageEncoder, TextEncoder
from nexus_edge.models.biomedclip.model import BiomedClip
from nexus_edge.models.biomedclip.processing import BiomedClipProcessor
from nexus_edge.models.biomedclip.static.sizes import text_lengths
from nexus_edge.targets.coreml.family import Function, Package, StaticSplit, root_of
from nexus_edge.targets.coreml.schemes import IOS_BLOCKS, IOS_ROWS, oldest_ios

_IMAGE_UNITS: ComputeUnits = "cpuAndNeuralEngine"
_TEXT_UNITS: ComputeUnits = "cpuAndNeuralEngine"
_PIXELS = "Takes images of {0} x {0} pixels, already resized and cropped; normalization is inside."


class RgbEncoder(nn.Module):
    """Pixels as an image file holds them to unit vectors: normalization is inside."""

    center: Tensor
    factor: Tensor

    def __init__(self, model: BiomedClip) -> None:
        super().__init__()
        self.root = model
        for name in ("center", "factor"):
            self.register_buffer(name, torch.empty(1, 3, 1, 1, device="meta"))

    def forward(self, image: Tensor) -> Tensor:
        """[1, 3, image_size, image_size] of 0 to 255 -> [1, embed]"""
        return self.root.encode_image((image - self.center) * self.factor)


def _normalization(processor: Path) -> Mapping[str, Tensor]:
    """The buffers of `RgbEncoder`."""
    settings = BiomedClipProcessor.from_folder(processor)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (settings.mean, settings.std))
    return {"center": 255 * mean, "factor": 1 / (255 * std)}


def _image_packages(model: BiomedClip, ios: int | None) -> list[Package]:
    size = model.params.vision.image_size
    sizes = (1, 3, size, size)
    embeds = (TensorSpec("image_embeds", "float32", (1, model.embed_dim)),)
    rgb = Function(
        "image",
        RgbEncoder(model),
        (TensorSpec("image", "float32", sizes),),
        embeds,
        images=frozenset({"image"}),
        constants=_normalization,
    )
    pixels = Function("pixel_values", ImageEncoder(model), (TensorSpec("pixel_values", "float32", sizes),), embeds)
    note = _PIXELS.format(size)
    return _packages("image_encoder", "image", model.visual, (pixels, rgb), rgb, _IMAGE_UNITS, note, ios)


def _text_packages(model: BiomedClip, ios: int | None) -> list[Package]:
    functions = tuple(
        Function(
            f"tokens_{tokens}",
            TextEncoder(model),
            (TensorSpec("input_ids", "int32", (1, tokens)),),
            (TensorSpec("text_embeds", "float32", (1, model.embed_dim)),),
        )
        for tokens in reversed(text_lengths(model.context_length))
    )
    note = "Ids are filled up with 0; take the shortest function that the text fits into."
    return _packages("text_encoder", "text", model.text, functions, functions[0], _TEXT_UNITS, note, ios)


def _packages(
    file: str,
    role: Role,
    tower: nn.Module,
    functions: tuple[Function, ...],
    only: Function,
    units: ComputeUnits,
    note: str,
    ios: int | None,
) -> list[Package]:
    """A package for iOS 18 with all functions, and one for iOS 17 with the one that apps need; or the one asked for."""
    newest = Package(file, role, functions, units, IOS_BLOCKS, note)
    if ios == IOS_ROWS:
        return [Package(file, role, (only,), units, IOS_ROWS, note)]
    if ios == IOS_BLOCKS or oldest_ios(tower) > IOS_ROWS:
        return [newest]
    return [newest, Package(f"{file}_ios{IOS_ROWS}", role, (only,), units, IOS_ROWS, note)]


def _build(spec: GraphSpec, ios: int | None) -> Sequence[Package]:
    model = root_of(spec, BiomedClip)
    return _image_packages(model, ios) if spec.name == "image_encoder" else _text_packages(model, ios)


STATIC = StaticSplit(_build)
