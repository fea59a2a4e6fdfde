"""What `classify`, `embed`, `search` and `bank` share: which bundle, which labels, and what is said of both."""

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nexus_edge._words import counted
from nexus_edge.cli.answers import introduce, say
from nexus_edge.errors import InputError

if TYPE_CHECKING:
    from nexus_edge.bundle import Bundle
    from nexus_edge.runtimes import DualEncoder, PromptSet
    from nexus_edge.runtimes.dual_encoder.index import Found, Skipped

BundleOption = Annotated[
    Path | None,
    typer.Option(
        "--bundle",
        "-b",
        metavar="DIR",
        help="The model; default: $NEXUS_EDGE_BUNDLE, else the newest dual encoder in out/ that fits.",
    ),
]
Images = Annotated[
    list[Path],
    typer.Argument(
        metavar="[BUNDLE] IMAGES...",
        help="Files and folders, after a bundle if you name one. In folders, images are found by their content.",
    ),
]
Labels = Annotated[str | None, typer.Option(metavar='"A,B,C"', help="Labels, separated by commas.")]
LabelsFile = Annotated[Path | None, typer.Option(metavar="FILE", help="A file of labels, one per line.")]
Templates = Annotated[
    list[str] | None,
    typer.Option("--template", metavar='"... {}"', help="A sentence with {} for the label; can be repeated."),
]
BatchSize = Annotated[int, typer.Option(metavar="N", help="Images that run through the tower together.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the result.")]


def split_bundle(arguments: Sequence[Path], option: Path | None) -> tuple[Path | None, list[Path]]:
    """The bundle that was named, by the option or as the first argument, and the other arguments."""
    if option is None and arguments and _lies(arguments[0] / "manifest.json"):
        return arguments[0], list(arguments[1:])
    return option, list(arguments)


def _lies(path: Path) -> bool:
    """Whether anything is there: what is wrong with a manifest that is no file, opening the bundle says."""
    return os.path.lexists(path)


def is_file(path: Path) -> bool:
    """Whether it is a file; what is no path at all, such as a text of 5,000 words, is none."""
    try:
        return path.is_file()
    except OSError:  # the name is too long
        return False


def open_model(
    named: Path | None,
    *,
    fits: "Callable[[Bundle], bool]" = lambda bundle: True,
    noted: Path | None = None,
    threads: int | None = None,
    engine: str | None = None,
    device: str = "CPU",
    allow_rejected: bool = False,
    quiet: bool,
) -> "DualEncoder":
    """The named bundle, or the one that `find_bundle` finds; which one, and whose weights it has, is said on stderr."""
    from nexus_edge.bundle import Bundle
    from nexus_edge.runtimes import EngineOptions, load_dual_encoder
    from nexus_edge.runtimes.discover import find_bundle

    if named is not None:
        bundle = Bundle.open(named)
    else:
        found = find_bundle(fits, noted)
        bundle = found.bundle
        if not quiet:
            say(f"using {bundle.root} ({found.why}; --bundle names another)")
    options = EngineOptions(threads, engine=engine, device=device)
    model = load_dual_encoder(bundle, options, allow_rejected=allow_rejected)
    if not quiet:
        introduce(bundle.manifest, engine)
    return model


def prompts_of(
    labels: str | None, labels_file: Path | None, bank: str | None, templates: Sequence[str] | None
) -> "PromptSet | None":
    """The one set of labels that was given; None if there is none. `bank` names a built-in set, or a TOML file.

    Raises:
        InputError: several, or labels that cannot be used
    """
    from nexus_edge.runtimes.dual_encoder.prompts import find_prompts, of_labels, read_labels

    if sum(given is not None for given in (labels, labels_file, bank)) > 1:
        raise InputError("give labels once: --labels, --labels-file or --bank")
    if bank is not None:
        if templates:
            raise InputError("a bank has its own templates; leave out --template")
        return find_prompts(bank)
    if labels is not None:
        return of_labels([label.strip() for label in labels.split(",")] if labels.strip() else [], templates or None)
    if labels_file is not None:
        return of_labels(read_labels(labels_file), templates or None)
    if templates:
        raise InputError("--template needs labels to go into it: --labels or --labels-file")
    return None


@contextmanager
def warnings_said() -> Iterator[None]:
    """Inside, a warning about a text that was cut is one line on stderr, also with --quiet and --json."""
    from nexus_edge.runtimes import TruncatedTextWarning

    with warnings.catch_warnings():
        warnings.simplefilter("always", TruncatedTextWarning)
        warnings.showwarning = lambda message, *where: say(f"warning: {message}", style="yellow")
        yield


def report_left_out(found: "Found", *, quiet: bool) -> None:
    """Say in one line what lies in the named folders and is no image."""
    from nexus_edge.runtimes.dual_encoder.index.folders import summary

    if found.left_out and not quiet:
        say(f"left out: {printable(summary(found.left_out))}")


def report_skipped(skipped: "Sequence[Skipped]", images: int, where: str, *, quiet: bool) -> None:
    """Name each image that cannot be read, and raise InputError, which becomes exit code 2, if there is one."""
    if not skipped:
        return
    if len(skipped) > 1 and not quiet:
        for item in skipped:
            say(f"skipped: {item.reason}", style="yellow")
    first = "" if len(skipped) == 1 else "the first: "
    raise InputError(f"{len(skipped)} of {counted(images, 'image')} cannot be read{where}; {first}{skipped[0].reason}")


def printable(path: str | Path) -> str:
    """A path for the terminal: what would move the cursor, or cannot be encoded, is escaped."""
    text = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in str(path))
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
