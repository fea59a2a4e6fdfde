"""Every number of a Phi-3-Vision model, read from the checkpoint's `config.json`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from nexus_edge.errors import CheckpointError
from nexus_edge.layers.clip_vision import ClipVisionParams
from nexus_edge.layers.decoder import DecoderParams
from nexus_edge.layers.long_rope import LongRopeParams
from nexus_edge.models.config_values import check_multiple, count, table

MODEL_TYPE = "phi3_v"


@dataclass(frozen=True)
class Phi3VisionParams:
    """The numbers of a Phi-3-Vision; sizes in channels, counts of layers, heads and tokens."""

    vocab_size: int
    num_hidden_layers: int
    max_position_embeddings: int
    decoder: DecoderParams
    rope: LongRopeParams
    vision: ClipVisionParams

    @property
    def hidden_size(self) -> int:
        return self.decoder.hidden_size

    @classmethod
    def from_json(cls, config: Mapping[str, Any]) -> "Phi3VisionParams":
        """From the parsed `config.json`.

        The official file does not describe the CLIP tower: ViT-L/14-336 is the default, and an object
        `img_processor.vision_config` with CLIP's own key names overrides it.

        Raises:
            CheckpointError: a key is missing, or holds what this model cannot be built from.
        """
        try:
            return cls._from_json(config)
        except KeyError as error:
            raise CheckpointError(f"config.json: missing key {error.args[0]!r}") from error
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"config.json: {error}") from error

    @classmethod
    def _from_json(cls, config: Mapping[str, Any]) -> "Phi3VisionParams":
        if config.get("model_type") != MODEL_TYPE:
            raise CheckpointError(f"config.json: model_type is {config.get('model_type')!r}, expected {MODEL_TYPE!r}")
        hidden, heads = count(config, "hidden_size"), count(config, "num_attention_heads")
        kv_heads = count(config, "num_key_value_heads", heads)
        check_multiple("hidden_size", hidden, "num_attention_heads", heads)
        check_multiple("num_attention_heads", heads, "num_key_value_heads", kv_heads)
        context = count(config, "max_position_embeddings")
        window = count(config, "sliding_window", context)
        return cls(
            vocab_size=count(config, "vocab_size"),
            num_hidden_layers=count(config, "num_hidden_layers"),
            max_position_embeddings=context,
            decoder=DecoderParams(
                hidden_size=hidden,
                intermediate_size=count(config, "intermediate_size"),
                num_heads=heads,
                num_kv_heads=kv_heads,
                rms_norm_eps=float(config["rms_norm_eps"]),
                # A window as long as the context hides nothing; the fused kernels are spared it.
                window=-1 if window >= context else window,
            ),
            rope=_rope_params(config, hidden // heads, context),
            vision=_vision_params(config),
        )

    @classmethod
    def phi3_vision(cls) -> "Phi3VisionParams":
        """microsoft/Phi-3-vision-128k-instruct."""
        return cls.from_json(published_config("phi3_vision"))

    @classmethod
    def phi3_5_vision(cls) -> "Phi3VisionParams":
        """microsoft/Phi-3.5-vision-instruct."""
        return cls.from_json(published_config("phi3_5_vision"))

    @classmethod
    def tiny(cls) -> "Phi3VisionParams":
        """The embedded checkpoint that this project trains."""
        return cls.from_json(json.loads((files("nexus_edge") / "assets/tiny_phi3_v/config.json").read_text()))


def published_config(name: str) -> dict[str, Any]:
    """The `config.json` numbers that were published for a model."""
    data = json.loads((files("nexus_edge") / f"checkpoints/data/{name}.json").read_text())
    config: dict[str, Any] = data["config"]
    return config


def _rope_params(config: Mapping[str, Any], head_dim: int, context: int) -> LongRopeParams:
    original = count(config, "original_max_position_embeddings", context)
    scaling = table(config, "rope_scaling")
    if not scaling:
        ones = (1.0,) * (head_dim // 2)
        return LongRopeParams(float(config["rope_theta"]), ones, ones, context, context)
    lists = {}
    for name in ("short_factor", "long_factor"):
        lists[name] = tuple(float(value) for value in scaling[name])
        if len(lists[name]) != head_dim // 2:
            raise ValueError(f"rope_scaling.{name} has {len(lists[name])} numbers, head_dim / 2 is {head_dim // 2}")
    if scaling["type"] not in ("su", "longrope", "yarn"):
        raise ValueError(f"rope_scaling.type is {scaling['type']!r}, known are su, longrope, yarn")
    kind = "yarn" if scaling["type"] == "yarn" else "su"
    return LongRopeParams(
        float(config["rope_theta"]),
        **lists,
        original_max_position_embeddings=original,
        max_position_embeddings=context,
        kind=kind,
    )


def _vision_params(config: Mapping[str, Any]) -> ClipVisionParams:
    vision = table(table(config, "img_processor"), "vision_config") or table(config, "_golden_clip_vision_config")
    default = ClipVisionParams()
    params = ClipVisionParams(
        hidden_size=count(vision, "hidden_size", default.hidden_size),
        intermediate_size=count(vision, "intermediate_size", default.intermediate_size),
        num_hidden_layers=count(vision, "num_hidden_layers", default.num_hidden_layers),
        num_attention_heads=count(vision, "num_attention_heads", default.num_attention_heads),
        image_size=count(vision, "image_size", default.image_size),
        patch_size=count(vision, "patch_size", default.patch_size),
        layer_norm_eps=float(vision.get("layer_norm_eps", default.layer_norm_eps)),
    )
    check_multiple("vision hidden_size", params.hidden_size, "num_attention_heads", params.num_attention_heads)
    if params.image_size != default.image_size or params.patch_size != default.patch_size:
        raise ValueError("the HD layout needs crops of 336 pixels and patches of 14")
    return params
