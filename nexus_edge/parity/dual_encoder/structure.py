"""P0 for dual encoders: what the manifest says of the towers is what the files hold."""

from nexus_edge.parity.dual_encoder.run import dual_run
from nexus_edge.parity.manifest_facts import tower_problems
from nexus_edge.parity.report.report import Check
from nexus_edge.parity.run import ParityRun


def compare_manifest(run: ParityRun) -> list[Check]:
    """One check: the towers' hashes, by which indexes and label banks know them, length and scale of embeddings."""
    dual = dual_run(run)
    problems = tower_problems(run.bundle)
    if dual.logit_scale != dual.info.logit_scale:
        problems.append(f"logit_scale is {dual.info.logit_scale}, by the checkpoint {dual.logit_scale}")
    measures = {"mismatches": float(len(problems))}
    gate = run.judges.gate("P0", "*")("dual_encoder")
    return [Check("dual_encoder", "towers", "manifest", measures, gate, None, "; ".join(problems) or None)]
