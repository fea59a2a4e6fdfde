"""Runs the rungs in their order and makes the report of what they found."""

import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import Checkpoint
from nexus_edge.errors import BundleError, CheckpointError, InputError
from nexus_edge.interfaces.progress import Progress, silent
from nexus_edge.parity import tolerances
from nexus_edge.parity.kinds import kind_of
from nexus_edge.parity.references import MemoryLimit, half_of_memory
from nexus_edge.parity.report.report import Check, NotRunError, Report, Rung, timed
from nexus_edge.parity.run import ParityRun
from nexus_edge.parity.sources import checkpoint_of, report_of, require_same

RUNGS = {
    "P0": "p0_structure",
    "P1": "p1_original",
    "P2": "p2_graph",
    "P3": "p3_exporter",
    "P4": "p4_scheme",
    "P5": "p5_end_to_end",
}
"""Name -> module beside this one with `TITLE` and `judge(run) -> list[Check]`."""

OWN_DATA = {"eval": "own_data"}
"""The rung above them all, for a user's own examples."""


def prepare(
    bundle: Bundle,
    checkpoint: Checkpoint | str | None = None,
    *,
    adapter: Path | None = None,
    goldens: Path | None = None,
    max_memory: int | None = None,
) -> ParityRun:
    """What the rungs share.

    Args:
        bundle: see `Bundle.open`
        checkpoint: what it was made from, or how to find that (see `open_checkpoint`); None asks the manifest
        adapter: where the adapter is now that was merged into the checkpoint; None asks the manifest
        goldens: folder with goldens of the original implementation; None looks into the checkout's tests
        max_memory: bytes that models may fill; None: half of the machine's memory

    Raises:
        BundleError: it is of no known family
        CheckpointError: a checkpoint was asked for and cannot be opened
        InputError: the goldens' folder is not there
    """
    if goldens is not None and not goldens.is_dir():
        raise InputError(f"{goldens}: no such folder; --goldens wants one with cases.json and outputs.safetensors")
    family = bundle.manifest.model_type
    return ParityRun(
        bundle=replace(bundle, allow_rejected=True),  # what was rejected is judged again: P5 runs it
        kind=kind_of(family),
        checkpoint=_open(bundle, checkpoint, adapter),
        tolerances=tolerances.load(family),
        memory=MemoryLimit(max_memory or half_of_memory()),
        goldens=goldens,
    )


def run(
    prepared: ParityRun,
    rungs: Sequence[str] = tuple(RUNGS),
    progress: Progress = silent,
    skippable: Collection[str] = (),
) -> Report:
    """Judge a bundle, rung by rung.

    A rung that cannot run here (no checkpoint, too little memory, no goldens) is reported as "not run" with the reason,
    and the verdict is "incomplete" unless the rung is among the `skippable`.

    Args:
        prepared: see `prepare`
        rungs: which of `RUNGS`
        progress: called with a rung's name and the share of the ladder that is done
        skippable: rungs that the verdict does not wait for

    Raises:
        InputError: an unknown rung
    """
    unknown = [name for name in (*rungs, *skippable) if name not in RUNGS]
    if unknown:
        raise InputError(f"no rung {', '.join(unknown)}; there are {', '.join(RUNGS)}")
    found: list[Rung] = []
    names = (*rungs, *(OWN_DATA if prepared.examples else ()))
    for done, name in enumerate(names):
        progress(f"parity {name}", done / len(names))
        found.append(replace(_judge(prepared, name), may_be_skipped=name in skippable))
        if name == "P0":
            prepared.broken = _broken(found[-1])
            prepared.damaged = found[-1].status == "failed"
    report = report_of(prepared.manifest, tuple(found), prepared.manifest.targets)
    ran = {rung.name for rung in found if not rung.not_run(prepared.manifest.targets)}
    report = replace(report, tolerances=prepared.own_tolerances, unmet=prepared.tolerances.unmet(ran))
    whole = {rung.name for rung in found} >= set(RUNGS) and not report.missing and not report.skipped
    return report if whole else replace(report, standing=prepared.manifest.rejection or "")


def _open(bundle: Bundle, checkpoint: Checkpoint | str | None, adapter: Path | None) -> Checkpoint | str:
    """The checkpoint, or why there is none: a bundle whose checkpoint is elsewhere can still be judged in part."""
    if isinstance(checkpoint, str) or (checkpoint is None and adapter is not None):
        return checkpoint_of(bundle.manifest, checkpoint, adapter)
    if checkpoint is not None:
        require_same(bundle.manifest, checkpoint)
        return checkpoint
    try:
        return checkpoint_of(bundle.manifest)
    except CheckpointError as error:
        return f"no checkpoint: {error}"


def _judge(run: ParityRun, name: str) -> Rung:
    module = import_module(f"nexus_edge.parity.rungs.{(RUNGS | OWN_DATA)[name]}")
    started = time.perf_counter()
    checks: list[Check] = []
    reason = None
    run.notes.clear()
    try:
        checks = module.judge(run)
    except NotRunError as error:
        reason = str(error)
    except (BundleError, CheckpointError) as error:
        if not run.damaged:
            raise
        reason = str(error)  # of the files that P0 found damaged: the report names them
    seconds = round(time.perf_counter() - started, 3)
    return Rung(name, module.TITLE, timed(checks, started), reason, tuple(run.notes), seconds)


def _broken(structure: Rung) -> dict[str, str]:
    """Target -> why nothing above P0 can be measured on it: graphs that do not load, or are not the manifest's."""
    graphs: dict[str, list[str]] = {}
    for check in structure.checks:
        if check.status == "failed" and check.target:
            graphs.setdefault(check.target, []).append(check.stage)
    return {target: f"P0 failed for {', '.join(names)}" for target, names in graphs.items()}
