"""Runs a text through the decoder before it is quantized, and makes use of what its activations say.

Channels with large activations get finer weights (`nexus_edge.quant.equalize`), and the scales of groups are fitted
where errors count (`importance` of the quantizers). One layer is in memory at a time.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn

from nexus_edge._resources import calibration_dir
from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import Checkpoint, load_tensors, write_tensors
from nexus_edge.checkpoints.transforms.equalize import Equalized
from nexus_edge.errors import RecipeError
from nexus_edge.families import family_named, family_of
from nexus_edge.interfaces.progress import Progress
from nexus_edge.interfaces.weights import WeightSource
from nexus_edge.layers.decoder import DecoderLayer
from nexus_edge.models.base import as_vlm
from nexus_edge.models.loading import build_empty
from nexus_edge.parity.vlm.streamed import Call, Streamed, held, source_reader, walk_layers
from nexus_edge.pipeline.own_calibration import OwnCalibration, embedded
from nexus_edge.processing import from_checkpoint
from nexus_edge.quant.equalize import exponents_of, factors_of, pairs_of
from nexus_edge.recipe import Recipe

FILE = "equalization.safetensors"
"""In a bundle: what `nexus-edge parity` needs to compare stored weights with those of the checkpoint."""

TOKENS = 512  # of the text, at most: for as many, reading a layer's weights takes longer than multiplying by them


@dataclass(frozen=True)
class Prepared:
    """What is quantized.

    Attributes:
        weights: the original's, or those of the same model equalized
        importance: by the name of a weight, float32 [columns]: the mean square of its input
    """

    weights: WeightSource
    importance: Mapping[str, Tensor]


@dataclass(frozen=True)
class Activations:
    """Of a linear layer's input over all tokens, [channels] each."""

    mean: Tensor
    """of the absolute values"""
    square: Tensor
    """mean of the squares"""


def prepare(
    weights: WeightSource,
    full: nn.Module,
    recipe: Recipe,
    root: Path,
    progress: Progress,
    own: OwnCalibration | None = None,
) -> Prepared:
    """Calibrate the graphs whose recipe has a `calibration`; leaves `FILE` in `root` if there are any.

    Args:
        weights: of the full-precision model
        full: that model on the meta device
        own: the user's samples instead of the recipe's text

    Raises:
        RecipeError: a graph has no decoder layers
    """
    split, found = family_named(recipe.model_type).split(), dict[str, Activations]()
    for graph, chosen in recipe.graphs.items():
        if chosen.calibration is None:
            continue
        layers = [name for name in decoder_linears(full) if split.owner(name) == graph]
        if not layers:
            raise RecipeError(f"{recipe.name}: graphs: {graph}: has no decoder layers, which calibration is for")
        measured = measure(weights, own or chosen.calibration, progress)
        found |= {f"{name}.weight": measured[name] for name in layers}
    if not found:
        return Prepared(weights, {})
    exponents, importance = equalization(full, found)
    write_tensors(root / FILE, exponents)
    return Prepared(Equalized(weights, factors_of(full, exponents)), importance)


def as_quantized(bundle: Bundle, weights: WeightSource) -> WeightSource:
    """The checkpoint's weights as they were when the bundle's were rounded.

    Raises:
        BundleError: the bundle's equalization does not fit the checkpoint
    """
    if FILE not in bundle.manifest.files:
        return weights
    return Equalized(weights, factors_of(build_empty(weights.checkpoint), load_tensors(bundle.file(FILE))))


def measure(weights: WeightSource, text: str | OwnCalibration, progress: Progress) -> dict[str, Activations]:
    """What reaches every linear layer within a decoder layer, by its name.

    Args:
        text: a file of quant/calibration, without its ending; or the user's samples
    """
    checkpoint = weights.checkpoint
    model = as_vlm(build_empty(checkpoint))
    seen, count = watch(model), sum(1 for _ in decoder_linears(model))
    split = family_of(checkpoint.config, checkpoint.name).split()
    streamed = Streamed(model, split, source_reader(weights))
    with torch.inference_mode():
        if isinstance(text, str):
            with held(streamed, model.decoder_names.embedding) as embed_tokens:
                x = embed_tokens(token_ids(checkpoint, text))
        else:
            assert checkpoint.folder is not None, "see OwnCalibration.require_use"
            x = embedded(text, from_checkpoint(checkpoint.folder), streamed)
        tokens = (1, x.shape[1])
        call = Call(np.zeros(tokens, np.int64), np.zeros(tokens, np.bool_), rows=np.zeros(0, np.int64))
        for _ in walk_layers(streamed, [x], [call]):
            progress("calibration", len(seen) / count)
    return seen


def watch(model: nn.Module) -> dict[str, Activations]:
    """From now on, what reaches a linear layer within a decoder layer is found in the result, by the layer's name."""
    seen: dict[str, Activations] = {}

    def keep(name: str) -> Callable[[nn.Module, tuple[Tensor]], None]:
        def hook(_module: nn.Module, inputs: tuple[Tensor]) -> None:
            x = inputs[0].flatten(0, 1)
            seen[name] = Activations(x.abs().mean(0), x.square().mean(0))

        return hook

    for name in decoder_linears(model):
        model.get_submodule(name).register_forward_pre_hook(keep(name))
    return seen


def equalization(
    model: nn.Module, found: Mapping[str, Activations]
) -> tuple[dict[str, NDArray[np.int8]], dict[str, Tensor]]:
    """How weights are equalized, and what a squared error in a column of the equalized ones counts.

    Args:
        model: in full precision; may be on the meta device
        found: by the names of weights

    Returns:
        exponents of those among `pairs_of(model)`, int8 [columns], and importance, float32 [columns], by the same names
    """
    pairs = [pair for pair in pairs_of(model) if pair.consumer in found]
    exponents = {name: exponents_of(found[pair.consumer].mean) for pair in pairs for name in pair.consumers}
    importance = {name: seen.square for name, seen in found.items()}
    for name, powers in exponents.items():
        # What reaches an equalized weight is the input divided by the factors.
        importance[name] = torch.ldexp(importance[name], torch.from_numpy(-2 * powers.astype(np.int32)))
    return exponents, importance


def decoder_linears(model: nn.Module) -> Iterator[str]:
    """Names of the linear layers within decoder layers."""
    for prefix, layer in model.named_modules():
        if isinstance(layer, DecoderLayer):
            yield from (name for name, part in layer.named_modules(prefix=prefix) if isinstance(part, nn.Linear))


def token_ids(checkpoint: Checkpoint, text: str) -> Tensor:
    """int64 [1, tokens] of a calibration text"""
    tokenizer = Tokenizer.from_str(checkpoint.processor_files()["tokenizer.json"].decode())
    encoded = tokenizer.encode((calibration_dir() / f"{text}.txt").read_text("utf-8"))
    return torch.tensor([encoded.ids[:TOKENS]])
