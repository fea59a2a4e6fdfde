"""A very small dual-encoder bundle made with onnx.helper, whose towers know three colours, and both towers in numpy.

An image's embedding is its mean colour and a constant; a text's is the sum of what its words mean: "red", "green" and
"blue" their colour, every other word a little of the constant. So a red image is nearest to a text that says red.
"""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from nexus_edge.bundle import Bundle, BundleWriter, DualEncoderInfo, GraphInfo, Manifest, Source, TensorSpec
from nexus_edge.bundle.hashing import hash_together

SIDE, CONTEXT, DIM, LOGIT_SCALE = 16, 12, 4, 5.0
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "green", "blue", "a", "photo", "of", "this", "is", "cell")
COLOURS = {"red": 0, "green": 1, "blue": 2}
OPSETS = [helper.make_opsetid("", 21)]


def plain_image(colour: str, width: int = 40, height: int = 30) -> Image.Image:
    """All of one colour."""
    return Image.new("RGB", (width, height), colour)


def write_images(folder: Path, *names: str) -> list[Path]:
    """Files such as `red.png` and `sub/blue.1.jpg`, in the colours of their names."""
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        plain_image(path.name.split(".")[0]).save(path)
    return paths


def table(tint: float = 1.0) -> np.ndarray:
    """What each word means: [words, dim]; `tint` makes another model of it."""
    meanings = np.zeros((len(WORDS), DIM), np.float32)
    meanings[:, 3] = 0.1
    for word, axis in COLOURS.items():
        meanings[WORDS.index(word), axis] = tint
    return meanings


def image_embedding(pixels: np.ndarray) -> np.ndarray:
    """[batch, 3, side, side] -> [batch, dim]"""
    means = pixels.mean(axis=(2, 3))
    rows = np.concatenate((means, np.ones((len(means), 1), np.float32)), axis=1)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def text_embedding(words: str) -> np.ndarray:
    """Of lower-case words between spaces, cut to the context: [dim]"""
    ids = [WORDS.index("[CLS]"), *(WORDS.index(word) if word in WORDS else 1 for word in words.split())]
    total = table()[[*ids[: CONTEXT - 1], WORDS.index("[SEP]")]].sum(axis=0)
    return total / np.linalg.norm(total)


def write_bundle(out: Path, *, tint: float = 1.0, nan: bool = False, logit_scale: float = LOGIT_SCALE) -> Bundle:
    """A complete bundle at `out`; with `nan`, its image tower computes nothing but NaN."""
    graphs = {"image_encoder": _image_encoder(tint, nan), "text_encoder": _text_encoder(tint)}
    with BundleWriter(out) as writer:
        (writer.root / "onnx").mkdir()
        for name, model in graphs.items():
            onnx.save(
                model,
                writer.root / "onnx" / f"{name}.onnx",
                save_as_external_data=True,
                location=f"{name}.data",
                size_threshold=64,  # the weights; what shapes depend on stays in the graph
                convert_attribute=False,
            )
        _write_processor(writer.root / "processor")
        towers = [
            hash_together(writer.root / "onnx" / f"{name}.{ending}" for ending in ("onnx", "data")) for name in graphs
        ]
        writer.commit(
            Manifest(
                model_type="biomedclip",
                name=out.name,
                toolkit_version="0",
                source=Source("toy", None, "synthetic"),
                recipe={"name": "toy"},
                targets=("onnx",),
                graphs={"onnx": {name: _info(name, model) for name, model in graphs.items()}},
                context_length=CONTEXT,
                dual_encoder=DualEncoderInfo(logit_scale, DIM, *towers),
            )
        )
    return Bundle.open(out)


def _write_processor(folder: Path) -> None:
    folder.mkdir()
    text, vision = {"context_length": CONTEXT}, {"image_size": SIDE}
    config = {"model_type": "biomedclip", "model_cfg": {"embed_dim": DIM, "vision_cfg": vision, "text_cfg": text}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")


def _info(name: str, model: onnx.ModelProto) -> GraphInfo:
    def specs(values: list[onnx.ValueInfoProto]) -> tuple[TensorSpec, ...]:
        return tuple(
            TensorSpec(
                value.name,
                str(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)),
                tuple(dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim),
            )
            for value in values
        )

    inputs, outputs = specs(model.graph.input), specs(model.graph.output)
    return GraphInfo(f"onnx/{name}.onnx", inputs, outputs, "float32", f"onnx/{name}.data")


def _image_encoder(tint: float, nan: bool) -> onnx.ModelProto:
    weights = np.diag(np.float32([1, 1, 1, np.nan if nan else tint]))
    values = {"axes": np.array([2, 3]), "one": np.ones((1, 1), np.float32), "row": np.array([1]), "weights": weights}
    nodes = [
        helper.make_node("ReduceMean", ["pixel_values", "axes"], ["means"], keepdims=0),
        helper.make_node("Shape", ["means"], ["batch"], start=0, end=1),
        helper.make_node("Concat", ["batch", "row"], ["shape"], axis=0),
        helper.make_node("Expand", ["one", "shape"], ["ones"]),
        helper.make_node("Concat", ["means", "ones"], ["rows"], axis=1),
        helper.make_node("MatMul", ["rows", "weights"], ["weighted"]),
        helper.make_node("LpNormalization", ["weighted"], ["image_embeds"], axis=1, p=2),
    ]
    given = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])
    return _model(nodes, given, "image_embeds", values)


def _text_encoder(tint: float) -> onnx.ModelProto:
    values = {"table": table(tint), "zero": np.array(0), "axis": np.array([2]), "tokens": np.array([1])}
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["meanings"]),
        helper.make_node("Greater", ["input_ids", "zero"], ["is_word"]),
        helper.make_node("Cast", ["is_word"], ["weights"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["weights", "axis"], ["mask"]),
        helper.make_node("Mul", ["meanings", "mask"], ["words"]),
        helper.make_node("ReduceSum", ["words", "tokens"], ["total"], keepdims=0),
        helper.make_node("LpNormalization", ["total"], ["text_embeds"], axis=1, p=2),
    ]
    given = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])
    return _model(nodes, given, "text_embeds", values)


def _model(
    nodes: list[onnx.NodeProto], given: onnx.ValueInfoProto, result: str, values: dict[str, np.ndarray]
) -> onnx.ModelProto:
    constants = [numpy_helper.from_array(value, name) for name, value in values.items()]
    output = helper.make_tensor_value_info(result, TensorProto.FLOAT, ["batch", DIM])
    graph = helper.make_graph(nodes, result, [given], [output], constants)
    return helper.make_model(graph, opset_imports=OPSETS, ir_version=10)
