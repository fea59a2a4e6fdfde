"""Whether a checkpoint's tokenizer files say the same: what one of them says alone would be ignored."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from nexus_edge._text import read_text
from nexus_edge.configs.keys import OPTION
from nexus_edge.errors import CheckpointError
from nexus_edge.processing.folder import read_json

TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token", "cls_token", "sep_token", "mask_token")
CONFIG, SPECIAL = "tokenizer_config.json", "special_tokens_map.json"

_QUOTED = re.compile(r"""('[^']*'|"[^"]*")""")
_LINE_BREAK = "\N{PILCROW SIGN}"


def check_agreement(
    folder: Path,
    configs: Mapping[str, Mapping[str, Any]],
    token_id: Callable[[str], int | None],
    templates: Sequence[str],
    ignored: Collection[str] = (),
) -> None:
    """Compare the files with each other.

    Args:
        folder: of the checkpoint, for messages
        configs: parsed files by name
        token_id: from a token's text to its id in the tokenizer itself
        templates: spellings of the chat template that is built in; none where there is nothing to compare
        ignored: keys that are left out

    Raises:
        CheckpointError: two files contradict each other, or a template is not the one that is built in
    """
    config, special = configs.get(CONFIG, {}), configs.get(SPECIAL, {})
    for name in TOKENS:
        one, other = _text(config.get(name)), _text(special.get(name))
        if one is not None and other is not None and one != other:
            raise CheckpointError(
                f"{folder}: {name} is {one!r:.60} in {CONFIG} and {other!r:.60} in {SPECIAL}; fix one"
            )
    added = config.get("added_tokens_decoder")
    for id_, token in added.items() if isinstance(added, dict) else ():
        text = _text(token)
        if text is not None and str(token_id(text)) != id_:
            raise CheckpointError(
                f"{folder / CONFIG}: added_tokens_decoder has {text!r:.60} as id {id_}, tokenizer.json as "
                f"{token_id(text)}; take both files from the same checkpoint"
            )
    if templates and "chat_template" not in ignored:
        _check_template(folder, config, templates)


def read_template(folder: Path, config: Mapping[str, Any]) -> tuple[Any, str]:
    """The chat template of a checkpoint, None where it brings none, and the file that holds it; raises CheckpointError.

    Args:
        folder: of the checkpoint
        config: its parsed tokenizer_config.json
    """
    if config.get("chat_template") is not None:
        return config["chat_template"], CONFIG
    for name in ("processor_config.json", "chat_template.json"):  # where transformers before 5 put a processor's
        if (folder / name).is_file() and (template := read_json(folder, name).get("chat_template")) is not None:
            return template, name
    beside = folder / "chat_template.jinja"  # where transformers 5 puts it
    if not beside.is_file():
        return None, CONFIG
    try:
        return read_text(beside), beside.name
    except ValueError as error:
        raise CheckpointError(f"{beside} {error}") from error


def _check_template(folder: Path, config: Mapping[str, Any], templates: Sequence[str]) -> None:
    template, name = read_template(folder, config)
    if template is None:
        return
    if not any(same_template(template, known) for known in templates):
        raise CheckpointError(
            f"{folder / name}: its chat_template is not the one that is built in for this kind of model, so prompts "
            f"would differ; if it writes the same turns, remove it or pass {OPTION} chat_template"
        )


def same_template(template: object, known: str) -> bool:
    """Whether a checkpoint's template is spelled like one that is known, but for what makes no difference."""
    return isinstance(template, str) and _plain(template) == _plain(known)


def _plain(template: str) -> str:
    """A template without what makes no difference in it: spaces and hyphens outside strings, where strings are cut."""
    parts = _QUOTED.split(template)
    for place, part in enumerate(parts):
        if place % 2:
            parts[place] = part[1:-1].replace("\\n", _LINE_BREAK).replace("\n", _LINE_BREAK)
        else:
            parts[place] = re.sub(r"[\s+-]", "", part)
    return re.sub(r"\[(role|content)\]", r".\1", "".join(parts))


def _text(token: object) -> str | None:
    """A special token's text; older files hold its flags as well."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else None
