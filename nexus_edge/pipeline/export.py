"""An export: what is needed is checked, a bundle is built, the ladder certifies it, and it takes its place."""

from dataclasses import replace
from pathlib import Path

from nexus_edge._resources import require_recordings
from nexus_edge.bundle import Bundle, BundleWriter, Manifest
from nexus_edge.checkpoints import Checkpoint
from nexus_edge.errors import ParityError
from nexus_edge.interfaces.progress import Progress, silent
from nexus_edge.parity.certify import certify
from nexus_edge.pipeline.build import build
from nexus_edge.pipeline.own_calibration import OwnCalibration
from nexus_edge.pipeline.preflight import check
from nexus_edge.recipe import Recipe

PARITY_MEMORY = 2_000_000_000
"""Bytes that models may fill while the ladder runs within an export, whose whole peak is to stay under 3 GB."""

NOT_PROMISED = ("P2", "P5")
"""P2 translates all graphs once more, and P5 loads the runtime as a whole: at full size an export leaves both out."""


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
    ready = check(checkpoint, recipe, out, force=force, calibration=calibration)
    with BundleWriter(out, force) as writer:
        manifest = build(
            checkpoint,
            ready.plan,
            ready.targets,
            writer.root,
            calibration=calibration,
            progress=progress,
            written=writer.flush_early,
        )
        if parity:
            manifest = replace(manifest, parity=run_ladder(manifest, writer, checkpoint, progress))
        manifest = writer.commit(manifest)
    if manifest.parity and manifest.parity["verdict"] != "passed":
        raise ParityError(f"{out}: {manifest.parity['reason']}; see {out / 'parity' / 'report.html'}")
    return manifest


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
