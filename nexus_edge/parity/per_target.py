"""What is judged for each target of a bundle, and for each way in which its runtime can be asked to compute."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from nexus_edge.bundle import Bundle
from nexus_edge.engines.probes import runner_of
from nexus_edge.parity.precisions import computes_here, runtime_options
from nexus_edge.parity.references import Reference
from nexus_edge.parity.report.report import Check, NotRunError
from nexus_edge.parity.run import ParityRun
from nexus_edge.parity.stages import Judge

if TYPE_CHECKING:
    from nexus_edge.runtimes import EngineOptions


def for_each_target(run: ParityRun, judge: Callable[[str], list[Check]]) -> list[Check]:
    """What `judge` finds for every target of the bundle.

    Raises:
        NotRunError: no target can be judged here. One that cannot beside others that can leaves a note.
    """
    checks: list[Check] = []
    reasons: dict[str, str] = {}
    for target in run.manifest.targets:
        try:
            if target in run.broken:
                raise NotRunError(run.broken[target])
            checks += [replace(check, target=target) for check in judge(target)]
        except NotRunError as error:
            reasons[target] = str(error)
    if not checks:
        raise NotRunError("; ".join(dict.fromkeys(reasons.values())))
    for target, reason in reasons.items():
        run.note(f"not run for {target}: {reason}")
    return checks


def compare_runtimes(
    run: ParityRun, target: str, rung: str, compare: Callable[["EngineOptions", Judge], list[Check]]
) -> list[Check]:
    """What `compare` finds in each precision that a target's runtime can be asked for here."""
    checks: list[Check] = []
    for precision, options in runtime_options(target).items():
        if computes_here(options):
            found = compare(options, run.judges.judge(rung, target=target, precision=precision))
            checks += [replace(check, precision=precision) for check in found]
        else:
            run.note(f"not run in {precision}: this CPU computes no bf16")
    return checks


def only(bundle: Bundle, target: str) -> Bundle:
    """The bundle as if it had been exported for one target, for runtimes that take the first they can run."""
    graphs = {target: bundle.manifest.graphs[target]}
    return replace(bundle, manifest=replace(bundle.manifest, targets=(target,), graphs=graphs))


def reference_for(target: str) -> Reference:
    """The quantized PyTorch model that multiplies what a target multiplies."""
    return "quantized" if runner_of(target).rounds_activations else "dequantized"
