"""Graphs and weights of a model in the formats of its targets: a bundle's folder without hashes and without verdict.

In this order: graphs are translated, weights are streamed from the checkpoint into the files that translated graphs
want, and then the graphs are written, which point at them.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nexus_edge import __version__
from nexus_edge.bundle import DualEncoderInfo, GraphInfo, Manifest
from nexus_edge.bundle.hashing import hash_together
from nexus_edge.checkpoints import Checkpoint, SafetensorsFile
from nexus_edge.checkpoints.origin import source_of
from nexus_edge.checkpoints.tensors import take
from nexus_edge.families import family_named
from nexus_edge.interfaces.progress import Progress, silent
from nexus_edge.interfaces.target import (
    ExportedModel,
    ReadWeight,
    StoredTensor,
    StoredWeights,
    Target,
    Translated,
    WeightsFile,
)
from nexus_edge.models.base import DualEncoder, ReferenceModel
from nexus_edge.pipeline.calibration import Prepared, prepare
from nexus_edge.pipeline.own_calibration import OwnCalibration
from nexus_edge.pipeline.plan import Plan
from nexus_edge.pipeline.sharing import completed, share_weights
from nexus_edge.pipeline.weights import summary, write_weights

Targets = Mapping[str, Target[Any]]
"""Name -> writer; each knows what it has made of a graph itself."""

Graphs = Mapping[str, Sequence[Translated]]
"""Target -> the graphs of the split, translated."""

Tensors = Mapping[str, Mapping[str, StoredTensor]]
"""Target -> tensor -> where it lies."""


def build(
    checkpoint: Checkpoint,
    plan: Plan,
    targets: Targets,
    root: Path,
    *,
    calibration: OwnCalibration | None = None,
    progress: Progress = silent,
    written: Callable[[Path], None] = lambda path: None,
) -> Manifest:
    """Write all of a bundle but its manifest.json and its parity report.

    Args:
        checkpoint: where the weights come from
        plan: of this checkpoint, see `make_plan`
        targets: at least one, see `make_target`
        root: the bundle's folder; is there
        calibration: the user's samples instead of the text that the recipe names
        progress: called with a step's name and the share of it that is done
        written: called with each file of weights that is complete

    Returns:
        the manifest, without the hashes of files and without a verdict

    Raises:
        CheckpointError: a tensor holds NaN or Inf, or cannot be read
        RecipeError: calibration does not fit the model
        OutputError: a file cannot be written
    """
    graphs = translate_graphs(plan, targets, progress)
    prepared = prepare(plan.weights, plan.full, plan.recipe, root, progress, calibration)
    tensors = stream_weights(prepared, plan, graphs, root, progress, written)
    return write_graphs(checkpoint, plan, targets, graphs, tensors, root, calibration)


def translate_graphs(plan: Plan, targets: Targets, progress: Progress) -> Graphs:
    """Export every graph from the meta device and write it in the operators of each target."""
    graphs: dict[str, list[Translated]] = {name: [] for name in targets}
    steps = [(name, spec) for name in targets for spec in plan.specs]
    for done, (name, spec) in enumerate(steps):
        progress(f"graph {spec.name}", done / len(steps))
        graphs[name].append(targets[name].translate(spec))
    return graphs


def stream_weights(
    prepared: Prepared,
    plan: Plan,
    graphs: Graphs,
    root: Path,
    progress: Progress,
    written: Callable[[Path], None],
) -> Tensors:
    """Quantize the checkpoint, tensor by tensor, into the files that the first target wants; the others share them.

    A tensor that several graphs use lies with the first of them.
    """
    first, *others = graphs
    stored: dict[str, dict[str, StoredTensor]] = {name: {} for name in graphs}
    constants = plan.quantized.constants().keys()
    for number, spec in enumerate(plan.specs):
        files = {name: _without(whole[number].files, constants) for name, whole in graphs.items()}
        rest = [file for name in others for file in files[name]]
        for file in completed(files[first], rest):
            wanted = replace(file, tensors=file.tensors - stored[first].keys())
            if wanted.tensors:
                report = _steps(progress, f"weights {spec.name}")
                stored[first] |= write_weights(
                    prepared.weights, plan.quantized, wanted, root, report, prepared.importance
                )
                written(root / wanted.file)
        for name in others:
            for file in files[name]:
                wanted = replace(file, tensors=file.tensors - stored[name].keys())
                if wanted.tensors:
                    stored[name] |= share_weights(wanted, stored[first], root)
    return stored


def _without(files: Sequence[WeightsFile], constants: Collection[str]) -> list[WeightsFile]:
    return [replace(file, tensors=file.tensors.difference(constants)) for file in files]


def _steps(progress: Progress, step: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(step, done / total)


def write_graphs(
    checkpoint: Checkpoint,
    plan: Plan,
    targets: Targets,
    graphs: Graphs,
    tensors: Tensors,
    root: Path,
    calibration: OwnCalibration | None = None,
) -> Manifest:
    """Write the processor's files, and for each target its graphs and what other runtimes read beside them.

    Returns:
        the manifest with graphs, still without hashes of files and without a verdict
    """
    files = checkpoint.processor_files()
    (root / "processor").mkdir()
    for name, content in files.items():
        (root / "processor" / name).write_bytes(content)
    recipe = plan.recipe if calibration is None else plan.recipe.calibrated(calibration.name)
    manifest = Manifest(
        model_type=recipe.model_type,
        name=recipe.name,
        toolkit_version=__version__,
        source=source_of(checkpoint),
        recipe=recipe.to_json(),
        targets=recipe.targets,
        graphs={},
        context_length=plan.quantized.context_length,
        facts=family_named(recipe.model_type).facts(checkpoint.config, root / "processor"),
    )
    exported = ExportedModel(manifest, plan.quantized, files, _logit_scale(plan))
    schemes = {name: summary(schemes) for name, schemes in plan.schemes.items()}
    constants = plan.quantized.constants()
    infos = {}
    for name, target in targets.items():
        infos[name] = target.write(root, graphs[name], StoredWeights(tensors[name], constants, schemes), exported)
        for companion in target.companions:
            companion(root / name, exported, _reader(tensors[name]))
    dual_encoder = _dual_encoder(plan.full, exported.logit_scale, infos, root)
    return replace(manifest, graphs=infos, dual_encoder=dual_encoder)


def _reader(tensors: Mapping[str, StoredTensor]) -> ReadWeight:
    return lambda name: SafetensorsFile(tensors[name].path).read(name)


def _logit_scale(plan: Plan) -> float | None:
    if not isinstance(plan.full, DualEncoder):
        return None
    return float(take(plan.weights, "logit_scale").double().exp())


def _dual_encoder(
    model: ReferenceModel, scale: float | None, graphs: Mapping[str, Mapping[str, GraphInfo]], root: Path
) -> DualEncoderInfo | None:
    if not isinstance(model, DualEncoder) or scale is None:
        return None
    first = next(iter(graphs.values()))
    image, text = (hash_together(root / file for file in first[f"{name}_encoder"].files) for name in ("image", "text"))
    return DualEncoderInfo(scale, model.embed_dim, image, text)
