"""The models that the ladder compares: full precision from the checkpoint, quantized from the bundle's own weights."""

import math
import os
import platform
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nexus_edge import __version__
from nexus_edge._typed import choose, read
from nexus_edge.bundle import Bundle, BundleWeights, Manifest
from nexus_edge.bundle.layer_names import part_of
from nexus_edge.bundle.reader import PARITY
from nexus_edge.checkpoints import Checkpoint, open_checkpoint
from nexus_edge.checkpoints.fingerprint import fingerprint
from nexus_edge.errors import BundleError, CheckpointError
from nexus_edge.families import family_named
from nexus_edge.parity.report.report import Report, Rung
from nexus_edge.processing.folder import read_json
from nexus_edge.recipe import GraphRecipe, Recipe

if TYPE_CHECKING:
    from nexus_edge.interfaces.weights import WeightSource
    from nexus_edge.models.base import ReferenceModel

FLOAT_BYTES = 4  # reference models compute in float32


def recipe_of(manifest: Manifest) -> Recipe:
    """The recipe that a bundle was made with.

    Raises:
        BundleError: the manifest's recipe is not one of this version.
    """
    from nexus_edge.quant.schemes import available_schemes

    where = "manifest.json: recipe"
    recipe = read(dict(manifest.recipe), Recipe, where, BundleError)
    if not recipe.graphs:
        raise BundleError(f"{where}: graphs is empty; export again")
    for name, graph in recipe.graphs.items():
        for scheme in (graph.scheme, *graph.overrides.values()):
            choose(scheme, available_schemes(), f"{where}: graphs.{name}: scheme", BundleError)
    return recipe


def full_precision(recipe: Recipe) -> Recipe:
    """The same graphs with every weight and the cache in float32."""
    graphs = {name: GraphRecipe("float32", {}, graph.kv_cache and "float32") for name, graph in recipe.graphs.items()}
    return replace(recipe, name=f"{recipe.name}-full-precision", graphs=graphs)


def scheme_class(manifest: Manifest, graph: str | None = None) -> str:
    """float32, float16, int8 or int4, and `mixed` where 4 bits meet others; the coarsest decides about the others.

    Args:
        graph: only this graph of the model's split; None for the whole bundle
    """
    from nexus_edge.quant.schemes import load_scheme

    # A target's own graphs are not those of the split; the recipe's are.
    graphs = recipe_of(manifest).graphs
    chosen = graphs.values() if graph is None else [graphs[graph]]
    schemes = {load_scheme(name) for recipe in chosen for name in (recipe.scheme, *recipe.overrides.values())}
    classes = {f"{'float' if scheme.is_float else 'int'}{scheme.bits}" for scheme in schemes}
    if len(classes) == 1:
        return classes.pop()
    return "mixed" if "int4" in classes else next(name for name in ("int8", "float16") if name in classes)


def checkpoint_of(manifest: Manifest, spec: str | None = None, adapter: Path | None = None) -> Checkpoint:
    """The checkpoint that `spec` names, else the one that the manifest names; either way the bundle's own.

    Args:
        manifest: the bundle's
        spec: see `open_checkpoint`
        adapter: where the bundle's adapter is; None: where it was

    Raises:
        CheckpointError: it is not there, or it or its adapter is another one than the bundle was made from.
    """
    source = manifest.source
    named = _spec(manifest) if spec is None else spec
    if adapter is None and source.adapter is not None:
        adapter = Path(source.adapter.folder)
        if not adapter.is_dir():
            raise CheckpointError(f"{adapter}: the adapter is no longer there; give it with --adapter")
    checkpoint = open_checkpoint(named, recipe_of(manifest).checkpoint, source.ignored_keys, adapter)
    if spec is None and source.revision is not None and checkpoint.revision != source.revision:
        raise CheckpointError(
            f"{source.checkpoint}: is at revision {checkpoint.revision}, the bundle was made from {source.revision}; "
            "give the checkpoint with --checkpoint"
        )
    require_same(manifest, checkpoint)
    return checkpoint


