"""Carries prompts through a model of any size, one layer in memory at a time.

All calls wait at a layer while its tensors are read, used and forgotten, and what leaves it goes to disk. So a pass
reads and unpacks every weight once, whatever the number of prompts, and its peak is one layer (or the language head) in
float32, 0.5 GB for Phi-3-Vision, beside the activations of the longest prompt.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nexus_edge.bundle import BundleWeights
from nexus_edge.bundle.layer_names import ENDING, is_layer, layer_of_output, output_of, part_of
from nexus_edge.checkpoints.tensors import take, to_torch
from nexus_edge.interfaces.weights import WeightSource
from nexus_edge.layers.decoder import KeyValue
from nexus_edge.models.base import as_vlm
from nexus_edge.models.loading import build_empty, fill_constants
from nexus_edge.parity.kinds import judged_family
from nexus_edge.parity.metrics import Array
from nexus_edge.parity.references import Reference
from nexus_edge.parity.run import ParityRun
from nexus_edge.parity.settled import Settle, as_float, as_stored, nothing_settled
from nexus_edge.parity.sources import build_quantized
from nexus_edge.parity.spool import Kept, Spool
from nexus_edge.parity.stages import layer_outputs, removed_after

if TYPE_CHECKING:
    from nexus_edge.interfaces.graph import ModelSplit
    from nexus_edge.models.base import VisionLanguageModel

VISION = "vision_encoder"
"""The graph of the split that images go through."""

Read = Callable[[str], Tensor | None]
"""From a parameter's or buffer's name to its tensor; None for one that nothing uses and nobody kept."""


@dataclass(frozen=True)
class Streamed:
    """A model whose weights are never in memory all at once.

    Attributes:
        model: on the meta device
        split: how it comes apart
        read: see `Read`
        settle: what takes the place of a quantized layer while its weights are held
    """

    model: "VisionLanguageModel"
    split: "ModelSplit"
    read: Read
    settle: Settle = nothing_settled


@dataclass(frozen=True)
class Call:
    """Tokens that go through the model together.

    Attributes:
        ids: int64 [1, tokens], as the family's processor gives them
        is_image: bool [1, tokens], where an image's features go
        rows: of which tokens the logits are wanted, int64 [rows]
        images: pixel_values and image_sizes, for a prompt with images
        seen: what the vision encoder of the split takes of them, by name
        after: the call that these tokens continue
        only_logits: nothing else is kept
    """

    ids: NDArray[np.int64]
    is_image: NDArray[np.bool_]
    rows: NDArray[np.int64]
    images: tuple[Array, Array] | None = None
    seen: Mapping[str, Array] = field(default_factory=dict)
    after: "Trace | None" = None
    only_logits: bool = False

    @property
    def past(self) -> int:
        """Tokens that were there before."""
        return 0 if self.after is None else self.after.tokens

    @property
    def tokens(self) -> int:
        """Tokens before and in this call."""
        return self.past + self.ids.shape[1]


@dataclass(frozen=True)
class Trace:
    """What a call left: `<layer>.output` of every layer that ran, `image_features` of a prompt with images,
    `inputs_embeds`, `present.{i}.key` and `.value` (of the tokens before, too), and `logits` [rows, vocab].
    """

    call: Call
    values: dict[str, Kept] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        return self.call.tokens

    def load(self, name: str) -> Array:
        """One value."""
        return self.values[name].load()

    def tensor(self, name: str) -> Tensor:
        """One value for PyTorch."""
        return torch.from_numpy(self.load(name))


def open_streamed(run: ParityRun, reference: Reference) -> Streamed:
    """One of a run's models; raises NotRunError for full precision without a checkpoint."""
    split = judged_family(run.manifest.model_type).split()
    if reference == "full":
        return Streamed(as_vlm(build_empty(run.source)), split, source_reader(run.weights))
    settle = as_stored if reference == "quantized" else as_float
    return Streamed(as_vlm(build_quantized(run.bundle)), split, bundle_reader(BundleWeights(run.bundle)), settle)


def source_reader(weights: WeightSource) -> Read:
    """Reads the tensors of the full-precision model in float32."""
    return lambda name: take(weights, name).float()


