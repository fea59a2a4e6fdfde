"""How BiomedCLIP runs elsewhere: open_clip in torch, and its towers as plain ONNX in ONNX Runtime and OpenVINO.

Used by biomedclip_speed.py. Each function returns an encoder of one tower: float32 pixels [batch, 3, side, side] or
int64 ids [batch, tokens] to unit vectors [batch, dim].
"""

import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nexus_edge.checkpoints import Checkpoint

Encoder = Callable[[np.ndarray], np.ndarray]
INPUTS = {"image": "pixel_values", "text": "input_ids"}
WEIGHTS, CONFIG = "open_clip.pt", "text_config"


class Tower(nn.Module):
    """One half of open_clip's model."""

    def __init__(self, model: Any, tower: str) -> None:
        super().__init__()
        self.model, self.tower = model, tower

    def forward(self, inputs: Tensor) -> Tensor:
        """Unit vectors [batch, dim]"""
        encode = self.model.encode_image if self.tower == "image" else self.model.encode_text
        vectors: Tensor = encode(inputs, normalize=True)
        return vectors


def prepare(checkpoint: Checkpoint, weights: dict[str, Tensor], inputs: dict[str, np.ndarray], folder: Path) -> None:
    """Write what the peers read: open_clip's weights, and its towers as ONNX, in float32 and dynamically quantized."""
    import transformers
    from onnxruntime.quantization import QuantType, quantize_dynamic

    folder.mkdir(parents=True, exist_ok=True)
    transformers.BertConfig(**checkpoint.config["text_config"]).save_pretrained(folder / CONFIG)
    torch.save(weights, folder / WEIGHTS)
    model = build(checkpoint.config["model_cfg"], folder)
    model.load_state_dict(weights)
    for tower, name in INPUTS.items():
        example = torch.from_numpy(inputs[tower][:2])
        free = {0: "batch"} if tower == "image" else {0: "batch", 1: "tokens"}
        torch.onnx.export(
            Tower(model, tower).eval(), (example,), folder / f"{tower}.onnx",
            dynamo=True, opset_version=18, verbose=False,
            input_names=[name], output_names=["vectors"], dynamic_shapes=(free,),
        )  # fmt: skip
        quantize_dynamic(folder / f"{tower}.onnx", folder / f"{tower}.int8.onnx", weight_type=QuantType.QInt8)


def build(config: dict[str, Any], folder: Path) -> nn.Module:
    """open_clip's model of a checkpoint's configuration, with random weights."""
    open_clip = _import_open_clip()
    import timm

    vision, text = dict(config["vision_cfg"]), dict(config["text_cfg"])
    numbers = vision.pop("timm_kwargs", None)
    create = timm.create_model
    if numbers is not None:  # open_clip itself knows timm's models by name only
        timm.create_model = functools.partial(create, img_size=vision["image_size"], **numbers)
        vision["timm_model_name"] = "vit_base_patch16_224"
    text |= {"hf_model_name": str(folder / CONFIG), "hf_model_pretrained": False}
    text.pop("hf_tokenizer_name", None)
    try:
        model: nn.Module = open_clip.CustomTextCLIP(config["embed_dim"], vision, text).eval()
    finally:
        timm.create_model = create
    return model


def open_clip(config: dict[str, Any], folder: Path, tower: str, threads: int, dtype: torch.dtype) -> Encoder:
    """open_clip itself; it always holds both towers."""
    torch.set_num_threads(threads)
    model = build(config, folder)
    model.load_state_dict(torch.load(folder / WEIGHTS, mmap=True, weights_only=True), assign=True)
    half = Tower(model.to(dtype), tower)

    def encode(values: np.ndarray) -> np.ndarray:
        inputs = torch.from_numpy(values)
        with torch.inference_mode():
            return half(inputs.to(dtype) if tower == "image" else inputs).float().numpy()

    return encode


def onnxruntime(file: Path, threads: int) -> Encoder:
    """A plain ONNX file in ONNX Runtime, with the options that its users have: on x86 without VNNI int8 saturates."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    (name,) = (value.name for value in session.get_inputs())
    return lambda values: session.run(None, {name: values})[0]


def openvino(file: Path, threads: int, precision: str) -> Encoder:
    """The same file in OpenVINO, which computes in `precision`: f32 or bf16."""
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(file, "CPU", settings)
    return lambda values: np.array(compiled([values])[0])


def _import_open_clip() -> Any:
    """It imports torchvision, whose published build stops at operators that a torch without CUDA does not have."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEEP.append(library)
    return importlib.import_module("open_clip")


_KEEP: list[Any] = []  # a library takes its operators along when it is collected
