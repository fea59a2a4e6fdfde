"""What happens between Phi-3-Vision's graphs, in each of the three ways in which they are deployed: numpy, no torch.

GraphHost    the vision encoder is one graph, the HD layout inside of it
ClientHost   tower and projector as OpenVINO GenAI's VLMPipeline has them, the layout between the two
StaticHost   programs for a fixed number of crops, the layout after them
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nexus_edge.configs.rope import rope_limit
from nexus_edge.errors import BundleError
from nexus_edge.interfaces.engine import Array, Floats, Run
from nexus_edge.interfaces.graph import Interface
from nexus_edge.interfaces.host import Image, Merge, PositionScheme, PromptTokens, VlmHost
from nexus_edge.interfaces.processor import ModelInputs
from nexus_edge.models.phi3_v.hd_layout import SIDE, Separators, lay_out, lay_out_joined
from nexus_edge.processing.calls import cut
from nexus_edge.processing.folder import read_json
from nexus_edge.processing.hd_transform import CROP
from nexus_edge.processing.positions import LongRopePositions, SequentialPositions

PIXELS, SIZES, FEATURES = "pixel_values", "image_sizes", "image_features"
ENCODER, TOWER, PROJECTOR = "vision_encoder", "vision_embeddings", "vision_projection"
CROPS_AT_ONCE = 4  # through the tower, which bounds its memory; a crop has 577 tokens, enough for every core
CROP_FEATURES, SEPARATORS, SEPARATORS_GLOBAL_FIRST = "features", "separators", "separators_global_first"
"""Outputs of a program for crops. The separators have the last name where an image begins with its global view, so that
an app refuses what it would lay out the other way."""


@dataclass(frozen=True)
class _Phi3VHost:
    """What the three have in common; see `VlmHost`."""

    positions: PositionScheme
    merge: ClassVar[Merge] = "replace"

    def prompt(self, inputs: ModelInputs) -> PromptTokens:
        """See `VlmHost.prompt`; the processor writes an image token of image N as -N."""
        ids, arrays = inputs["input_ids"][0], dict[str, Any](inputs)
        return PromptTokens(np.maximum(ids, 0), ids < 0, self.images(arrays))

    def images(self, inputs: Mapping[str, Array]) -> tuple[Image, ...]:
        """See `VlmHost.images`: pixel_values [1, views, 3, 336, 336] and image_sizes int64 [1, 2] each."""
        if PIXELS not in inputs:
            return ()
        rows = zip(inputs[PIXELS], inputs[SIZES], strict=True)
        return tuple({PIXELS: pixels[None, : _views(size)], SIZES: size[None]} for pixels, size in rows)

    def views(self, image: Image) -> int:
        """See `VlmHost.views`: the global view and the crops."""
        return _views(image[SIZES][0])


@dataclass(frozen=True)
class GraphHost(_Phi3VHost):
    """See the module."""

    def encode(self, run: Run, image: Image) -> Floats:
        """See `VlmHost.encode`."""
        return run(ENCODER, image)[FEATURES]


@dataclass(frozen=True)
class ClientHost(_Phi3VHost):
    """See the module."""

    separators: Separators

    def encode(self, run: Run, image: Image) -> Floats:
        """See `VlmHost.encode`."""
        crops = image[PIXELS][0]
        parts = [crops[start : start + CROPS_AT_ONCE] for start in range(0, len(crops), CROPS_AT_ONCE)]
        features = np.concatenate([run(TOWER, {PIXELS: part})["last_hidden_state"] for part in parts])
        tokens = lay_out(np.asarray(features, np.float32), grid_of(image), self.separators)
        return run(PROJECTOR, {"input": tokens[None]})["last_hidden_state"][0]


@dataclass(frozen=True)
class StaticHost(_Phi3VHost):
    """See the module.

    Attributes:
        graphs: crops of a call -> the program for so many
        separators: their output's name
    """

    graphs: Mapping[int, str]
    separators: str

    def encode(self, run: Run, image: Image) -> Floats:
        """See `VlmHost.encode`."""
        crops, found, separators = image[PIXELS][0], [], np.zeros(0, np.float32)
        for start, count in cut(len(crops), self.graphs):
            part = crops[start : start + count]
            padded = np.pad(part, ((0, count - len(part)), (0, 0), (0, 0), (0, 0)))
            results = run(self.graphs[count], {PIXELS: padded})
            found.append(results[CROP_FEATURES].reshape(count, SIDE, SIDE, -1)[: len(part)])
            separators = results[self.separators]
        first = self.separators == SEPARATORS_GLOBAL_FIRST
        row, view = separators[:2]
        return lay_out_joined(np.concatenate(found), grid_of(image), Separators(row, view), global_first=first)


def make_host(config: Mapping[str, Any], graphs: Mapping[str, Interface], folder: Path) -> VlmHost:
    """See `VlmFamily.host`."""
    limit = rope_limit(config)
    positions = SequentialPositions() if limit is None else LongRopePositions(limit)
    if TOWER in graphs and PROJECTOR in graphs:
        return ClientHost(positions, separators_of(folder, graphs[PROJECTOR]))
    takes = {name: [spec.name for spec in graph.inputs] for name, graph in graphs.items()}
    if takes.get(ENCODER) == [PIXELS, SIZES]:
        return GraphHost(positions)
    static = {graphs[name].inputs[0].shape[0]: name for name, inputs in takes.items() if inputs == [PIXELS]}
    made = {spec.name for name in static.values() for spec in graphs[name].outputs}
    named = made & {SEPARATORS, SEPARATORS_GLOBAL_FIRST}
    sizes = {size: name for size, name in static.items() if isinstance(size, int) and size > 0}
    if sizes != static or len(named) != 1 or CROP_FEATURES not in made:
        raise BundleError(f"{folder}: its graphs take no images as Phi-3-Vision does; export the bundle again")
    return StaticHost(positions, sizes, named.pop())


def separators_of(folder: Path, projector: Interface) -> Separators:
    """From the config.json beside the graphs.

    Args:
        folder: of the graphs
        projector: which takes joined patches, and separators, of its last axis' width

    Raises:
        BundleError: they are not there, or not as wide.
    """
    config, path = read_json(folder, "config.json"), folder / "config.json"
    width, found = projector.inputs[0].shape[-1], []
    for name in ("sub_GN", "glb_GN"):
        try:
            values = np.array(config[name], np.float32).ravel()
        except (KeyError, ValueError, TypeError) as error:
            raise BundleError(
                f"{path}: lacks {name}, a separator between crops, or it is not an array of numbers; "
                "export the bundle again"
            ) from error
        if len(values) != width or not np.isfinite(values).all():
            raise BundleError(
                f"{path}: {name} has {len(values)} numbers, and {PROJECTOR} takes {width} finite ones; "
                "export the bundle again"
            )
        found.append(values)
    return Separators(*found)


def grid_of(image: Image) -> tuple[int, int]:
    """Rows and columns of an image's crops."""
    height, width = (int(size) // CROP for size in image[SIZES][0])
    return height, width


def _views(size: Array) -> int:
    return 1 + int(size[0]) // CROP * (int(size[1]) // CROP)
