"""Phi-3-Vision by optimum-intel, as a folder that OpenVINO GenAI's VLMPipeline runs: the peer of `openvino_speed.py`.

    python benchmarks/openvino_peer.py CHECKPOINT OUT

Runs in an environment of its own with optimum-intel, nncf and openvino (it does not import nexus-edge; optimum-intel
wants an older transformers than ours). optimum-intel itself exports Phi-3-Vision only through the model's remote code,
which today's transformers reject. So the parts are put together here: transformers' Phi3ForCausalLM with LongRoPE and
CLIPVisionModel hold the checkpoint's weights, and optimum-intel's own functions do the rest, with the configurations
that it registers for `phi3_v` and the weights that its int4 defaults give: the decoder asymmetric int4 in groups of 128
with 8 bits in the last layer, every other part symmetric int8. The tokenizer and JSON files are `openvino_speed.py`'s.
"""

import gc
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import nncf
import openvino as ov
import torch
from optimum.exporters.openvino.convert import export
from optimum.exporters.openvino.model_configs import (
    Phi3VisionConfigBehavior,
    Phi3VisionOpenVINOConfig,
    get_vlm_text_embeddings_config,
    get_vlm_text_generation_config,
)
from optimum.intel.openvino.configuration import _DEFAULT_4BIT_WQ_CONFIG, OVWeightQuantizationConfig
from optimum.intel.openvino.quantization import _weight_only_quantization
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel, Phi3Config, Phi3ForCausalLM

VISION = "model.vision_embed_tokens."
CLIP = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
        "image_size": 336, "patch_size": 14}  # fmt: skip
INT4 = OVWeightQuantizationConfig(**_DEFAULT_4BIT_WQ_CONFIG)
INT8 = OVWeightQuantizationConfig(bits=8, sym=True)


class Vision(nn.Module):
    """The part of Phi-3-Vision that its remote code adds to Phi-3, as far as optimum-intel asks for it."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.img_processor = CLIPVisionModel(CLIPVisionConfig(**CLIP))
        self.img_projection = nn.Sequential(
            nn.Linear(4 * CLIP["hidden_size"], hidden_size), nn.GELU(), nn.Linear(hidden_size, hidden_size)
        )

    def get_img_features(self, pixel_values: Tensor) -> Tensor:
        """[crops, 3, 336, 336] -> [crops, 576, 1024]: the last layer but one, without the class token."""
        return self.img_processor(pixel_values, output_hidden_states=True).hidden_states[-2][:, 1:]


def read_weights(checkpoint: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The language model's and the vision part's, as they are stored."""
    tensors = {
        key: tensor for file in sorted(checkpoint.glob("*.safetensors")) for key, tensor in load_file(file).items()
    }
    text = {key: tensor for key, tensor in tensors.items() if not key.startswith(VISION)}
    vision = {key.removeprefix(VISION): tensor for key, tensor in tensors.items() if key.startswith(VISION)}
    return text, vision


def text_config(checkpoint: dict[str, Any]) -> Phi3Config:
    """Phi-3's part of config.json, in the words of transformers 5."""
    wanted = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
              "num_key_value_heads", "rms_norm_eps", "max_position_embeddings", "original_max_position_embeddings",
              "sliding_window")  # fmt: skip
    rope = {**checkpoint["rope_scaling"], "rope_type": "longrope", "rope_theta": checkpoint["rope_theta"]}
    rope["original_max_position_embeddings"] = checkpoint["original_max_position_embeddings"]
    del rope["type"]
    config = Phi3Config(**{name: checkpoint[name] for name in wanted}, rope_parameters=rope, pad_token_id=None)
    config.embd_layer, config.img_processor = checkpoint["embd_layer"], checkpoint["img_processor"]
    return config


def parts(checkpoint: Path) -> dict[str, tuple[nn.Module, Any, OVWeightQuantizationConfig]]:
    """Name -> module, how optimum-intel exports it, how it compresses it."""
    values = json.loads((checkpoint / "config.json").read_text("utf-8"))
    config = text_config(values)
    text, vision_weights = read_weights(checkpoint)
    with torch.device("meta"):
        model = Phi3ForCausalLM(config)
    model.load_state_dict(text, assign=True)
    model.model.rotary_emb = type(model.model.rotary_emb)(config)  # its tables are no weights
    vision = Vision(config.hidden_size).to(torch.bfloat16)
    missing = vision.load_state_dict(vision_weights, strict=False)
    assert not [key for key in missing.missing_keys if "position_ids" not in key], missing
    embedding, projection = model.model.embed_tokens, vision.img_projection
    for part in (embedding, projection):
        part.config = config
    vision.config = vision.img_processor.config
    types = ("int64", "fp32")
    projected = Phi3VisionOpenVINOConfig(config, behavior=Phi3VisionConfigBehavior.VISION_PROJECTION)
    return {
        "vision_embeddings": (vision.eval(), Phi3VisionOpenVINOConfig(vision.config), INT8),
        "vision_projection": (projection, projected, INT8),
        "text_embeddings": (embedding, get_vlm_text_embeddings_config("phi3", config, *types), INT8),
        "language": (model.eval(), get_vlm_text_generation_config("phi3", config, *types), INT4),
    }


def main(checkpoint: Path, out: Path) -> None:
    """Write the four IRs."""
    Phi3VisionOpenVINOConfig.MAX_TRANSFORMERS_VERSION = None  # that of the remote code, which is not used
    started = time.perf_counter()
    out.mkdir(parents=True)
    models = parts(checkpoint)
    while models:
        name, (module, config, compression) = models.popitem()
        plain = out / f"{name}.xml"
        export(module, config, plain, stateful=name == "language", patch_16bit_model=True, library_name="transformers")
        del module
        gc.collect()
        compressed = _weight_only_quantization(ov.Core().read_model(plain), compression)
        ov.save_model(compressed, out / f"openvino_{name}_model.xml", compress_to_fp16=False)
        del compressed
        for suffix in (".xml", ".bin"):
            plain.with_suffix(suffix).unlink()
    size = sum(file.stat().st_size for file in out.iterdir())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"{out}: {size / 1e9:.2f} GB, {time.perf_counter() - started:.0f} s, peak RSS {peak / 1e9:.1f} GB", end=", ")
    print(f"nncf {nncf.__version__}, decoder {_DEFAULT_4BIT_WQ_CONFIG}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
