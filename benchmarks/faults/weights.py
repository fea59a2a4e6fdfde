"""Faults in stored weights, for which a manifest vouches: both sides of P3 read them, P4 alone can tell."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

import mutations
import numpy as np

from faults import BIOMEDCLIP, PHI3, Fault, Scene, rng
from nexus_edge.bundle.layer_names import layer_around
from nexus_edge.checkpoints import SafetensorsFile

RUNGS = ("P0", "P3", "P4")
TEXT = ("text",)
SEEDS = range(1)
VLM, DUAL = f"{PHI3} onnx", f"{BIOMEDCLIP} onnx"
FILES = {
    VLM: ("decoder", "vision_encoder", "embed_tokens"),
    DUAL: ("image_encoder", "text_encoder"),
}


def change(values: np.ndarray, how: str, where: np.random.Generator) -> np.ndarray:
    """One code moved by half its range, one scale four times as large, or all numbers 2 % larger."""
    place = tuple(int(where.integers(0, size)) for size in values.shape)
    if how == "a code":
        values.view(np.uint8)[place] ^= 0x88
    elif how == "a scale":
        values[place] *= 4
    else:
        values *= values.dtype.type(1.02)
    return values


PATTERNS = {
    "a code": "*.qweight",
    "a scale": "*.scales",
    "a layer's norm": "*norm*.weight",
}


def seeded() -> Iterator[Fault]:
    """A code, a scale and a norm in a random tensor of each graph."""
    for bundle, graphs in FILES.items():
        for graph in graphs:
            for how, pattern in PATTERNS.items():
                if graph == "embed_tokens" and how == "a layer's norm":
                    continue
                for seed in SEEDS:
                    yield _fault(bundle, graph, how, pattern, seed)


def _fault(bundle: str, graph: str, how: str, pattern: str, seed: int) -> Fault:
    name = f"{graph}: {how} changed, seed {seed}"

    def make(scene: Scene) -> None:
        where = rng(bundle + name)
        path = scene.bundle.root / "onnx" / f"{graph}.safetensors"
        names = [tensor for tensor in SafetensorsFile(path).infos if fnmatchcase(tensor.lower(), pattern)]
        inside = [tensor for tensor in names if layer_around(tensor) is not None] or names
        tensor = inside[int(where.integers(0, len(inside)))]
        mutations.edit_tensor(path, tensor, lambda values: change(values, how, where))

    return Fault(name, "weights", bundle, "P4", f"{graph} weights*", make, RUNGS, TEXT if bundle == VLM else ())


def swap_rows(scene: Scene) -> None:
    """Two output channels of a projection."""

    def swap(codes: np.ndarray) -> np.ndarray:
        codes[[3, 9]] = codes[[9, 3]]
        return codes

    name = "model.layers.1.self_attn.o_proj.qweight"
    mutations.edit_tensor(scene.bundle.root / "onnx/decoder.safetensors", name, swap)


def swap_gate_and_up(scene: Scene) -> None:
    """The two halves of a fused matrix."""
    for suffix in ("qweight", "scales"):
        name = f"model.layers.3.mlp.gate_up_proj.{suffix}"
        mutations.edit_tensor(scene.bundle.root / "onnx/decoder.safetensors", name, mutations.swap_halves)


def swap_layers(scene: Scene) -> None:
    """All tensors of two decoder layers."""
    path = scene.bundle.root / "onnx/decoder.safetensors"
    mutations.swap_tensors(path, "model.layers.1", "model.layers.2")


def zero_separator(scene: Scene) -> None:
    """The separator in front of the global view."""
    path = scene.bundle.root / "onnx/vision_encoder.safetensors"
    mutations.edit_tensor(path, "model.vision_embed_tokens.glb_GN", np.zeros_like)


def reverse_embedding(scene: Scene) -> None:
    """Rows of the vocabulary in the opposite order."""
    path = scene.bundle.root / "onnx/embed_tokens.safetensors"
    mutations.edit_tensor(path, "model.embed_tokens.qweight", lambda rows: rows[::-1])


def swap_blocks(scene: Scene) -> None:
    """Two blocks of the image tower."""
    path = scene.bundle.root / "onnx/image_encoder.safetensors"
    mutations.swap_tensors(path, "visual.trunk.blocks.1", "visual.trunk.blocks.3")


def shift_positions(scene: Scene) -> None:
    """The text tower's position embeddings begin one row late."""
    path = scene.bundle.root / "onnx/text_encoder.safetensors"
    name = "text.transformer.embeddings.position_embeddings.weight"
    mutations.edit_tensor(path, name, lambda rows: np.roll(rows, 1, axis=0))


FAULTS = (
    *seeded(),
    Fault("two output channels exchanged", "order", VLM, "P4", "decoder weights, layer 1,*", swap_rows, RUNGS, TEXT),
    Fault(
        "gate and up exchanged in the file",
        "layout",
        VLM,
        "P4",
        "decoder weights, layer 3,*",
        swap_gate_and_up,
        RUNGS,
        TEXT,
    ),
    Fault(
        "two layers exchanged in the file", "order", VLM, "P4", "decoder weights, layer 1,*", swap_layers, RUNGS, TEXT
    ),
    Fault(
        "separator of the global view is zero",
        "weights",
        VLM,
        "P4",
        "vision_encoder weights*",
        zero_separator,
        RUNGS,
        TEXT,
    ),
    Fault(
        "rows of the vocabulary reversed", "order", VLM, "P4", "embed_tokens weights*", reverse_embedding, RUNGS, TEXT
    ),
    Fault(
        "two blocks exchanged in the file", "order", DUAL, "P4", "image_encoder weights, layer 1,*", swap_blocks, RUNGS
    ),
    Fault("position table begins a row late", "positions", DUAL, "P4", "text_encoder weights*", shift_positions, RUNGS),
)
