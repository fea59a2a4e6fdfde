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
        hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
        if heads < 1 or hidden % heads:
            raise ValueError(f"hidden_size {hidden} is not a multiple of num_attention_heads {heads}")
        context = int(config["max_position_embeddings"])
        window = config.get("sliding_window")
        return cls(
            vocab_size=int(config["vocab_size"]),
            num_hidden_layers=int(config["num_hidden_layers"]),
            max_position_embeddings=context,
            decoder=DecoderParams(
                hidden_size=hidden,
                intermediate_size=int(config["intermediate_size"]),
                num_heads=heads,
                num_kv_heads=int(config.get("num_key_value_heads") or heads),
                rms_norm_eps=float(config["rms_norm_eps"]),
                # A window as long as the context hides nothing; the fused kernels are spared it.
                window=-1 if window is None or int(window) >= context else int(window),
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
    original = int(config.get("original_max_position_embeddings") or context)
    scaling = config.get("rope_scaling")
    if scaling is None:
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
    vision = config.get("img_processor", {}).get("vision_config") or config.get("_golden_clip_vision_config") or {}
    default = ClipVisionParams()
    params = ClipVisionParams(
        hidden_size=int(vision.get("hidden_size", default.hidden_size)),
        intermediate_size=int(vision.get("intermediate_size", default.intermediate_size)),
        num_hidden_layers=int(vision.get("num_hidden_layers", default.num_hidden_layers)),
        num_attention_heads=int(vision.get("num_attention_heads", default.num_attention_heads)),
        image_size=int(vision.get("image_size", default.image_size)),
        patch_size=int(vision.get("patch_size", default.patch_size)),
        layer_norm_eps=float(vision.get("layer_norm_eps", default.layer_norm_eps)),
    )
    if params.image_size != default.image_size or params.grid != default.grid:
        raise ValueError("the HD layout needs crops of 336 pixels and a grid of 24 x 24 patches")
    return params
