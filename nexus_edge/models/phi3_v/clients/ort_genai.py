"""The configuration files that make an `onnx/` folder a model of ONNX Runtime GenAI (type `phi3v`, version 0.18).

Its parser refuses unknown keys, so nothing of our own is written here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nexus_edge.engines.onnx.session import NO_SATURATION
from nexus_edge.interfaces.target import ExportedModel, ReadWeight
from nexus_edge.models.phi3_v.model import Phi3V
from nexus_edge.models.phi3_v.params import Phi3VisionParams
from nexus_edge.models.phi3_v.processing import Phi3VProcessor
from nexus_edge.processing.templates.source import KEY, template_in

# GenAI allocates the whole KV cache of `max_length` tokens at the start when past and present share a buffer.
MAX_LENGTH = 4096


@dataclass(frozen=True)
class GenAIModel:
    """What the configuration says about the model: sizes, token ids, and the file of each graph."""

    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    context_length: int
    bos_token_id: int
    pad_token_id: int
    stop_ids: Sequence[int]


def phi3v_model(params: Phi3VisionParams, processor: Phi3VProcessor) -> GenAIModel:
    """The sizes of the model and the ids of its tokenizer."""
    tokenizer = processor.tokenizer
    stop_ids = [id_ for id_ in processor.stop_ids if id_ < params.vocab_size]
    pad = tokenizer.token_id("<|endoftext|>")
    return GenAIModel(
        vocab_size=params.vocab_size,
        hidden_size=params.hidden_size,
        num_layers=params.num_hidden_layers,
        num_heads=params.decoder.num_heads,
        num_kv_heads=params.decoder.num_kv_heads,
        head_dim=params.decoder.head_dim,
        context_length=params.max_position_embeddings,
        bos_token_id=tokenizer.bos_id or 0,
        pad_token_id=pad if pad is not None and pad < params.vocab_size else 0,
        stop_ids=stop_ids,
    )


def write_phi3v(folder: Path, exported: ExportedModel, read: ReadWeight) -> None:
    """Add to the graphs' folder what ONNX Runtime GenAI reads beside them."""
    assert isinstance(exported.model, Phi3V)
    files = exported.processor_files
    model = phi3v_model(exported.model.params, Phi3VProcessor.from_folder(folder.parent / "processor"))
    for name, config in (("genai_config.json", genai_config(model)), ("processor_config.json", processor_config())):
        (folder / name).write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    (folder / "tokenizer.json").write_bytes(files["tokenizer.json"])
    (folder / "tokenizer_config.json").write_bytes(with_template(files))


def with_template(files: Mapping[str, bytes]) -> bytes:
    """tokenizer_config.json with the chat template that counts, wherever it stands: GenAI reads it there alone."""
    content, template = files["tokenizer_config.json"], template_in(files, Path())
    config = json.loads(content)
    if template is None or config.get(KEY) == template.text:
        return content
    return json.dumps({**config, KEY: template.text}, indent=2).encode() + b"\n"


def genai_config(model: GenAIModel) -> dict[str, Any]:
    """genai_config.json."""
    # A key that GenAI does not know becomes an entry of ONNX Runtime's, in all three sessions.
    session = {"log_id": "onnxruntime-genai", "provider_options": [], **dict([NO_SATURATION])}
    return {
        "model": {
            "type": "phi3v",
            "vocab_size": model.vocab_size,
            "context_length": model.context_length,
            "bos_token_id": model.bos_token_id,
            "pad_token_id": model.pad_token_id,
            "eos_token_id": list(model.stop_ids),
            "vision": {
                "filename": "vision_encoder.onnx",
                "inputs": {"pixel_values": "pixel_values", "image_sizes": "image_sizes"},
                "outputs": {"image_features": "image_features"},
            },
            "embedding": {
                "filename": "embed_tokens.onnx",
                "inputs": {"input_ids": "input_ids", "image_features": "image_features"},
                "outputs": {"inputs_embeds": "inputs_embeds"},
            },
            "decoder": {
                "session_options": session,
                "filename": "decoder.onnx",
                "hidden_size": model.hidden_size,
                "head_size": model.head_dim,
                "num_attention_heads": model.num_heads,
                "num_key_value_heads": model.num_kv_heads,
                "num_hidden_layers": model.num_layers,
                "inputs": {
                    "inputs_embeds": "inputs_embeds",
                    "attention_mask": "attention_mask",
                    "past_key_names": "past_key_values.%d.key",
                    "past_value_names": "past_key_values.%d.value",
                },
                "outputs": {
                    "logits": "logits",
                    "present_key_names": "present.%d.key",
                    "present_value_names": "present.%d.value",
                },
            },
        },
        "search": {
            "do_sample": False,
            "num_beams": 1,
            "max_length": min(MAX_LENGTH, model.context_length),
            "past_present_share_buffer": True,
        },
    }


def processor_config() -> dict[str, Any]:
    """processor_config.json. The operator ignores a number of crops: GenAI always makes 16 and the global view."""

    def step(name: str, kind: str, **attributes: Any) -> dict[str, Any]:
        operation = {"name": name, "domain": "com.microsoft.extensions", "type": kind}
        return {"operation": operation | ({"attrs": attributes} if attributes else {})}

    return {
        "processor": {
            "name": "image_processing",
            "transforms": [
                step("decode_image", "DecodeImage", color_space="BGR"),
                step("convert_to_rgb", "ConvertRGB"),
                step("phi3_image_transform", "Phi3ImageTransform", num_crops=16, num_img_tokens=144),
            ],
        }
    }
