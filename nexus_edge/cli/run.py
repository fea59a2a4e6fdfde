"""`nexus-edge run`: answer one question."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from nexus_edge.cli.answers import (
    AllowRejected,
    BundleFolder,
    Device,
    Engine,
    Images,
    MaxNewTokens,
    MinP,
    Quiet,
    RepetitionPenalty,
    Seed,
    Stop,
    Temperature,
    Threads,
    TopK,
    TopP,
    describe_run,
    introduce,
    say,
    say_without_effect,
)
from nexus_edge.errors import InputError

if TYPE_CHECKING:
    from nexus_edge.runtimes import TokenLogprob


def run(
    bundle: BundleFolder,
    prompt: Annotated[str, typer.Option("--prompt", "-p", help="A question.")],
    image: Images = None,
    raw: Annotated[
        bool | None,
        typer.Option("--raw/--no-raw", help="--prompt is a whole prompt, with the model's role tokens and image tags."),
    ] = None,
    max_new_tokens: MaxNewTokens = 256,
    temperature: Temperature = 0.0,
    top_k: TopK = 0,
    top_p: TopP = 1.0,
    min_p: MinP = 0.0,
    repetition_penalty: RepetitionPenalty = 1.0,
    seed: Seed = None,
    stop: Stop = None,
    threads: Threads = None,
    engine: Engine = None,
    device: Device = "CPU",
    allow_rejected: AllowRejected = False,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print answer, counts and times as JSON at the end.")] = False,
    logprobs: Annotated[
        int | None,
        typer.Option(metavar="N", help="With --json: the log probability of each token and of the N most likely."),
    ] = None,
) -> None:
    """Answer a question about images with an exported bundle."""
    from nexus_edge.bundle import Bundle
    from nexus_edge.runtimes import EngineOptions, GenerationOptions, load_vlm
    from nexus_edge.runtimes.vlm.generation import GenerationKeywords

    if logprobs is not None and not as_json:
        raise InputError("--logprobs is for --json; give both")
    options = GenerationKeywords(
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        seed=seed,
        stop=stop or (),
        logprobs=logprobs,
    )
    say_without_effect(GenerationOptions.of(options))
    opened = Bundle.open(bundle, allow_rejected=allow_rejected)
    if not (quiet or as_json):
        introduce(opened.manifest, engine)
    vlm = load_vlm(opened, EngineOptions(threads, engine=engine, device=device))
    pieces = vlm.generate(prompt, [*(image or ())], raw=raw, **options)
    if as_json:
        answer = pieces.finish()
        source = {"model": opened.manifest.name, "weights": opened.manifest.source.weights}
        tokens = {} if answer.logprobs is None else {"logprobs": [_described(token) for token in answer.logprobs]}
        said = {"answer": answer.text, **source, "run": asdict(answer.run), **tokens}
        typer.echo(json.dumps(said, ensure_ascii=False))
        return
    for piece in pieces:
        typer.echo(piece, nl=False)
    typer.echo()
    if not quiet:
        say(describe_run(pieces.run))


def _described(token: "TokenLogprob") -> dict[str, object]:
    top = [{"id": other.id, "text": other.text, "logprob": other.logprob} for other in token.top]
    return {"id": token.id, "text": token.text, "logprob": token.logprob, "top": top}
