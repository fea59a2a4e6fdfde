"""Labels as the sentences that a text tower reads: templates, ensembling, and the built-in sets of both.

A set is a TOML file with `title`, `source`, `labels` and `templates`; the built-in ones lie in `banks/`.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nexus_edge._arguments import require_path, require_texts
from nexus_edge._text import MARK, read_text
from nexus_edge._toml import read_toml
from nexus_edge._typed import read, suggest
from nexus_edge.errors import InputError
from nexus_edge.interfaces.engine import Floats

BUILT_IN = Path(__file__).parent / "banks"
PLACE = "{}"  # of the label in a template
DEFAULT_TEMPLATES = ("this is a photo of {}",)  # that of BiomedCLIP's model card


@dataclass(frozen=True)
class PromptSet:
    """Labels and the templates they are put into; raises InputError if one of them cannot be used."""

    labels: tuple[str, ...]
    templates: tuple[str, ...]
    title: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        if not self.labels:
            raise InputError("no labels; give at least one")
        if any(_is_empty(label) for label in self.labels):
            raise InputError("a label is empty; each needs at least one word")
        if len(set(self.labels)) < len(self.labels):
            twice = next(label for index, label in enumerate(self.labels) if label in self.labels[:index])
            raise InputError(f"label {twice!r:.80} appears twice; give each once")
        if not self.templates:
            raise InputError(f"no templates; give at least one, such as {DEFAULT_TEMPLATES[0]!r}")
        for template in self.templates:
            if template.count(PLACE) != 1:
                raise InputError(f"template {template!r:.80} must contain {PLACE} once, where the label goes")

    @property
    def prompts(self) -> list[str]:
        """Every label in every template: all labels in the first, then all in the second, and so on."""
        return [template.replace(PLACE, label) for template in self.templates for label in self.labels]

    def ensemble(self, embeddings: Floats) -> Floats:
        """Embeddings of `prompts` [templates * labels, dim] -> one per label [labels, dim], L2-normalised.

        Normalise, average over the templates, normalise again: "Learning Transferable Visual Models From Natural
        Language Supervision", section 3.1.4, and BiomedCLIP's own evaluation.
        """
        unit = _normalized(embeddings).reshape(len(self.templates), len(self.labels), -1)
        return _normalized(unit.mean(axis=0))


@dataclass(frozen=True)
class _File:
    """What a file of a set must hold."""

    title: str
    source: str
    labels: tuple[str, ...]
    templates: tuple[str, ...]


def built_in_sets() -> tuple[str, ...]:
    """Names of the sets that come with the package."""
    return tuple(sorted(path.stem for path in BUILT_IN.glob("*.toml")))


def find_prompts(name: str) -> PromptSet:
    """A built-in set by its name, or one of your own by its path; raises InputError if there is none."""
    if name in built_in_sets():
        return read_prompts(BUILT_IN / f"{name}.toml")
    if require_path("the name of a bank", name).suffix == ".toml":
        return read_prompts(Path(name))
    raise InputError(f"{name}: no such file, and no built-in bank{suggest(name, built_in_sets())}")


def read_prompts(path: Path) -> PromptSet:
    """The set in a TOML file; raises InputError."""
    file = read(read_toml(path, InputError), _File, str(path), InputError)
    try:
        return PromptSet(file.labels, file.templates, file.title, file.source)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def read_labels(path: Path) -> tuple[str, ...]:
    """The labels of a text file, one a line; empty lines do not count. Raises InputError."""
    try:
        lines = read_text(path).split("\n")  # not splitlines: a label may hold what Unicode ends lines with
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; give a file with one label per line") from error
    except ValueError as error:
        raise InputError(f"{path}: {error}, one label per line") from error
    bare = (line.removeprefix(MARK).strip() for line in lines)  # files that were joined have a mark between them
    return tuple(line for line in bare if not _is_empty(line))


def of_labels(labels: Sequence[str], templates: Sequence[str] | None = None) -> PromptSet:
    """A set of your own; None: with the default template."""
    require_texts("labels", labels)
    templates = DEFAULT_TEMPLATES if templates is None else templates
    require_texts("templates", templates)
    return PromptSet(tuple(map(str, labels)), tuple(map(str, templates)))  # numpy's are texts of another type


def bare_letters(text: str) -> str:
    """Without accents, case and doubled spaces: what normalisers of tokenizers may take away."""
    letters = unicodedata.normalize("NFKD", text)
    return " ".join("".join(letter for letter in letters if not unicodedata.combining(letter)).casefold().split())


def _is_empty(label: str) -> bool:
    """Whether nobody sees it: white space, control characters and Unicode's format characters, of no width, alone."""
    return all(letter.isspace() or unicodedata.category(letter) in ("Cc", "Cf") for letter in label)


def _normalized(rows: Floats) -> Floats:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)
