"""Makes a decoder easier to round without changing what it computes.

Where the activations of a channel are large, an error of its weights counts more. So the weights' column is multiplied
by a factor, what makes the channel is divided by it, and the rounding of the group then errs less where it matters
(AWQ, arXiv 2306.00978, without its search). Factors follow the mean activation over a calibration text, and they are
powers of two: in full precision the equalized model is the original to the last bit, so that every rung of the parity
ladder may take it for the original. The weights themselves are made by `nexus_edge.checkpoints.transforms.equalize`.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nexus_edge.checkpoints.transforms.equalize import Factor
from nexus_edge.errors import BundleError
from nexus_edge.layers.decoder import DecoderLayer

POWER = 0.25  # of the mean activation; more makes groups so uneven that it loses again (quant/README.md)
LARGEST = 6  # as an exponent, up and down: a channel that is silent in one text may speak in another

Exponents = Mapping[str, NDArray[np.int8]]
"""Name of a weight [rows, columns] -> int8 [columns]: column i is multiplied by two to the power of entry i."""


@dataclass(frozen=True)
class Pair:
    """A weight, and the parameter whose rows (entries, of a norm) make its input.

    Attributes:
        consumer, producer: names of parameters
        first: the producer's row that makes the consumer's column 0; the others follow
        beside: further weights that take the same input, and so the same factors
    """

    consumer: str
    producer: str
    first: int = 0
    beside: tuple[str, ...] = ()

    @property
    def consumers(self) -> tuple[str, ...]:
        """All that take this input."""
        return (self.consumer, *self.beside)


def pairs_of(model: nn.Module) -> Iterator[Pair]:
    """Norms with the projections after them, and up with down: where a factor passes through unchanged.

    Attention's values and its output would do as well, but lose by it (quant/README.md).
    """
    for name, layer in model.named_modules():
        if not isinstance(layer, DecoderLayer):
            continue
        if layer.mlp.fused:
            gate_up = f"{name}.mlp.gate_up_proj.weight"
            yield Pair(f"{name}.self_attn.qkv_proj.weight", f"{name}.input_layernorm.weight")
            yield Pair(gate_up, f"{name}.post_attention_layernorm.weight")
            yield Pair(f"{name}.mlp.down_proj.weight", gate_up, first=layer.mlp.splits[0])
        else:
            query, key, value = (f"{name}.self_attn.{part}_proj.weight" for part in "qkv")
            gate, up, down = (f"{name}.mlp.{part}_proj.weight" for part in ("gate", "up", "down"))
            yield Pair(query, f"{name}.input_layernorm.weight", beside=(key, value))
            yield Pair(gate, f"{name}.post_attention_layernorm.weight", beside=(up,))
            yield Pair(down, up)


def exponents_of(activation: Tensor, power: float = POWER) -> NDArray[np.int8]:
    """Mean absolute activations [channels] -> int8 [channels]."""
    logarithms = activation.float().clamp(min=torch.finfo(torch.float32).tiny).log2()
    # Relative to the median: a factor that all channels share does nothing.
    exponents = (power * (logarithms - logarithms.median())).round().clamp(-LARGEST, LARGEST)
    return exponents.to(torch.int8).numpy()


def factors_of(model: nn.Module, exponents: Exponents) -> dict[str, list[Factor]]:
    """What equalizing does to each parameter of a model, by name.

    Args:
        model: in full precision; may be on the meta device
        exponents: of some consumers among `pairs_of(model)`

    Raises:
        BundleError: exponents that do not fit the model
    """
    factors: dict[str, list[Factor]] = defaultdict(list)
    shapes, left = dict(model.named_parameters()), dict(exponents)
    for pair in pairs_of(model):
        powers = exponents.get(pair.consumer)
        fits = powers is not None and powers.shape == shapes[pair.consumer].shape[1:]
        if powers is None or not fits or any(not _same(powers, exponents.get(name)) for name in pair.beside):
            continue
        factors[pair.producer].append(Factor(0, pair.first, -powers))
        for name in pair.consumers:
            factors[name].append(Factor(1, 0, powers))
            del left[name]
    if left:
        raise BundleError(f"equalization of {', '.join(left):.200} does not fit the model; export again")
    return factors


def _same(powers: NDArray[np.int8], other: NDArray[np.int8] | None) -> bool:
    return other is not None and np.array_equal(powers, other)
