"""A very small vision-language bundle made with onnx.helper, and the same decoder in numpy without any cache.

The decoder has two layers, GroupQueryAttention, and one list of LongRoPE frequencies for sequences up to `ROPE_LIMIT`
and another beyond. An image always takes 313 tokens (one crop). Weights are random, so answers are noise.
"""

import json
from pathlib import Path

import numpy as np
import onnx
import tokenizers
from onnx import TensorProto, helper, numpy_helper
from tokenizers import decoders, models, normalizers

from nexus_edge.bundle import Bundle, BundleWriter, GraphInfo, Manifest, Source, TensorSpec

HEADS, HEAD_DIM, LAYERS = 2, 16, 2
HIDDEN = HEADS * HEAD_DIM
ROPE_LIMIT, CONTEXT = 700, 900
SHORT = 1.0 / 100.0 ** (np.arange(HEAD_DIM // 2, dtype=np.float32) / (HEAD_DIM // 2))
LONG = SHORT / 3
INT8_STEP = 0.05  # of a cached value
SPECIAL = ("<|end|>", "<|assistant|>", "<|user|>", "<|system|>", "<|endoftext|>", "<s>", "</s>")
OPSETS = [helper.make_opsetid("", 23), helper.make_opsetid("com.microsoft", 1)]


def tokenizer() -> tokenizers.Tokenizer:
    """Bytes, ASCII and the special tokens, no merges."""
    pieces = [f"<0x{byte:02X}>" for byte in range(256)] + ["▁", *map(chr, range(33, 127))]
    vocab = {"<unk>": 0} | {piece: id_ for id_, piece in enumerate(pieces, start=1)}
    core = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>", byte_fallback=True))
    core.normalizer = normalizers.Replace(" ", "▁")
    core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    core.add_special_tokens(["<unk>", *SPECIAL])
    return core


VOCAB = tokenizer().get_vocab_size()


def weights() -> dict[str, np.ndarray]:
    random = np.random.default_rng(7)

    def matrix(*shape: int, scale: float = 1.0) -> np.ndarray:
        return (random.standard_normal(shape) * scale / np.sqrt(shape[0])).astype(np.float32)

    layers = {f"qkv{i}": matrix(HIDDEN, 3 * HIDDEN, scale=1.5) for i in range(LAYERS)}
    layers |= {f"out{i}": matrix(HIDDEN, HIDDEN) for i in range(LAYERS)}
    table = random.standard_normal((VOCAB, HIDDEN)).astype(np.float32)
    head = matrix(HIDDEN, VOCAB, scale=3.0)
    head[:, 1:257] *= 0.1  # answers are letters rather than bytes, so that there is text to look at
    return layers | {"table": table, "head": head}


def features_of(pixel_values: np.ndarray) -> np.ndarray:
    """What the toy vision encoder computes of one image: [313, hidden]"""
    angle = np.arange(1, 314, dtype=np.float32)[:, None] * SHORT[0] * np.linspace(0.1, 2, HIDDEN, dtype=np.float32)
    return np.sin(angle * (2 + pixel_values.min()))


def reference_logits(ids: np.ndarray, features: np.ndarray | None = None, cache: str = "float32") -> np.ndarray:
    """Logits [vocab] after `ids`, computed from scratch; keys and values as a `cache` of this type holds them."""
    w, total = weights(), len(ids)
    x = w["table"][np.maximum(ids, 0)]
    if features is not None:
        x[ids < 0] = features
    angles = np.arange(total, dtype=np.float32)[:, None, None] * (LONG if total > ROPE_LIMIT else SHORT)
    cos, sin = np.cos(angles), np.sin(angles)

    def rotate(t: np.ndarray) -> np.ndarray:
        first, second = np.split(t, 2, axis=-1)
        return np.concatenate((first * cos - second * sin, second * cos + first * sin), axis=-1)

    for i in range(LAYERS):
        q, k, v = (t.reshape(total, HEADS, HEAD_DIM) for t in np.split(x @ w[f"qkv{i}"], 3, axis=-1))
        k = rotate(k)
        if cache == "int8":
            k, v = (np.clip(np.round(t / INT8_STEP), -128, 127) * INT8_STEP for t in (k, v))
        scores = np.einsum("qhd,khd->hqk", rotate(q), k) / np.sqrt(HEAD_DIM)
        scores = np.where(np.tri(total, dtype=bool), scores, -np.inf)
        p = np.exp(scores - scores.max(axis=-1, keepdims=True))
        context = np.einsum("hqk,khd->qhd", p / p.sum(axis=-1, keepdims=True), v).reshape(total, HIDDEN)
        x = x + context @ w[f"out{i}"]
    return x[-1] @ w["head"]


def write_bundle(out: Path, cache: str = "float32", context: int = CONTEXT) -> Bundle:
    """A complete bundle at `out`; `cache` is float32 or int8."""
    graphs = {"vision_encoder": _vision(), "embed_tokens": _embed(), "decoder": _decoder(cache)}
    with BundleWriter(out) as writer:
        (writer.root / "onnx").mkdir()
        for name, model in graphs.items():
            onnx.save(
                model,
                writer.root / "onnx" / f"{name}.onnx",
                save_as_external_data=True,
                location=f"{name}.data",
                size_threshold=1024,
                convert_attribute=False,
            )
        _write_processor(writer.root / "processor", context)
        writer.commit(
            Manifest(
                model_type="phi3_v",
                name=out.name,
                toolkit_version="0",
                source=Source("toy", None, "synthetic"),
                recipe={"name": "toy"},
                targets=("onnx",),
                graphs={"onnx": {name: _info(name, model) for name, model in graphs.items()}},
                context_length=context,
            )
        )
    return Bundle.open(out)


def _write_processor(folder: Path, context: int) -> None:
    folder.mkdir()
    tokenizer().save(str(folder / "tokenizer.json"))
    rope = {
        "original_max_position_embeddings": ROPE_LIMIT,
        "max_position_embeddings": context,
        "rope_scaling": {"type": "su"},
    }
    for name, content in {
        "config.json": {"model_type": "phi3_v", "vocab_size": VOCAB, **rope},
        "tokenizer_config.json": {"bos_token": "<s>"},
        "preprocessor_config.json": {"num_crops": 1, "num_img_tokens": 144},
    }.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")


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

    return GraphInfo(f"onnx/{name}.onnx", specs(model.graph.input), specs(model.graph.output), "float32")


class _Graph:
    """Collects nodes and constants; every method returns the name of a value."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: object, dtype: type = np.int64) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def node(self, operator: str, *inputs: str, outputs: tuple[str, ...] = (), domain: str = "", **attributes) -> str:
        outputs = outputs or (f"value_{len(self.nodes)}",)
        self.nodes.append(helper.make_node(operator, inputs, outputs, domain=domain, **attributes))
        return outputs[0]

    def model(self, name: str, inputs: list, outputs: list) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, name, inputs, outputs, self.constants)
        return helper.make_model(graph, opset_imports=OPSETS, ir_version=11)


def _tensor(name: str, kind: int, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _vision() -> onnx.ModelProto:
    g = _Graph()
    positions = g.constant(np.arange(1, 314)[:, None] * SHORT[0] * np.linspace(0.1, 2, HIDDEN), np.float32)
    shift = g.node("Add", g.node("ReduceMin", "pixel_values", keepdims=0), g.constant(2, np.float32))
    g.node("Sin", g.node("Mul", positions, shift), outputs=("image_features",))
    inputs = [
        _tensor("pixel_values", TensorProto.FLOAT, "images", "crops", 3, 336, 336),
        _tensor("image_sizes", TensorProto.INT64, "images", 2),
    ]
    return g.model("vision_encoder", inputs, [_tensor("image_features", TensorProto.FLOAT, 313, HIDDEN)])


def _embed() -> onnx.ModelProto:
    g = _Graph()
    zero, one = g.constant(0), g.constant([1])
    is_image = g.node("Less", "input_ids", zero)
    places = g.node("Cast", is_image, to=TensorProto.INT64)
    text = g.node("Gather", g.constant(weights()["table"], np.float32), g.node("Max", "input_ids", zero))
    row = g.node("Mul", g.node("CumSum", places, one), places)
    nothing = g.constant(np.zeros((1, HIDDEN)), np.float32)
    rows = g.node("Gather", g.node("Concat", nothing, "image_features", axis=0), row)
    g.node("Where", g.node("Unsqueeze", is_image, g.constant([2])), rows, text, outputs=("inputs_embeds",))
    inputs = [
        _tensor("input_ids", TensorProto.INT64, "batch", "tokens"),
        _tensor("image_features", TensorProto.FLOAT, "rows", HIDDEN),
    ]
    return g.model("embed_tokens", inputs, [_tensor("inputs_embeds", TensorProto.FLOAT, "batch", "tokens", HIDDEN)])


def _decoder(cache: str) -> onnx.ModelProto:
    g, w = _Graph(), weights()
    one, axis = g.constant(1), g.constant([1])
    total = g.node("Squeeze", g.node("Shape", "attention_mask", start=1, end=2))
    tokens = g.node("Squeeze", g.node("Shape", "inputs_embeds", start=1, end=2))
    last = g.node("Sub", g.node("ReduceSum", "attention_mask", axis, keepdims=0), one)
    lengths = [g.node("Cast", length, to=TensorProto.INT32) for length in (last, total)]
    is_long = g.node("Greater", total, g.constant(ROPE_LIMIT))
    frequencies = g.node("Where", is_long, g.constant(LONG, np.float32), g.constant(SHORT, np.float32))
    used = g.node("Squeeze", g.node("ReduceSum", "attention_mask", axis, keepdims=0))
    positions = g.node("Cast", g.node("Range", g.node("Sub", used, tokens), used, one), to=TensorProto.FLOAT)
    angles = g.node("Unsqueeze", g.node("Mul", g.node("Unsqueeze", positions, axis), frequencies), g.constant([0]))
    cos, sin = g.node("Cos", angles), g.node("Sin", angles)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(cache))
    # Inputs 7 to 13 are for rotary inside the operator, biases and the scales of a quantized cache.
    step = g.constant(INT8_STEP, np.float32)
    quantized = ["", "", "", "", "", step, step] if cache == "int8" else []
    types = {"k_quant_type": "PER_TENSOR", "v_quant_type": "PER_TENSOR", "kv_cache_bit_width": 8} if quantized else {}
    x = "inputs_embeds"
    for i in range(LAYERS):
        qkv = g.node("MatMul", x, g.constant(w[f"qkv{i}"], np.float32))
        q, k, v = (f"{part}{i}" for part in "qkv")
        g.node("Split", qkv, outputs=(q, k, v), axis=-1, num_outputs=3)
        q, k = (g.node("RotaryEmbedding", part, cos, sin, num_heads=HEADS) for part in (q, k))
        names = [f"past_key_values.{i}.key", f"past_key_values.{i}.value"]
        context = g.node(
            "GroupQueryAttention",
            *(q, k, v, *names, *lengths, *quantized),
            outputs=(f"context{i}", f"present.{i}.key", f"present.{i}.value"),
            domain="com.microsoft",
            num_heads=HEADS,
            kv_num_heads=HEADS,
            **types,
        )
        x = g.node("Add", x, g.node("MatMul", context, g.constant(w[f"out{i}"], np.float32)))
    newest = g.node("Slice", x, g.constant([-1]), g.constant([2**31]), axis)
    g.node("MatMul", newest, g.constant(w["head"], np.float32), outputs=("logits",))

    def cached(name: str, length: str) -> list[onnx.ValueInfoProto]:
        return [
            _tensor(f"{name}.{i}.{part}", kind, "batch", HEADS, length, HEAD_DIM)
            for i in range(LAYERS)
            for part in ("key", "value")
        ]

    embeds = _tensor("inputs_embeds", TensorProto.FLOAT, "batch", "tokens", HIDDEN)
    mask = _tensor("attention_mask", TensorProto.INT64, "batch", "total")
    inputs = [embeds, mask, *cached("past_key_values", "past")]
    outputs = [_tensor("logits", TensorProto.FLOAT, "batch", 1, VOCAB), *cached("present", "total")]
    return g.model("decoder", inputs, outputs)
