"""Replays a bundle's goldens: what `nexus-edge verify` does on a device.

Needs the base install only: no torch, no onnx, no safetensors. The first stage that drifts is named.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import replace

from nexus_edge._arguments import require_texts
from nexus_edge.bundle import Bundle
from nexus_edge.engines.probes import runner_of
from nexus_edge.errors import BundleError, InputError
from nexus_edge.parity import tolerances
from nexus_edge.parity.goldens import read_goldens
from nexus_edge.parity.judges import Judges
from nexus_edge.parity.kinds import Golden, Replay, kind_of
from nexus_edge.parity.manifest_facts import facts_problems, graph_problems, tower_problems
from nexus_edge.parity.report.report import Check, NotRunError, Report, Rung, timed
from nexus_edge.parity.sources import report_of
from nexus_edge.runtimes.hosts import host_maker

TITLE = "verify: stored goldens, replayed here"


def verify(bundle: str | os.PathLike[str] | Bundle, targets: Sequence[str] = ()) -> Report:
    """Compare every file of a bundle with its hash, then run every recorded case here.

    The report's `verdict` is "passed" when every target that was asked for was replayed and held, "incomplete" when one
    cannot run here, and "rejected" when a stage drifts (`first_failure` names it) or the export was rejected.

    Args:
        bundle: its folder
        targets: which of its targets; none: all of them

    Raises:
        BundleError: no bundle, a changed file, no goldens, or nothing that can be replayed here.
        InputError: the bundle was not exported for one of `targets`, or these are no list of names.
        ParityError: a graph does not load or run here.
    """
    require_texts("targets", targets)
    return replay(Bundle.open(bundle.root if isinstance(bundle, Bundle) else bundle, check="sha256"), targets)


def replay(bundle: Bundle, targets: Sequence[str] = ()) -> Report:
    """Run every recorded case; the report has the single rung "verify". See `verify`, which checks the hashes first."""
    manifest, started = bundle.manifest, time.perf_counter()
    targets = tuple(targets) or manifest.targets
    for target in targets:
        if target not in manifest.targets:
            raise InputError(f"{bundle.root}: was not exported for {target}, only for {', '.join(manifest.targets)}")
    goldens = read_goldens(bundle)
    checks = _manifest_checks(bundle, targets)
    told = len(checks)
    reasons: dict[str, str] = {}
    for target in targets:
        try:
            checks += _replay(bundle, target, goldens)
        except NotRunError as error:
            reasons[target] = f"not run for {target}: {error}"
    if len(checks) == told:
        raise BundleError(f"{bundle.root}: nothing of it can be replayed: {'; '.join(reasons.values())}")
    seconds = round(time.perf_counter() - started, 3)
    rung = Rung("verify", TITLE, timed(checks, started), notes=tuple(reasons.values()), seconds=seconds)
    return replace(report_of(manifest, (rung,), tuple(targets)), standing=manifest.rejection or "")


def _manifest_checks(bundle: Bundle, targets: Sequence[str]) -> list[Check]:
    """What P0 asks of the manifest and needs neither torch nor a checkpoint."""
    manifest = bundle.manifest
    gate = Judges(tolerances.load(manifest.model_type), manifest).gate("verify", "*")
    found = {"facts": facts_problems(bundle)}
    found["storage"] = [text for target in targets for text in graph_problems(manifest, target)]
    if manifest.dual_encoder is not None:
        found["dual_encoder"] = tower_problems(bundle)
    return [
        Check(
            stage,
            "manifest.json",
            "bundle",
            {"mismatches": float(len(wrong))},
            gate(stage),
            None,
            "; ".join(wrong) or None,
        )
        for stage, wrong in found.items()
    ]


def _replay(bundle: Bundle, target: str, goldens: tuple[Golden, ...]) -> list[Check]:
    manifest = bundle.manifest
    files = {name: bundle.graph(target, name) for name in manifest.graphs[target]}
    found = runner_of(target).counterparts(files, host_maker(bundle))
    parts = [part for part in found if part.as_shipped]
    precision = next((part.precision for part in parts), "")
    judge = Judges(tolerances.load(manifest.model_type), manifest).judge("verify", target=target, precision=precision)
    stages = {part.name: part.open("hidden") for part in parts}
    checks = kind_of(manifest.model_type).replay(Replay(bundle, stages, goldens, judge, target, precision))
    return [replace(check, target=target, precision=precision) for check in checks]
