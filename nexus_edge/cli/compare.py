"""`nexus-edge compare`: compare a bundle with its baseline; exit code 3 if a budget is exceeded."""

from pathlib import Path
from typing import Annotated

import typer

from nexus_edge.bundle import Bundle
from nexus_edge.cli.answers import AllowRejected, Device, Engine, Images, Threads
from nexus_edge.cli.console import console
from nexus_edge.cli.formats import Formats, Output, deliver, refusals
from nexus_edge.cli.progress import step_bar
from nexus_edge.errors import InputError, ParityError


def compare(
    bundles: Annotated[
        list[Path],
        typer.Argument(metavar="[OLD] NEW", help="The baseline's folder, unless --baseline, and the new one."),
    ],
    baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A baseline that an earlier run saved, instead of OLD.")
    ] = None,
    save_baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Save the measurements of NEW for later runs.")
    ] = None,
    gates: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TOML file with [gates], instead of NEW's recipe.")
    ] = None,
    examples: Annotated[
        Path | None,
        typer.Option("--eval", metavar="FILE", help="JSON lines: image, question, answers; or image, label."),
    ] = None,
    runs: Annotated[int, typer.Option(metavar="N", help="Number of timed rounds; the median counts.")] = 3,
    prompt_tokens: Annotated[
        int, typer.Option(metavar="N", help="Length of the timed prompt (vision-language models).")
    ] = 512,
    new_tokens: Annotated[int, typer.Option(metavar="N", help="Timed tokens after the prompt.")] = 32,
    image: Images = None,
    engine: Engine = None,
    device: Device = "CPU",
    threads: Threads = None,
    allow_skip: Annotated[
        bool, typer.Option("--allow-skip", help="Do not fail on a budget that cannot be judged.")
    ] = False,
    allow_rejected: AllowRejected = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    formats: Formats = None,
    output: Output = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress bar.")] = False,
) -> None:
    """Compare two bundles, or one with a saved baseline: answers, embeddings, layers, size, speed and memory.

    Exit code 3 beyond a budget ([gates] of NEW's recipe, or --gates), and where a budget could not be judged.
    """
    from nexus_edge.ci.formats import Deliveries
    from nexus_edge.compare import record
    from nexus_edge.compare.budgets import read_budgets, require_measured
    from nexus_edge.compare.outcome import outcome_of
    from nexus_edge.compare.run import Request
    from nexus_edge.compare.run import compare as run
    from nexus_edge.compare.table import table
    from nexus_edge.recipe import read_gates

    others = [("--save-baseline", save_baseline, record.BASELINE)]
    deliveries = Deliveries.parse(formats or (), output, as_json=as_json, others=others)
    if len(bundles) != (2 if baseline is None else 1):
        needed = "OLD and NEW, or NEW and --baseline FILE" if baseline is None else "NEW alone beside --baseline"
        raise InputError(f"compare takes {needed}; {len(bundles)} folders were given")
    files = (path for path in (baseline, gates, examples, *(image or ())) if path is not None)
    deliveries.require_free([*bundles, *files])
    with refusals("compare", bundles[-1], deliveries):
        new = Bundle.open(bundles[-1], allow_rejected=allow_rejected)
        old = Bundle.open(bundles[0], allow_rejected=allow_rejected) if baseline is None else record.read(baseline)
    where = f"{new.root}: manifest.json: recipe: gates"
    limits = read_budgets(new.manifest.recipe.get("gates", {}), where) if gates is None else read_gates(gates)
    if not allow_skip:
        kind = "vlm" if new.manifest.dual_encoder is None else "dual_encoder"
        require_measured(limits, kind, where if gates is None else f"{gates}: gates")
    request = Request(
        old,
        new,
        limits,
        examples,
        runs,
        prompt_tokens,
        new_tokens,
        tuple(image or ()),
        engine,
        device,
        threads,
        allow_skip,
    )
    with refusals("compare", bundles[-1], deliveries), step_bar(quiet=quiet or as_json) as progress:
        found = run(request, progress)
    if save_baseline is not None:
        record.save(found.new, save_baseline)
    outcome = outcome_of(found)
    deliver(outcome, deliveries, lambda: console().print(table(found)))
    if outcome.color == "red":
        raise ParityError(f"{new.root}: {found.sentence}")
