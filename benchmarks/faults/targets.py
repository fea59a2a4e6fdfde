"""Faults in saved OpenVINO and Core ML graphs, behind the exporter's back."""

from collections.abc import Callable

import coreml_mutations
import ir_mutations
import mutations
import numpy as np

from faults import BIOMEDCLIP, PHI3, Fault, Scene

IR, IR_DUAL = f"{PHI3} openvino", f"{BIOMEDCLIP} openvino"
PACKAGES, PACKAGES_DUAL = f"{PHI3} coreml", f"{BIOMEDCLIP} coreml"
TOWER = "model.vision_embed_tokens.img_processor.vision_model.encoder.layers"
CHUNKS = ("decoder_1_of_2", "decoder_2_of_2")  # layers 0 and 1, 2 and 3
KEYS = "past_key_values.2.key"
TEXT, ONE = ("text",), ("one image",)
P3 = ("P3",)


def tensor(graph: str, name: str, edit: Callable[[np.ndarray], np.ndarray]) -> Callable[[Scene], None]:
    """A fault in the .bin of an IR; the reference has the other target's weights."""

    def make(scene: Scene) -> None:
        mutations.edit_tensor(scene.bundle.root / "openvino" / f"openvino_{graph}.bin", name, edit)

    return make


def ir(graph: str, mutation: ir_mutations.Mutation) -> Callable[[Scene], None]:
    """A fault in an .xml."""

    def make(scene: Scene) -> None:
        ir_mutations.edit_ir(scene.bundle.graph("openvino", graph), mutation)

    return make


def flip_scale(scales: np.ndarray) -> np.ndarray:
    scales[3, 0] *= -1
    return scales


def double_scale(scales: np.ndarray) -> np.ndarray:
    scales[(5, 0)[: scales.ndim]] *= 2
    return scales


def separators(scene: Scene) -> None:
    path = scene.bundle.root / "openvino" / "config.json"
    text = path.read_text("utf-8")
    path.write_text(text.replace('"sub_GN"', '"glb_GN_"').replace('"glb_GN"', '"sub_GN"').replace("_GN_", "_GN"))


def wider(scene: Scene) -> None:
    path = scene.bundle.graph("openvino", "text_embeddings")
    text = path.read_text("utf-8")
    path.write_text(
        text.replace('<data shape="?,?" element_type="i64" />', '<data shape="?,?" element_type="i32" />', 1)
    )


def no_graph(scene: Scene) -> None:
    scene.bundle.graph("openvino", "language_model").write_text("<net/>", "utf-8")


def constant(where: str, weight: str, part: str, change: coreml_mutations.Change) -> Callable[[Scene], None]:
    """A fault in a package's weight file."""

    def make(scene: Scene) -> None:
        scene.bundle = coreml_mutations.overwrite(scene.bundle, where, weight, part, change)

    return make


def program(where: str, function: str, change: Callable[..., None]) -> Callable[[Scene], None]:
    def make(scene: Scene) -> None:
        scene.bundle = coreml_mutations.edit_program(scene.bundle, where, function, change)

    return make


def swap_chunks(scene: Scene) -> None:
    scene.bundle = coreml_mutations.swap_files(scene.bundle, *CHUNKS)


def same_chunk_twice(scene: Scene) -> None:
    first, second = (coreml_mutations.package(scene.bundle, name) / coreml_mutations.MODEL for name in CHUNKS)
    first.write_bytes(second.read_bytes())


def cut_weights(name: str) -> Callable[[Scene], None]:
    def make(scene: Scene) -> None:
        path = coreml_mutations.package(scene.bundle, name) / coreml_mutations.WEIGHTS
        path.write_bytes(path.read_bytes()[:-4096])

    return make