def require_same(manifest: Manifest, checkpoint: Checkpoint) -> None:
    """Raise CheckpointError if it is not the checkpoint that the bundle was made from.

    A bundle that is too old to hold its checkpoint's hashes takes any: P4 compares the weights.
    """
    expected = manifest.source.content
    found = None if expected is None else fingerprint(checkpoint)
    if expected is not None and found is not None and found != expected:
        raise CheckpointError(
            f"{checkpoint.name}: is not the checkpoint that {manifest.name} was made from "
            f"({manifest.source.checkpoint}), it has other {' and other '.join(expected.differences(found))}; "
            "give that one, or export this one"
        )
    _require_same_adapter(manifest, checkpoint)


def _require_same_adapter(manifest: Manifest, checkpoint: Checkpoint) -> None:
    merged, given = manifest.source.adapter, checkpoint.adapter
    if merged is None and given is not None:
        raise CheckpointError(f"{given.folder}: {manifest.name} was made without an adapter; leave out --adapter")
    if merged is not None and given is None:
        raise CheckpointError(f"{checkpoint.name}: {manifest.name} was made with the adapter {merged.folder}; give it")
    if merged is not None and given is not None and merged.content != given.content:
        raise CheckpointError(
            f"{given.folder}: is not the adapter that {manifest.name} was made with ({merged.folder}): its "
            "configuration or weights are others; give that one, or export this one"
        )


def _spec(manifest: Manifest) -> str:
    source = manifest.source
    pinned = source.weights == "real" and source.revision is not None
    return f"{source.checkpoint}@{source.revision}" if pinned else source.checkpoint


def parameter_bytes(checkpoint: Checkpoint) -> int:
    """Memory that the full-precision reference takes, in bytes."""
    return sum(int(np.prod(info.shape)) for info in checkpoint.keys().values()) * FLOAT_BYTES


def parameter_count(bundle: Bundle) -> int:
    """How many numbers the model has in full precision."""
    import torch

    with torch.device("meta"):
        return sum(parameter.numel() for parameter in _build(bundle).parameters())


def weight_bytes(bundle: Bundle) -> int:
    """Memory that the quantized model takes, in bytes."""
    return BundleWeights(bundle).size


def largest_part_bytes(bundle: Bundle) -> int:
    """Memory that the largest layer, or table outside of layers, takes in float32, in bytes."""
    import torch

    sizes: Counter[str] = Counter()
    with torch.device("meta"):
        for name, parameter in _build(bundle).named_parameters():
            sizes[part_of(name)] += parameter.numel() * FLOAT_BYTES
    return max(sizes.values())


def graph_bytes(weights: "WeightSource", model_type: str) -> Mapping[str, int]:
    """Graph -> memory that its weights take in full precision, in bytes."""
    sizes: Counter[str] = Counter()
    for name, info in weights.infos.items():
        sizes[graph_of(model_type, name)] += math.prod(info.shape) * FLOAT_BYTES
    return sizes


def graph_of(model_type: str, parameter: str) -> str:
    """The graph that a parameter's numbers are stored for."""

    module, _, leaf = parameter.rpartition(".")
    # A bare parameter (a separator, the class token) has no module of its own to ask for.
    return family_named(model_type).split().owner(module if leaf in ("weight", "bias") else parameter)


def load_full_precision(weights: "WeightSource") -> "ReferenceModel":
    """The reference model with these weights in float32."""
    import torch

    from nexus_edge.models import loading

    model = loading.build_empty(weights.checkpoint)
    loading.fill(model, weights, torch.float32)
    return model.eval()


def build_quantized(bundle: Bundle) -> "ReferenceModel":
    """The quantized model on the meta device: layers replaced as the bundle's recipe says, no weights."""
    import torch

    from nexus_edge.quant.apply import quantize_modules
    from nexus_edge.quant.schemes import load_scheme

    recipe = recipe_of(bundle.manifest)
    with torch.device("meta"):
        model = _build(bundle)
    owner = family_named(recipe.model_type).split().owner
    quantize_modules(model, lambda module: load_scheme(recipe.scheme_for(owner(module), module)))
    return model.eval()


