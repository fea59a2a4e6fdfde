"""The numbers of the blocks, without torch: what a configuration means is read where none is installed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nexus_edge.configs.values import check_multiple, choice, count, layer_count, number

ACTIVATION_NAMES = ("silu", "swish", "gelu", "quick_gelu", "relu")
"""Of `nexus_edge.layers.activations.ACTIVATIONS`."""


@dataclass(frozen=True)
class VitParams:
    """The numbers of a vision transformer; the defaults are ViT-B/16 at 224 pixels."""

    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    image_size: int = 224
    patch_size: int = 16
    layer_norm_eps: float = 1e-6

    @property
    def grid(self) -> int:
        """Patches along one side of an image."""
        return self.image_size // self.patch_size


@dataclass(frozen=True)
class BertParams:
    """The numbers of a BERT; the defaults are BERT-base with PubMedBERT's vocabulary of 30,522."""

    vocab_size: int = 30522
    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12


@dataclass(frozen=True)
class ClipVisionParams:
    """The numbers of a CLIP tower; the defaults are ViT-L/14 at 336 pixels.

    `depth` is how many layers the features went through: None is all but the last.
    """

    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    image_size: int = 336
    patch_size: int = 14
    layer_norm_eps: float = 1e-5
    hidden_act: str = "quick_gelu"
    depth: int | None = None

    @property
    def grid(self) -> int:
        """Patches along one side of a crop."""
        return self.image_size // self.patch_size


CLIP_DEFAULTS = ClipVisionParams()


def read_clip(
    vision: Mapping[str, Any], feature_layer: int, named: str, default: ClipVisionParams = CLIP_DEFAULTS
) -> ClipVisionParams:
    """The numbers of a tower under CLIP's own key names.

    Args:
        vision: the parsed object
        feature_layer: index of the hidden state that is taken, of which the first is the input's; from the end if < 0
        named: the key that says so, for messages
        default: what absent keys mean

    Raises:
        ValueError, TypeError: naming the key that is wrong.
    """
    layers = layer_count(vision, "num_hidden_layers", default.num_hidden_layers)
    depth = feature_layer if feature_layer >= 0 else layers + 1 + feature_layer
    if not 1 <= depth <= layers:
        raise ValueError(f"{named} is {feature_layer}, and the tower has {layers} layers")
    params = ClipVisionParams(
        hidden_size=count(vision, "hidden_size", default.hidden_size),
        intermediate_size=count(vision, "intermediate_size", default.intermediate_size),
        num_hidden_layers=layers,
        num_attention_heads=count(vision, "num_attention_heads", default.num_attention_heads),
        image_size=count(vision, "image_size", default.image_size),
        patch_size=count(vision, "patch_size", default.patch_size),
        layer_norm_eps=number(vision, "layer_norm_eps", default.layer_norm_eps),
        hidden_act=choice(vision, "hidden_act", ACTIVATION_NAMES, default.hidden_act),
        depth=depth,
    )
    check_multiple("vision hidden_size", params.hidden_size, "num_attention_heads", params.num_attention_heads)
    return params


@dataclass(frozen=True)
class DecoderParams:
    """The numbers of a decoder block.

    Attributes:
        window: tokens before itself that a token sees at most; negative: all of them
        fused: one weight holds query, key and value, and one gate and up, as checkpoints of the Phi-3 family store them
    """

    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_kv_heads: int
    rms_norm_eps: float
    window: int = -1
    hidden_act: str = "silu"
    fused: bool = True

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads


@dataclass(frozen=True)
class LlamaParams:
    """The numbers of a decoder; sizes in channels, counts of layers and tokens.

    Attributes:
        rope_theta: base of the frequencies
        tied: the language head's weight is the embedding's
    """

    vocab_size: int
    num_hidden_layers: int
    max_position_embeddings: int
    decoder: DecoderParams
    rope_theta: float
    tied: bool = False

    @property
    def hidden_size(self) -> int:
        return self.decoder.hidden_size