def bundle_reader(weights: BundleWeights) -> Read:
    """Reads the tensors of the quantized model as they are stored."""

    def read(name: str) -> Tensor | None:
        if name not in weights.infos:  # the tower's last layer and what comes after it
            return None
        tensor = to_torch(weights.read(name))
        weights.release(name)
        return tensor

    return read


def carry(
    streamed: Streamed, calls: Sequence[Call], spool: Spool, fed: "Sequence[Trace]" = (), *, cut: bool = True
) -> list[Trace]:
    """All calls through the model side by side, layer by layer; the traces are in the order of the calls.

    Args:
        streamed: the model
        calls: prompts, or what continues them
        spool: keeps what leaves the layers
        fed: of the same calls; each graph then starts from what was left there, not from what the graph before it made
        cut: with `fed`, each layer does so, too
    """
    traces = [Trace(call) for call in calls]
    layers = fed if cut else ()
    with torch.inference_mode():
        _see(streamed, traces, spool, layers)
        _embed(streamed, traces, spool, fed or traces)
        _decode(streamed, traces, spool, [trace.tensor("inputs_embeds") for trace in fed or traces], layers)
    return traces


def _see(streamed: Streamed, traces: list[Trace], spool: Spool, fed: Sequence[Trace]) -> None:
    """The vision tower, call by call; its layers are read as they run."""
    seeing = [trace for trace in traces if trace.call.images is not None]
    if not seeing:
        return
    given: dict[str, Array] = {}
    with held_vision(streamed), layer_outputs(streamed.model, given) as layers:
        for trace in seeing:
            given.clear()
            for reference in (reference for reference in fed if reference.call is trace.call):
                given |= {name: reference.load(name) for name in reference.values if _is_vision(streamed, name)}
            assert trace.call.images is not None
            features = streamed.model.image_features(
                *(torch.from_numpy(np.array(array)) for array in trace.call.images)
            )
            for layer, value in (*layers.items(), ("image_features", features)):
                trace.values[layer] = spool.keep(value.numpy())
            layers.clear()


def _is_vision(streamed: Streamed, value: str) -> bool:
    """Whether a value leaves a layer that images go through."""
    return layer_of_output(value) is not None and streamed.split.owner(value.removesuffix(ENDING)) == VISION


def _embed(streamed: Streamed, traces: list[Trace], spool: Spool, sources: Sequence[Trace]) -> None:
    model = streamed.model
    with held(streamed, model.decoder_names.embedding):
        for trace, source in zip(traces, sources, strict=True):
            seen = "image_features" in trace.values
            features = source.tensor("image_features") if seen else torch.zeros(0, model.hidden_size)
            embeds = model.embed(torch.from_numpy(trace.call.ids), features)
            trace.values["inputs_embeds"] = spool.keep(embeds.numpy())


def _decode(streamed: Streamed, traces: list[Trace], spool: Spool, hidden: list[Tensor], fed: Sequence[Trace]) -> None:
    names = streamed.model.decoder_names

    def output(layer: int) -> str:
        return output_of(f"{names.layers}.{layer}")

    def given(layer: int) -> list[Tensor]:
        return [trace.tensor(output(layer)) for trace in fed]

    calls = [trace.call for trace in traces]
    for i, ran in enumerate(walk_layers(streamed, hidden, calls, given if fed else None)):
        hidden = given(i) if fed else [x for x, _ in ran]
        for trace, (x, present) in zip(traces, ran, strict=True):
            if trace.call.only_logits:
                continue
            trace.values[output(i)] = spool.keep(x.numpy())
            for part, tensor in zip(("key", "value"), present, strict=True):
                trace.values[f"present.{i}.{part}"] = spool.keep(tensor.numpy())
    with held(streamed, names.norm) as norm:
        hidden = [norm(x) for x in hidden]
    with held(streamed, names.head) as head:
        for trace, x in zip(traces, hidden, strict=True):
            logits = head(x[0, torch.from_numpy(trace.call.rows)])
            trace.values["logits"] = spool.keep(logits.float().numpy())