def processor_files(bundle: Bundle) -> dict[str, bytes]:
    """Those of a bundle's processor, by name; raises CheckpointError where one cannot be read."""
    try:
        return {path.name: path.read_bytes() for path in sorted((bundle.root / "processor").iterdir())}
    except OSError as error:
        raise CheckpointError(f"{error.filename} cannot be read: {error.strerror}") from error


def _build(bundle: Bundle) -> "ReferenceModel":
    config = read_json(bundle.root / "processor", "config.json")
    return family_named(bundle.manifest.model_type).build(config)


def load_quantized(bundle: Bundle) -> "ReferenceModel":
    """The quantized PyTorch model with the weights that the bundle ships.

    Tensors that no graph uses (the tower's last layer) are not in a bundle; they stay on the meta device.

    Raises:
        BundleError: a tensor has another shape than the model's.
    """
    from nexus_edge.models.loading import fill_constants

    model = build_quantized(bundle)
    fill(model, BundleWeights(bundle))
    fill_constants(model)
    return model


def load_dequantized(bundle: Bundle) -> "ReferenceModel":
    """The same, with products in float32 of what the codes stand for: activations are not rounded.

    Raises:
        BundleError: see `load_quantized`.
    """
    from nexus_edge.parity.settled import as_float

    model = load_quantized(bundle)
    for name, layer in list(model.named_modules()):
        plain = None if any(tensor.is_meta for tensor in layer.buffers(recurse=False)) else as_float(layer)
        if plain is not None:
            owner, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(owner), leaf, plain)
    return model.eval()


def fill(model: "ReferenceModel", weights: BundleWeights) -> None:
    """Give parameters and buffers of a model on the meta device the tensors of the same names.

    Raises:
        BundleError: a name is not the model's, or a shape is another.
    """
    from torch import nn

    from nexus_edge.checkpoints.tensors import to_torch

    known = dict(model.named_parameters()) | dict(model.named_buffers())
    for name in weights.infos:
        tensor = to_torch(weights.read(name))
        if name not in known or known[name].shape != tensor.shape:
            raise BundleError(f"the bundle's {name} {list(tensor.shape)} is not of the recipe's model; export again")
        owner, _, leaf = name.rpartition(".")
        is_parameter = isinstance(known[name], nn.Parameter)
        value = nn.Parameter(tensor, requires_grad=False) if is_parameter else tensor
        setattr(model.get_submodule(owner), leaf, value)


def graph_sizes(manifest: Manifest) -> dict[str, int]:
    """Bytes of each graph as "target, graph", and of all else; a file that several share counts for the first."""
    left = {name: info.size for name, info in manifest.files.items() if not name.startswith(f"{PARITY}/")}
    sizes = {
        f"{target}, {name}": sum(left.pop(file, 0) for file in graph.files)
        for target, graphs in manifest.graphs.items()
        for name, graph in graphs.items()
    }
    return sizes | {"other files": sum(left.values())}


def report_of(manifest: Manifest, rungs: tuple[Rung, ...], targets: tuple[str, ...]) -> Report:
    """A report on these targets of the bundle of `manifest`, made here and now."""
    source = manifest.source
    versions = {"Python": platform.python_version()}
    for package in ("onnxruntime", "openvino", "torch", "onnx", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return Report(
        bundle=manifest.name,
        model_type=manifest.model_type,
        checkpoint=source.checkpoint + (f" at {source.revision}" if source.revision else ""),
        origin=source.in_words,
        weights=source.weights,
        recipe=recipe_of(manifest).name,
        scheme=scheme_class(manifest),
        targets=targets,
        toolkit_version=__version__,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        rungs=rungs,
        sizes=graph_sizes(manifest),
        environment=versions | {"machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"},
    )
