"""An export in six calls, in the order in which they happen; see `export`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from nexus_edge import __version__
from nexus_edge.bundle import Bundle, BundleWriter, GraphInfo, Manifest, Source
from nexus_edge.checkpoints import Checkpoint, require_model_type
from nexus_edge.errors import ParityError, RecipeError
from nexus_edge.export.onnx.genai import phi3v_model, write_genai
from nexus_edge.export.onnx.target import FOLDER, WEIGHTS, OnnxTarget
from nexus_edge.export.weights import StoredTensor, summary, write_weights
from nexus_edge.graphs import GraphSpec, split_of
from nexus_edge.models import build_model
from nexus_edge.models.base import ReferenceModel
from nexus_edge.models.loading import source_keys
from nexus_edge.models.phi3_v import Phi3V
from nexus_edge.parity.certify import certify
from nexus_edge.processing.phi3_v import Phi3VProcessor
from nexus_edge.quant.apply import quantize_modules
from nexus_edge.quant.schemes import Scheme, load_scheme
from nexus_edge.recipe import Recipe

PARITY_MEMORY = 2_000_000_000
"""Bytes that models may fill while the ladder runs within an export, whose whole peak is to stay under 3 GB."""

Progress = Callable[[str, float], None]
"""Called with the step's name and its share done, 0 to 1."""


@dataclass(frozen=True)
class Plan:
    """A model on the meta device, before and after its layers were replaced, and the graphs of the latter."""

    full: ReferenceModel
    quantized: ReferenceModel
    specs: tuple[GraphSpec, ...]
    schemes: Mapping[str, Mapping[str, Scheme]]  # graph -> module -> scheme


def export(
    checkpoint: Checkpoint,
    recipe: Recipe,
    out: Path,
    *,
    force: bool = False,
    parity: bool = True,
    progress: Progress = lambda step, share: None,
) -> Manifest:
    """Turn a checkpoint into a bundle at `out`.

    Args:
        checkpoint: see `open_checkpoint`
        recipe: see `find_recipe` and `read_recipe`
        out: the bundle's folder
        force: replace a bundle that is there
        parity: run the parity ladder and store its report in the bundle

    Raises:
        CheckpointError: the checkpoint is not of the recipe's model, incomplete or corrupt
        RecipeError: the recipe does not fit the model
        OutputError: `out` exists or cannot be written; nothing is left behind
        ParityError: a gate failed; the bundle is there, and its manifest says "rejected"
    """
    require_model_type(checkpoint, recipe.model_type)
    with BundleWriter(out, force) as writer:
        plan = make_plan(checkpoint, recipe)
        target = translate_graphs(plan, progress)
        stored = stream_weights(checkpoint, plan, target, writer.root, progress)
        writer.flush_early(writer.root / FOLDER / WEIGHTS)
        graphs = write_target(checkpoint, plan, target, stored, writer.root)
        manifest = describe(checkpoint, recipe, graphs, plan)
        if parity:
            manifest = replace(manifest, parity=climb_ladder(manifest, writer, checkpoint, progress))
        manifest = writer.commit(manifest)
    if manifest.parity and manifest.parity["verdict"] == "rejected":
        raise ParityError(f"{out}: {manifest.parity['reason']}; see {out / 'parity' / 'report.html'}")
    return manifest


def make_plan(checkpoint: Checkpoint, recipe: Recipe) -> Plan:
    """Build the model twice without data, and replace the layers of the second as the recipe says."""
    with torch.device("meta"):
        full, quantized = build_model(checkpoint), build_model(checkpoint)
    source_keys(checkpoint, full)  # what is missing is said now, not after the graphs were translated
    split = split_of(recipe.model_type)
    if set(recipe.graphs) != set(split.names):
        raise RecipeError(
            f"{recipe.name}: has graphs {', '.join(recipe.graphs)}; {recipe.model_type} has {', '.join(split.names)}"
        )
    schemes: dict[str, dict[str, Scheme]] = {name: {} for name in split.names}

    def scheme_for(module: str) -> Scheme:
        graph = split.owner(module)
        schemes[graph][module] = load_scheme(recipe.scheme_for(graph, module))
        return schemes[graph][module]

    quantize_modules(quantized, scheme_for)
    unused = recipe.unused_overrides(schemes)
    if unused:
        raise RecipeError(f"{recipe.name}: overrides that match no layer: {', '.join(unused)}")
    return Plan(full, quantized, split.graphs(quantized), schemes)


def translate_graphs(plan: Plan, progress: Progress) -> OnnxTarget:
    """Export every graph from the meta device and write it in the target's operators."""
    target = OnnxTarget(plan.specs)
    for done, spec in enumerate(plan.specs):
        progress(f"graph {spec.name}", done / len(plan.specs))
        target.translate(spec)
    return target


def stream_weights(
    checkpoint: Checkpoint, plan: Plan, target: OnnxTarget, root: Path, progress: Progress
) -> dict[str, StoredTensor]:
    """Quantize the checkpoint, tensor by tensor, into the bundle's weights file."""
    (root / FOLDER).mkdir()
    names = target.tensor_names() - plan.quantized.constants().keys()
    return write_weights(
        checkpoint,
        plan.full,
        plan.quantized,
        names,
        root / FOLDER / WEIGHTS,
        lambda done, total: progress("weights", done / total),
    )


def write_target(
    checkpoint: Checkpoint, plan: Plan, target: OnnxTarget, stored: Mapping[str, StoredTensor], root: Path
) -> dict[str, GraphInfo]:
    """Write the graphs, the processor's files, and what other runtimes read beside them."""
    files = checkpoint.processor_files()
    (root / "processor").mkdir()
    for name, content in files.items():
        (root / "processor" / name).write_bytes(content)
    if isinstance(plan.quantized, Phi3V):
        processor = Phi3VProcessor.from_folder(root / "processor")
        write_genai(root / FOLDER, phi3v_model(plan.quantized.params, processor), files)
    schemes = {name: summary(schemes) for name, schemes in plan.schemes.items()}
    return target.write(root, stored, plan.quantized.constants(), schemes)


def describe(checkpoint: Checkpoint, recipe: Recipe, graphs: Mapping[str, GraphInfo], plan: Plan) -> Manifest:
    """The manifest, still without files and parity."""
    return Manifest(
        model_type=recipe.model_type,
        name=recipe.name,
        toolkit_version=__version__,
        source=Source(checkpoint.name, checkpoint.revision, checkpoint.kind),
        recipe=recipe.to_json(),
        targets=recipe.targets,
        graphs={"onnx": dict(graphs)},
        context_length=plan.quantized.context_length,
    )


def climb_ladder(
    manifest: Manifest, writer: BundleWriter, checkpoint: Checkpoint, progress: Progress
) -> dict[str, object]:
    """Run the parity ladder on the bundle before it takes its place; returns the verdict for the manifest.

    Rungs that need more memory than an export may take are reported as not run; `nexus-edge parity` runs them.
    """
    writer.seal(manifest)
    bundle = Bundle.open(writer.root, check=None)  # hashed a moment ago
    return dict(certify(bundle, checkpoint, max_memory=PARITY_MEMORY, progress=progress).summary)
