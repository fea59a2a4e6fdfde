"""`nexus-edge run`: one question, one answer."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from nexus_edge.cli.answers import (
    AllowRejected,
    BundleFolder,
    Device,
    Engine,
    Images,
    MaxNewTokens,
    Quiet,
    Seed,
    Stop,
    Temperature,
    Threads,
    TopP,
    describe_run,
    introduce,
    say,
)


def run(
    bundle: BundleFolder,
    prompt: Annotated[str, typer.Option("--prompt", "-p", help="A question.")],
    image: Images = None,
    raw: Annotated[
        bool | None,
        typer.Option("--raw/--no-raw", help="--prompt is a whole prompt, with role tokens and <|image_N|> tags."),
    ] = None,
    max_new_tokens: MaxNewTokens = 256,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    seed: Seed = None,
    stop: Stop = None,
    threads: Threads = None,
    engine: Engine = None,
    device: Device = "CPU",
    allow_rejected: AllowRejected = False,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print answer, counts and times as JSON at the end.")] = False,
) -> None:
    """Answer a question about pictures with an exported bundle."""
    from nexus_edge.bundle import Bundle
    from nexus_edge.runtimes import EngineOptions, load_vlm

    opened = Bundle.open(bundle, allow_rejected=allow_rejected)
    if not (quiet or as_json):
        introduce(opened.manifest, engine)
    vlm = load_vlm(opened, EngineOptions(threads, engine=engine, device=device))
    answer = ""
    for piece in vlm.generate(
        prompt,
        [*(image or ())],
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        stop=stop or (),
        raw=raw,
    ):
        answer += piece
        if not as_json:
            typer.echo(piece, nl=False)
    assert vlm.last_run is not None  # it is set once all pieces are taken
    if as_json:
        source = {"model": opened.manifest.name, "weights": opened.manifest.source.weights}
        typer.echo(json.dumps({"answer": answer, **source, "run": asdict(vlm.last_run)}, ensure_ascii=False))
        return
    typer.echo()
    if not quiet:
        say(describe_run(vlm.last_run))
