"""What `run` and `chat` share: the options of an answer, and what is said beside it on stderr."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nexus_edge._words import counted
from nexus_edge.axes import engines, engines_of

if TYPE_CHECKING:
    from nexus_edge.bundle import Manifest
    from nexus_edge.runtimes import GenerationOptions, RunStats

BundleFolder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A folder made by nexus-edge export.")]
Images = Annotated[list[Path] | None, typer.Option("--image", "-i", metavar="FILE", help="An image; can be repeated.")]
MaxNewTokens = Annotated[int, typer.Option(metavar="N", help="Maximum tokens of an answer.")]
Temperature = Annotated[float, typer.Option(help="0: greedy; higher values sample more freely.")]
TopP = Annotated[float, typer.Option(help="Sample from the most likely tokens that make up this probability.")]
TopK = Annotated[int, typer.Option(metavar="N", help="Sample from the N most likely tokens; 0: from all.")]
MinP = Annotated[float, typer.Option(help="Sample from tokens with at least this share of the best one's probability.")]
RepetitionPenalty = Annotated[float, typer.Option(help="Above 1: tokens that occurred before become less likely.")]
Seed = Annotated[int | None, typer.Option(metavar="N", help="Random seed, for repeatable sampling.")]
Stop = Annotated[list[str] | None, typer.Option(metavar="TEXT", help="Ends the answer; can be repeated.")]
Threads = Annotated[int | None, typer.Option(metavar="N", help="Threads; default: one per core.")]
Engine = Annotated[
    str | None,
    typer.Option(
        metavar="|".join((*engines(), "auto")),
        help="The engine; auto: what nexus-edge tune found fastest.",
    ),
]
Device = Annotated[
    str,
    typer.Option(metavar="CPU|GPU|NPU|AUTO", help="OpenVINO's device; any but CPU implies that engine."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the answer.")]


AllowRejected = Annotated[bool, typer.Option("--allow-rejected", help="Run a bundle that the parity ladder rejected.")]


def say(text: str, style: str = "dim") -> None:
    """One line on stderr, so that stdout holds nothing but answers."""
    from nexus_edge._text import without_controls
    from nexus_edge.cli.console import console

    console(stderr=True).print(without_controls(text), style=style, markup=False, highlight=False, soft_wrap=True)


def introduce(manifest: "Manifest", engine: str | None) -> None:
    """Say it where the weights are not those of the published model, and where an evaluator stands in for a runtime."""
    if manifest.source.weights != "real" or manifest.source.published is False:
        say(f"{manifest.name}: the weights are {manifest.source.label}, not the published model's")
    if manifest.rejection is not None:
        say(f"warning: {manifest.name} was rejected by its parity ladder: {manifest.rejection}", style="yellow")
    usable = engines_of(manifest.targets)
    chosen = [info for info in usable if info.name == engine] or usable
    if chosen and all(info.is_reference() for info in chosen):
        say(f"{chosen[0].title} is not here: an evaluator computes what it would, slowly")


def say_without_effect(options: "GenerationOptions") -> None:
    """Say it where options of drawing are given and nothing is drawn."""
    if options.without_effect:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in options.without_effect)
        say(f"warning: {names} without effect: --temperature is 0, which takes the likeliest token", style="yellow")


def runs_said(runs: int) -> str:
    """The heading of what was measured."""
    return "one run" if runs == 1 else f"median of {runs} runs"


def describe_run(run: "RunStats") -> str:
    """Counts and speed in one line."""
    reused = f", {run.reused_tokens} reused" if run.reused_tokens else ""
    vision = f", vision {run.vision_s:.2f} s" if run.image_tokens else ""
    return (
        f"prompt {counted(run.prompt_tokens, 'token')} ({run.image_tokens} of images{reused}), "
        f"first token after {run.first_token_s:.2f} s{vision}, prefill {run.prefill_tokens_per_s:.0f} tokens/s, "
        f"{run.new_tokens} new at {run.decode_tokens_per_s:.1f} tokens/s ({run.finish})"
    )