def walk_layers(
    streamed: Streamed,
    hidden: Sequence[Tensor],
    calls: Sequence[Call],
    given: Callable[[int], list[Tensor]] | None = None,
) -> Iterator[list[tuple[Tensor, KeyValue]]]:
    """What leaves one decoder layer after the other, and its cache, for each call; each layer is loaded for itself.

    Args:
        streamed: the model
        hidden: what enters the first layer, [1, tokens, hidden] for each call
        calls: where their tokens are in their sequences
        given: from a layer's number to what goes on after it; None: what left it
    """
    fill_constants(streamed.model)
    model = streamed.model
    tables = [_rotation(model, call) for call in calls]
    masks = [torch.ones(1, call.tokens, dtype=torch.int64) for call in calls]
    for i, empty in enumerate(model.empty_past(hidden[0])):
        with held(streamed, f"{model.decoder_names.layers}.{i}") as layer:
            ran = [
                layer(x, *table, mask, _past(call, i, empty))
                for x, table, mask, call in zip(hidden, tables, masks, calls, strict=True)
            ]
        hidden = [x for x, _ in ran] if given is None else given(i)
        yield ran


def _rotation(model: "VisionLanguageModel", call: Call) -> tuple[Tensor, Tensor]:
    return model.rotation(torch.arange(call.past, call.tokens)[None], torch.tensor(call.tokens))


def _past(call: Call, layer: int, empty: KeyValue) -> KeyValue:
    if call.after is None:
        return empty
    return call.after.tensor(f"present.{layer}.key"), call.after.tensor(f"present.{layer}.value")


@contextmanager
def held(streamed: Streamed, name: str) -> Iterator[nn.Module]:
    """The submodule `name` with its tensors while the block lasts."""
    with _loaded(streamed, _tensors(streamed.model, name)):
        yield streamed.model.get_submodule(name)


@contextmanager
def held_vision(streamed: Streamed) -> Iterator[None]:
    """All that images go through has its tensors while the block lasts, each layer of it only while it runs."""
    model, owner = streamed.model, streamed.split.owner
    layers = {path: layer for path, layer in model.named_modules() if is_layer(path) and owner(path) == VISION}
    tensors = [name for name, _ in (*model.named_parameters(), *model.named_buffers()) if owner(name) == VISION]
    outside = [name for name in tensors if part_of(name) not in layers]
    running = ExitStack()

    def fetch(path: str) -> Callable[[nn.Module, Any], None]:
        def hook(_module: nn.Module, _inputs: Any) -> None:
            running.enter_context(held(streamed, path))

        return hook

    handles = [layer.register_forward_pre_hook(fetch(path)) for path, layer in layers.items()]
    handles += [layer.register_forward_hook(lambda *_: running.close()) for layer in layers.values()]
    with removed_after(handles), running, _loaded(streamed, outside):
        yield


def _tensors(model: nn.Module, name: str) -> list[str]:
    """Names in the model of a submodule's parameters and buffers."""
    module = model.get_submodule(name)
    owned = (*module.named_parameters(name), *module.named_buffers(name))
    return [full for full, _ in owned]


@contextmanager
def _loaded(streamed: Streamed, tensors: Sequence[str]) -> Iterator[None]:
    model, before = streamed.model, {}
    settled: list[tuple[nn.Module, str, nn.Module]] = []
    try:
        for full in tensors:
            owner, _, leaf = full.rpartition(".")
            module = model.get_submodule(owner)
            value = streamed.read(full)
            if value is None:
                continue
            before[full] = (module, leaf, getattr(module, leaf))
            is_parameter = isinstance(before[full][2], nn.Parameter)
            setattr(module, leaf, nn.Parameter(value, requires_grad=False) if is_parameter else value)
        for owner in dict.fromkeys(full.rpartition(".")[0] for full in before):
            module = model.get_submodule(owner)
            instead = streamed.settle(module)
            if instead is not None:
                parent, _, leaf = owner.rpartition(".")
                setattr(model.get_submodule(parent), leaf, instead)
                settled.append((model.get_submodule(parent), leaf, module))
        yield
    finally:
        for parent_module, leaf, module in settled:
            setattr(parent_module, leaf, module)
        for module, leaf, tensor in before.values():
            setattr(module, leaf, tensor)
