"""Faults in ONNX graphs and in what their manifest says: the weights are right, P3 and P0 find them."""

import shutil
from dataclasses import replace

import mutations

from faults import BIOMEDCLIP, PHI3, Fault, Scene
from nexus_edge.models.phi3_v.params import Phi3VisionParams

VLM, DUAL = f"{PHI3} onnx", f"{BIOMEDCLIP} onnx"
BLOCKS, LAYERS = "visual.trunk.blocks", "text.transformer.encoder.layer"
LAYER_0 = "decoder, layer 0,*"
TINY = Phi3VisionParams.tiny()
TEXT, ONE, LONG = ("text",), ("one image",), ("text beyond the LongRoPE limit",)
TWO = ("two images",)  # of several crops; the global view of a single crop is that crop


def graph(name: str, mutation: mutations.Mutation):
    """A fault in one graph."""

    def make(scene: Scene) -> None:
        mutations.edit_graph(scene.bundle.graph("onnx", name), mutation)

    return make


def another_graph(scene: Scene) -> None:
    """The decoder's file holds the embedding's graph."""
    shutil.copyfile(scene.bundle.graph("onnx", "embed_tokens"), scene.bundle.graph("onnx", "decoder"))


def truncated(scene: Scene) -> None:
    """The last page of a weights file is missing."""
    path = scene.bundle.root / "onnx/vision_encoder.safetensors"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-4096])


def other_type(scene: Scene) -> None:
    """The manifest says int32 where the graph takes int64."""
    manifest = scene.bundle.manifest
    info = manifest.graphs["onnx"]["embed_tokens"]
    inputs = tuple(replace(spec, dtype="int32") if spec.name == "input_ids" else spec for spec in info.inputs)
    graphs = {"onnx": {**manifest.graphs["onnx"], "embed_tokens": replace(info, inputs=inputs)}}
    scene.bundle = replace(scene.bundle, manifest=replace(manifest, graphs=graphs))


def other_tower(scene: Scene) -> None:
    """The text tower's hash is the image tower's."""
    info = scene.bundle.manifest.dual_encoder
    assert info is not None
    manifest = replace(scene.bundle.manifest, dual_encoder=replace(info, text_tower=info.image_tower))
    scene.bundle = replace(scene.bundle, manifest=manifest)


SHIFT = mutations.shift_positions("text.transformer.embeddings.position_embeddings.weight")
LIMIT = TINY.rope.original_max_position_embeddings
FAULTS = (
    *(
        Fault(
            f"gate and up exchanged, layer {n}",
            "layout",
            VLM,
            "P3",
            f"decoder, layer {n},*",
            graph("decoder", mutations.swap_gate_and_up(n)),
            cases=TEXT,
        )
        for n in range(4)
    ),
    Fault(
        "LongRoPE's magnitude dropped",
        "positions",
        VLM,
        "P3",
        LAYER_0,
        graph("decoder", mutations.drop_longrope_factor(TINY.rope.magnitudes[0])),
        cases=TEXT,
    ),
    Fault(
        "long factors from the first token on",
        "positions",
        VLM,
        "P3",
        LAYER_0,
        graph("decoder", mutations.change_constant(LIMIT, 1)),
        cases=TEXT,
    ),
    Fault(
        "short factors for ever",
        "positions",
        VLM,
        "P3",
        LAYER_0,
        graph("decoder", mutations.change_constant(LIMIT, 1 << 20)),
        cases=LONG,
    ),
    Fault(
        "views read one place further on",
        "order",
        VLM,
        "P3",
        "vision_encoder, layer 0,*",
        graph("vision_encoder", mutations.shift_crops),
        cases=TWO,
    ),
    Fault(
        "image features of the layer before",
        "layout",
        VLM,
        "P3",
        "vision_encoder, image_features",
        graph("vision_encoder", mutations.take_earlier_tower_layer),
        cases=ONE,
    ),
    *(
        Fault(
            f"layers 0 and {n} of the image tower exchanged",
            "order",
            DUAL,
            "P3",
            "image_encoder, layer 0,*",
            graph("image_encoder", mutations.swap_layers(BLOCKS, 0, n)),
        )
        for n in (1, 5)
    ),
    Fault(
        "layers 1 and 2 of the text tower exchanged",
        "order",
        DUAL,
        "P3",
        "text_encoder, layer 1,*",
        graph("text_encoder", mutations.swap_layers(LAYERS, 1, 2)),
    ),
    Fault("text positions shifted", "positions", DUAL, "P3", "text_encoder, layer 0,*", graph("text_encoder", SHIFT)),
    Fault(
        "padding mask dropped",
        "layout",
        DUAL,
        "P3",
        "text_encoder, layer 0,*",
        graph("text_encoder", mutations.drop_padding_mask),
    ),
    Fault(
        "epsilon of BERT's norms 1e-3",
        "configuration",
        DUAL,
        "P3",
        "text_encoder, layer 0,*",
        graph("text_encoder", mutations.set_epsilon(1e-3, "text.transformer")),
    ),
    Fault(
        "final norm of the image tower left out",
        "layout",
        DUAL,
        "P3",
        "image_encoder, image_embeds",
        graph("image_encoder", mutations.skip_node("visual.trunk.norm.weight")),
    ),
    Fault("a graph in the place of another", "structure", VLM, "P0", "decoder, *", another_graph),
    Fault("a weights file cut off", "structure", VLM, "P0", "vision_encoder, *", truncated),
    Fault("an input's type in the manifest", "structure", VLM, "P0", "embed_tokens, *", other_type),
    Fault("hash of another tower", "structure", DUAL, "P0", "dual_encoder, towers", other_tower),
)
