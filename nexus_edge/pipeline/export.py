"""An export in seven calls, in the order in which they happen; see `export`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from nexus_edge import __version__
from nexus_edge._resources import require_recordings
from nexus_edge.bundle import Bundle, BundleWriter, DualEncoderInfo, GraphInfo, Manifest
from nexus_edge.bundle.hashing import hash_together
from nexus_edge.checkpoints import Checkpoint
from nexus_edge.checkpoints.origin import source_of
from nexus_edge.errors import ParityError
from nexus_edge.families import family_named
from nexus_edge.interfaces.progress import Progress, silent
from nexus_edge.models.base import DualEncoder, ReferenceModel
from nexus_edge.models.loading import read_tensor, source_keys
from nexus_edge.parity.certify import certify
from nexus_edge.pipeline.calibration import Prepared, prepare
from nexus_edge.pipeline.own_calibration import OwnCalibration
from nexus_edge.pipeline.plan import Plan
from nexus_edge.pipeline.preflight import check
from nexus_edge.pipeline.sharing import completed, share_weights
from nexus_edge.pipeline.weights import StoredTensor, WeightsFile, summary, write_weights
from nexus_edge.recipe import Recipe
from nexus_edge.targets.base import Ingredients, Target

PARITY_MEMORY = 2_000_000_000
"""Bytes that models may fill while the ladder runs within an export, whose whole peak is to stay under 3 GB."""

NOT_PROMISED = ("P2", "P5")
"""P2 translates all graphs once more, and P5 loads the runtime as a whole: at full size an export leaves both out."""

"""Called with the step's name and its share done, 0 to 1."""


def export(
    checkpoint: Checkpoint,
    recipe: Recipe,
    out: Path,
    *,
    force: bool = False,
    parity: bool = True,
    calibration: OwnCalibration | None = None,
    progress: Progress = silent,
) -> Manifest:
    """Turn a checkpoint into a bundle at `out`.

    Args:
        checkpoint: see `open_checkpoint`
        recipe: see `find_recipe` and `read_recipe`
        out: the bundle's folder
        force: replace a bundle that is there
        parity: run the parity ladder and store its report in the bundle
        calibration: the user's samples instead of the text that the recipe names

    Raises:
        MissingExtraError: what the ladder compares with is not installed
        CheckpointError: the checkpoint is not of the recipe's model, incomplete or corrupt
        RecipeError: the recipe does not fit the model
        OutputError: `out` exists or cannot be written; nothing is left behind
        ParityError: a gate failed, or a rung did not run; the bundle is there, and its manifest says which
    """
    if parity:
        require_recordings()
    ready = check(checkpoint, recipe, out, force=force)
    plan, targets = ready.plan, ready.targets
    with BundleWriter(out, force) as writer:
        translate_graphs(plan, targets, progress)
        prepared = prepare(checkpoint, plan.full, recipe, writer.root, progress, calibration)
        stored = stream_weights(prepared, plan, targets, writer, progress)
        manifest = describe(checkpoint, recipe if calibration is None else recipe.calibrated(calibration.name), plan)
        manifest = write_targets(checkpoint, plan, targets, stored, manifest, writer.root)
        if parity:
            manifest = replace(manifest, parity=run_ladder(manifest, writer, checkpoint, progress))
        manifest = writer.commit(manifest)
    if manifest.parity and manifest.parity["verdict"] != "passed":
        raise ParityError(f"{out}: {manifest.parity['reason']}; see {out / 'parity' / 'report.html'}")
    return manifest


def translate_graphs(plan: Plan, targets: Mapping[str, Target], progress: Progress) -> None:
    """Export every graph from the meta device and write it in the operators of each target."""
    steps = [(target, spec) for target in targets.values() for spec in plan.specs]
    for done, (target, spec) in enumerate(steps):
        progress(f"graph {spec.name}", done / len(steps))
        target.translate(spec)