FAULTS = (
    Fault(
        "a scale with the wrong sign",
        "weights",
        IR,
        "P3",
        "decoder, layer 2,*",
        tensor("language_model", "model.layers.2.self_attn.o_proj.scales", flip_scale),
        P3,
        TEXT,
    ),
    Fault(
        "a transposed weight of the image tower",
        "layout",
        IR,
        "P3",
        "vision_encoder, layer 1,*",
        tensor("vision_embeddings_model", f"{TOWER}.1.self_attn.out_proj.qweight", np.transpose),
        P3,
        ONE,
    ),
    Fault(
        "two layers read each other's weights",
        "order",
        IR,
        "P3",
        "decoder, layer 1,*",
        ir("language_model", ir_mutations.swap_constants(*(f"model.layers.{n}.mlp.down_proj.qweight" for n in (1, 3)))),
        P3,
        TEXT,
    ),
    Fault(
        "new keys in front of old ones",
        "cache",
        IR,
        "P3",
        "decoder, layer 2,*",
        ir("language_model", ir_mutations.put_new_tokens_first(KEYS)),
        P3,
        TEXT,
    ),
    Fault(
        "a cache that does not grow",
        "cache",
        IR,
        "P3",
        "decoder, layer 2,*",
        ir("language_model", ir_mutations.keep_old_state(KEYS)),
        P3,
        TEXT,
    ),
    Fault(
        "a cache that ignores beams",
        "cache",
        IR,
        "P3",
        "decoder, layer 2,*",
        ir("language_model", ir_mutations.ignore_beams(KEYS)),
        P3,
        TEXT,
    ),
    Fault("separators exchanged", "layout", IR, "P3", "vision_encoder, image_features", separators, P3, ONE),
    Fault("an input's type in the graph", "structure", IR, "P0", "text_embeddings, *", wider, ("P0",), TEXT),
    Fault("no graph in the file", "structure", IR, "P0", "language_model, *", no_graph, ("P0",), TEXT),
    Fault(
        "a block's scale doubled",
        "weights",
        PACKAGES,
        "P3",
        "decoder, layer 2,*",
        constant(CHUNKS[1], "model.layers.2.mlp.down_proj.weight", "scale", double_scale),
        P3,
        TEXT,
    ),
    Fault(
        "a transposed weight",
        "layout",
        PACKAGES,
        "P3",
        "decoder, layer 1,*",
        constant(CHUNKS[0], "model.layers.1.self_attn.o_proj.weight", "data", np.transpose),
        P3,
        TEXT,
    ),
    Fault(
        "keys written one row late",
        "cache",
        PACKAGES,
        "P3",
        "decoder, layer 0,*",
        program(CHUNKS[0], "decode", coreml_mutations.write_one_row_later),
        P3,
        TEXT,
    ),
    Fault(
        "keys written to the neighbour's state",
        "cache",
        PACKAGES,
        "P3",
        "decoder, layer 2,*",
        program(CHUNKS[1], "prefill", coreml_mutations.write_to_the_neighbour),
        P3,
        TEXT,
    ),
    Fault("chunks with each other's weights", "order", PACKAGES, "P3", "decoder, layer 0,*", swap_chunks, P3, TEXT),
    Fault(
        "a chunk in the place of another",
        "structure",
        PACKAGES,
        "P0",
        "packages, *",
        same_chunk_twice,
        ("P0", "P3"),
        TEXT,
    ),
    Fault(
        "a channel's scale doubled",
        "weights",
        PACKAGES_DUAL,
        "P3",
        "image_encoder*, layer 2,*",
        constant("image_encoder", "visual.trunk.blocks.2.attn.proj.weight", "scale", double_scale),
        P3,
    ),
    Fault(
        "a transposed weight",
        "layout",
        PACKAGES_DUAL,
        "P3",
        "image_encoder*, layer 2,*",
        constant("image_encoder", "visual.trunk.blocks.2.attn.proj.weight", "data", np.transpose),
        P3,
    ),
    Fault(
        "a weight file cut off",
        "structure",
        PACKAGES_DUAL,
        "P0",
        "image_encoder, *",
        cut_weights("image_encoder"),
        ("P0", "P3"),
    ),
)
