"""What verdicts and rungs mean, for readers who do not know their codes."""

from nexus_edge.parity.report.report import Report

MEANING = {
    "P0": "The files and graphs are those that the export wrote.",
    "P1": "Our model in PyTorch computes what the authors' own code computes.",
    "P2": "The exported graphs compute what that model computes, before anything is quantized.",
    "P3": "The quantized files compute what the quantized model computes in PyTorch.",
    "P4": "Quantization costs no more than the recipe's tolerances allow.",
    "P5": "The runtime turns images and text into the same answers.",
    "verify": "This machine computes what the export recorded.",
}

PROOFS = ({"P5"}, {"P3", "P4"})
"""Rungs of which one set says that a bundle is its model; others look at a part of the way."""


def rung_of(report: Report) -> str:
    """The name of the rung that failed first; "" where none did."""
    return report.first_failure[0].name if report.first_failure else ""


def verdict_sentence(report: Report) -> str:
    """The verdict in plain words, one or two sentences."""
    gated = [check for rung in report.rungs for check in rung.checks if check.gate is not None or check.problem]
    failed = [check for check in gated if check.status == "failed"]
    here = "verify" in {rung.name for rung in report.rungs}
    if failed:
        what = "does not compute here what it computed when it was exported" if here else "is no longer its original"
        meaning = MEANING.get(rung_of(report), "")
        broken = f" This does not hold: {meaning[:1].lower()}{meaning[1:]}" if meaning and not here else ""
        return f"{report.bundle} {what}: {len(failed)} of {len(gated)} checks failed.{broken}"
    if report.verdict == "rejected":
        return f"{report.bundle} was rejected before: {report.reason}."
    if report.verdict != "passed":
        return f"Not proven: what ran of {report.bundle} holds, but {report.reason}."
    names = [rung.name for rung in report.rungs]
    ties = sum(rung.near_ties.found for rung in report.rungs if rung.near_ties is not None)
    remark = f" {ties} near {'tie was' if ties == 1 else 'ties were'} set aside." if ties else ""
    skipped = f" Skipped: {'; '.join(report.skipped)}." if report.skipped else ""
    if not here and not any(proof <= set(names) for proof in PROOFS):
        holds = f"{' and '.join(names)} {'holds' if len(names) == 1 else 'hold'} for {report.bundle}"
        return f"{holds}: all {len(gated)} checks. The other rungs compare it with its model.{remark}{skipped}"
    what = "computes here what it computed when it was exported" if here else "is still the model that it was made from"
    return f"{report.bundle} {what}: all {len(gated)} checks hold.{remark}{skipped}"