def stream_weights(
    prepared: Prepared, plan: Plan, targets: Mapping[str, Target], writer: BundleWriter, progress: Progress
) -> dict[str, dict[str, StoredTensor]]:
    """Quantize the checkpoint, tensor by tensor, into the files that the first target wants; the others share them.

    A tensor that several graphs use lies with the first of them.

    Returns:
        target -> tensor -> where it lies
    """
    first, *others = targets
    stored: dict[str, dict[str, StoredTensor]] = {name: {} for name in targets}
    constants = plan.quantized.constants().keys()
    for spec in plan.specs:
        files = {name: _without(target.weights_files(spec.name), constants) for name, target in targets.items()}
        rest = [file for name in others for file in files[name]]
        for file in completed(files[first], rest):
            wanted = replace(file, tensors=file.tensors - stored[first].keys())
            if wanted.tensors:
                report = partial(_report, progress, f"weights {spec.name}")
                stored[first] |= write_weights(
                    prepared.checkpoint, plan.full, plan.quantized, wanted, writer.root, report, prepared.importance
                )
                writer.flush_early(writer.root / wanted.file)
        for name in others:
            for file in files[name]:
                wanted = replace(file, tensors=file.tensors - stored[name].keys())
                if wanted.tensors:
                    stored[name] |= share_weights(wanted, stored[first], writer.root)
    return stored


def _without(files: Sequence[WeightsFile], constants: Collection[str]) -> list[WeightsFile]:
    return [replace(file, tensors=file.tensors.difference(constants)) for file in files]


def _report(progress: Progress, step: str, done: int, total: int) -> None:
    progress(step, done / total)


def describe(checkpoint: Checkpoint, recipe: Recipe, plan: Plan) -> Manifest:
    """The manifest as far as it is known before graphs are written."""
    return Manifest(
        model_type=recipe.model_type,
        name=recipe.name,
        toolkit_version=__version__,
        source=source_of(checkpoint),
        recipe=recipe.to_json(),
        targets=recipe.targets,
        graphs={},
        context_length=plan.quantized.context_length,
    )


def write_targets(
    checkpoint: Checkpoint,
    plan: Plan,
    targets: Mapping[str, Target],
    stored: Mapping[str, Mapping[str, StoredTensor]],
    manifest: Manifest,
    root: Path,
) -> Manifest:
    """Write the processor's files, and for each target its graphs and what other runtimes read beside them.

    Returns:
        the manifest with graphs, still without files and parity
    """
    files = checkpoint.processor_files()
    (root / "processor").mkdir()
    for name, content in files.items():
        (root / "processor" / name).write_bytes(content)
    facts = family_named(manifest.model_type).facts(checkpoint.config, root / "processor")
    manifest = replace(manifest, facts=facts)
    schemes = {name: summary(schemes) for name, schemes in plan.schemes.items()}
    constants, scale = plan.quantized.constants(), _logit_scale(checkpoint, plan.full)
    graphs = {
        name: target.write(root, Ingredients(manifest, plan.quantized, stored[name], constants, schemes, files, scale))
        for name, target in targets.items()
    }
    return replace(manifest, graphs=graphs, dual_encoder=_dual_encoder(plan.full, scale, graphs, root))


def _logit_scale(checkpoint: Checkpoint, model: ReferenceModel) -> float | None:
    if not isinstance(model, DualEncoder):
        return None
    return float(read_tensor(checkpoint, source_keys(checkpoint, model)["logit_scale"]).double().exp())


def _dual_encoder(
    model: ReferenceModel, scale: float | None, graphs: Mapping[str, Mapping[str, GraphInfo]], root: Path
) -> DualEncoderInfo | None:
    if not isinstance(model, DualEncoder) or scale is None:
        return None
    first = next(iter(graphs.values()))
    image, text = (hash_together(root / file for file in first[f"{name}_encoder"].files) for name in ("image", "text"))
    return DualEncoderInfo(scale, model.embed_dim, image, text)


def run_ladder(
    manifest: Manifest, writer: BundleWriter, checkpoint: Checkpoint, progress: Progress
) -> dict[str, object]:
    """Run the parity ladder on the bundle before it takes its place; returns the verdict for the manifest.

    What an export promises is all rungs but those of `NOT_PROMISED`, which it runs where its memory is enough for them;
    else they are reported as not run, and `nexus-edge parity` runs them.
    """
    writer.seal(manifest)
    bundle = Bundle.open(writer.root, check=None)  # hashed a moment ago
    report = certify(bundle, checkpoint, max_memory=PARITY_MEMORY, skippable=NOT_PROMISED, progress=progress)
    return dict(report.summary)
