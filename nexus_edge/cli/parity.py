"""`nexus-edge parity`: run the parity ladder on a bundle; exit code 3 if a gate fails."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nexus_edge._extras import needs_extra
from nexus_edge.bundle import Bundle
from nexus_edge.cli.console import console
from nexus_edge.cli.formats import Formats, Output, deliver, refusals
from nexus_edge.cli.progress import step_bar
from nexus_edge.errors import InputError, ParityError

if TYPE_CHECKING:
    from nexus_edge.parity.report.report import Report

GB = 1e9


def parity(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.")],
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|HUB_ID|tiny|synthetic",
            help="The original; default: the checkpoint of the export.",
        ),
    ] = None,
    adapter: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the LoRA adapter is now; default: where it was at export.")
    ] = None,
    rungs: Annotated[str | None, typer.Option(metavar="P0,P3", help="Only these rungs; default: all.")] = None,
    allow_skip: Annotated[
        list[str] | None,
        typer.Option(metavar="P1", help="A rung that need not run here; can be repeated."),
    ] = None,
    goldens: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Goldens of the original implementation, for P1.")
    ] = None,
    own_data: Annotated[
        Path | None,
        typer.Option(
            "--eval",
            metavar="FILE.jsonl",
            help="Your own examples, one per line: image, question, answers; or image, label.",
        ),
    ] = None,
    tolerances: Annotated[
        Path | None,
        typer.Option(metavar="FILE.toml", help="Your own limits, over those of the package (its tolerances.toml)."),
    ] = None,
    max_memory: Annotated[
        float | None, typer.Option(metavar="GB", help="Memory that models may use; default: half of the machine's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write JUnit XML.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as HTML, with plots.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report as Markdown.")] = None,
    formats: Formats = None,
    output: Output = None,
    update: Annotated[
        bool, typer.Option("--update", help="Replace the export's report, goldens and verdict in the bundle.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress bar.")] = False,
) -> None:
    """Compare a bundle with its original, rung by rung.

    Exit code 0 says that every rung that was asked for ran and held. It is 3 where a gate failed, where a rung did not
    run (--allow-skip), where an entry of --tolerances matched nothing, and where the bundle was rejected before and
    this is not the whole ladder.
    """
    from nexus_edge.checkpoints import named_path
    from nexus_edge.checkpoints.adapters.folder import adapter_files
    from nexus_edge.checkpoints.reads import checkpoint_reads, folder_reads
    from nexus_edge.ci.formats import Deliveries
    from nexus_edge.ci.from_report import outcome_of
    from nexus_edge.ci.marks import KINDS

    written = [(path, ending) for path, ending in ((junit, ".xml"), (html, ".html"), (markdown, ".md")) if path]
    own = (
        ("--junit", junit, KINDS["junit"]),
        ("--html", html, KINDS["html"]),
        ("--markdown", markdown, KINDS["markdown"]),
    )
    deliveries = Deliveries.parse(formats or (), output, as_json=as_json, others=own)
    original = named_path(checkpoint) if checkpoint else None  # none where it is a name
    reads = [bundle, *(path for path in (goldens, own_data, tolerances) if path is not None)]
    reads += [] if original is None else folder_reads(original)
    reads += [] if adapter is None else adapter_files(adapter)
    deliveries.require_free(reads)
    # Changed files are P0's finding, so that the report names them; opening checks the manifest only.
    with refusals("parity", bundle, deliveries):
        opened = Bundle.open(bundle, check=None)
    with needs_extra("parity"):
        import torch  # noqa: F401  the rungs import it late

        from nexus_edge.parity import certify, ladder
        from nexus_edge.parity.own_tolerances import with_own
        from nexus_edge.parity.report import terminal
        from nexus_edge.parity.rungs.own_data import add_examples, read
    if update and rungs:
        raise InputError("--update keeps the verdict of the whole ladder; leave out --rungs")
    limit = None if max_memory is None else _bytes(max_memory)
    chosen = tuple(ladder.RUNGS) if rungs is None else _names("--rungs", rungs)
    skippable = _names("--allow-skip", ",".join(allow_skip)) if allow_skip else ()
    if unknown := [name for name in skippable if name not in chosen]:
        raise InputError(f"--allow-skip {','.join(unknown)}: is not among the rungs {', '.join(chosen)}")
    # What the user wrote is read before any work begins.
    examples = read(own_data, answers=opened.manifest.dual_encoder is None) if own_data else ()
    limits = with_own(tolerances, opened.manifest.model_type) if tolerances else None
    with refusals("parity", bundle, deliveries), step_bar(quiet=quiet or as_json) as progress:
        run = ladder.prepare(opened, checkpoint, adapter=adapter, goldens=goldens, max_memory=limit)
        if not isinstance(run.checkpoint, str):  # also the one that the bundle names
            deliveries.require_free(checkpoint_reads(run.checkpoint))
        if examples:
            add_examples(run, examples)
        if limits is not None:
            run.tolerances, run.own_tolerances = limits, str(tolerances)
        report = ladder.run(run, chosen, progress, skippable)
    if update and report.verdict in ("passed", "rejected") and not report.standing:
        certify.store(run, report)
        opened.with_parity(report.summary)
    for path, ending in written:
        certify.write_file(report, path, ending)
    deliver(outcome_of(report, str(bundle)), deliveries, lambda: console().print(terminal.table(report)))
    unrun = ",".join(_unrun(report))
    require_passed(report, bundle, f"--allow-skip {unrun} if that is meant" if unrun else "")


def _names(option: str, text: str) -> tuple[str, ...]:
    found = tuple(name.strip() for name in text.upper().split(",") if name.strip())
    if not found:
        raise InputError(f"{option} {text!r}: names no rung")
    return found


def _bytes(gigabytes: float) -> int:
    if not 0 < gigabytes * GB < math.inf:
        raise InputError(f"--max-memory is {gigabytes:g}; a number of GB above 0 is needed")
    return max(1, int(gigabytes * GB))


def _unrun(report: "Report") -> list[str]:
    return [rung.name for rung in report.rungs if not rung.may_be_skipped and rung.not_run(report.targets)]


def require_passed(report: "Report", bundle: Path, hint: str) -> None:
    """Raise ParityError, which becomes exit code 3, unless the verdict is "passed".

    Args:
        report: what was found
        bundle: its folder, for the message
        hint: what to do where something did not run; "" where what is missing says it
    """
    if report.verdict == "passed":
        return
    text = f"{bundle}: {report.reason}"
    helps = hint and report.missing and report.reason == "; ".join(report.missing)
    raise ParityError(f"{text}; {hint}" if helps else text)
