"""`nexus-edge chat`: talk with a model in the terminal, or through a pipe with one turn per line."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from nexus_edge._text import lines
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
    Temperature,
    Threads,
    TopK,
    TopP,
    describe_run,
    introduce,
    say,
    say_without_effect,
)
from nexus_edge.errors import InputError, NexusEdgeError

if TYPE_CHECKING:
    from nexus_edge.processing.images import ImageInput
    from nexus_edge.runtimes import ChatSession

HELP = "/image FILE adds an image to the next turn, /reset forgets everything, /quit ends"


def chat(
    bundle: BundleFolder,
    image: Images = None,
    system: Annotated[str | None, typer.Option(help="System prompt: an instruction before all turns.")] = None,
    max_new_tokens: MaxNewTokens = 512,
    temperature: Temperature = 0.0,
    top_k: TopK = 0,
    top_p: TopP = 1.0,
    min_p: MinP = 0.0,
    repetition_penalty: RepetitionPenalty = 1.0,
    seed: Seed = None,
    threads: Threads = None,
    engine: Engine = None,
    device: Device = "CPU",
    allow_rejected: AllowRejected = False,
    quiet: Quiet = False,
) -> None:
    """Talk about images. Later turns reuse the cache of earlier ones. Ctrl-C stops an answer."""
    from nexus_edge.bundle import Bundle
    from nexus_edge.runtimes import EngineOptions, GenerationOptions, load_vlm

    opened = Bundle.open(bundle, allow_rejected=allow_rejected)
    if not quiet:
        introduce(opened.manifest, engine)
    vlm = load_vlm(opened, EngineOptions(threads, engine=engine, device=device))
    options = GenerationOptions(
        max_new_tokens,
        temperature,
        top_p,
        seed,
        top_k=top_k,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
    )
    say_without_effect(options)
    terminal = Terminal(vlm.chat(options, system), interactive=sys.stdin.isatty(), quiet=quiet)
    for path in image or ():
        terminal.command(f"/image {path}")
    terminal.run()


class Terminal:
    """Reads turns and commands, prints answers. Not interactive, the first error ends it; else it is only shown."""

    def __init__(self, session: "ChatSession", *, interactive: bool, quiet: bool) -> None:
        self._session = session
        self._interactive = interactive
        self._quiet = quiet
        self._images: list[ImageInput] = []

    def run(self) -> None:
        """Until /quit or the end of the input."""
        if self._interactive:
            say(HELP)
        for line in self._lines():
            try:
                if line == "/quit":
                    return
                if line.startswith("/"):
                    self.command(line)
                elif line:
                    self.turn(line)
            except NexusEdgeError as error:
                if not self._interactive:
                    raise
                say(f"error: {error}", style="red")

    def command(self, line: str) -> None:
        """Follow /image or /reset; raises ImageError, and InputError for anything else."""
        from nexus_edge.processing.images import load_image

        name, _, argument = line.partition(" ")
        if name == "/image" and argument.strip():
            self._images.append(load_image(argument.strip()))
        elif name == "/reset":
            self._session.reset()
            self._images.clear()
        else:
            raise InputError(f"{line.split()[0]}: no such command; {HELP}")

    def turn(self, text: str) -> None:
        """Print the answer to one turn, with the images added since the last."""
        turns = len(self._session.messages)
        pieces = self._session.send(text, self._images)
        try:
            with pieces:
                for piece in pieces:
                    typer.echo(piece, nl=False)
        except KeyboardInterrupt:
            if not self._interactive:
                raise
            typer.echo(" [stopped]", nl=False)
        typer.echo()
        if len(self._session.messages) > turns:
            self._images = []
        if not self._quiet:
            say(describe_run(pieces.run))

    def _lines(self) -> Iterator[str]:
        if not self._interactive:
            yield from (line.strip() for line in lines(sys.stdin))
            return
        while True:
            try:
                yield input("> ").strip()
            except EOFError:
                return
