"""Which file of a checkpoint holds its chat template."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nexus_edge._text import decode, parse_json, read_bytes
from nexus_edge.errors import CheckpointError
from nexus_edge.processing.folder import read_json

KEY = "chat_template"
BESIDE = "chat_template.jinja"
FILES = ("processor_config.json", "chat_template.json", BESIDE, "tokenizer_config.json")
"""The first that has one counts. Source: transformers 5.23, `ProcessorMixin.get_processor_dict` and
`PreTrainedTokenizerBase._from_pretrained`."""

DEFAULT = "default"


@dataclass(frozen=True)
class TemplateSource:
    """A chat template in Jinja, and where it stands, for messages."""

    text: str
    where: str


def read_template(folder: Path) -> TemplateSource | None:
    """The chat template of a checkpoint, None where it brings none.

    Raises:
        CheckpointError: a file is damaged, or has several templates and none is the default.
    """
    files: dict[str, bytes] = {}
    for path in (folder / name for name in FILES):
        try:
            files |= {path.name: read_bytes(path)} if path.is_file() else {}
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise CheckpointError(f"{path} {error}") from error
    return template_in(files, folder)


def template_in(files: Mapping[str, bytes], folder: Path) -> TemplateSource | None:
    """As `read_template`, of files by name; `folder` is for messages."""
    for name in FILES:
        if name not in files:
            continue
        path = folder / name
        try:
            text = decode(files[name])
            if name == BESIDE:
                return TemplateSource(text, str(path))
            config = parse_json(text)
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{path} cannot be read ({error}); download it again") from error
        value = config.get(KEY) if isinstance(config, dict) else None
        if value is not None:
            return TemplateSource(_default(value, path), f"{path}: {KEY}")
    return None


def special_tokens(folder: Path) -> dict[str, str]:
    """The special tokens that templates name, such as bos_token, by their names in the tokenizer's files."""
    found = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):  # the second wins
        config: Mapping[str, Any] = read_json(folder, name) if (folder / name).is_file() else {}
        for key, value in config.items():
            content = value.get("content") if isinstance(value, dict) else value
            if key.endswith("_token") and isinstance(content, str):
                found[key] = content
    return found


def _default(value: object, path: Path) -> str:
    """The template itself, or of several with names the one that is called default."""
    if isinstance(value, list) and all(isinstance(one, dict) for one in value):
        value = {str(one.get("name")): one.get("template") for one in value}
    if isinstance(value, dict):
        if DEFAULT not in value:
            raise CheckpointError(
                f"{path}: {KEY} has the templates {', '.join(value):.200} and none is called {DEFAULT!r}; give the one "
                "to use that name"
            )
        value = value[DEFAULT]
    if not isinstance(value, str):
        raise CheckpointError(f"{path}: {KEY} holds a {type(value).__name__}, expected Jinja as text; correct it")
    return value
