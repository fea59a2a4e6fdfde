"""Keys of a checkpoint's configuration that the user takes responsibility for (`--ignore-config-key`).

They are taken out where the files are opened: all that follows sees files without them, also the bundle.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nexus_edge._typed import suggest
from nexus_edge.configs.keys import OPTION, Each, Read, Rules, Table, has, paths_of, rule_of, without
from nexus_edge.errors import CheckpointError
from nexus_edge.families import families
from nexus_edge.processing.templates.source import BESIDE, KEY


def rules_of(model_type: object) -> Mapping[str, Rules]:
    """The rules for each file of a family; none for a family that is not known."""
    return families()[model_type].config_rules if isinstance(model_type, str) and model_type in families() else {}


def without_ignored(config: Mapping[str, Any], ignored: Sequence[str]) -> dict[str, Any]:
    """A parsed file without these keys (dotted paths)."""
    for path in ignored:
        config = without(config, path)
    return dict(config)


def pruned(files: Mapping[str, bytes], ignored: Sequence[str]) -> dict[str, bytes]:
    """Files by name, JSON objects among them without these keys; a file that has none of them keeps its bytes.

    A chat template in a file of its own goes by that key's name.
    """
    kept = {name: content for name, content in files.items() if name != BESIDE or KEY not in ignored}
    return {name: _pruned(name, content, ignored) for name, content in kept.items()}


def require_ignorable(
    configs: Mapping[str, Mapping[str, Any]], rules: Mapping[str, Rules], ignored: Sequence[str], folder: Path
) -> None:
    """Refuse keys that no file has, and keys that are used.

    Args:
        configs: parsed files by name
        rules: their keys' rules
        ignored: dotted paths
        folder: for messages

    Raises:
        CheckpointError: naming the key.
    """
    for path in ignored:
        holders = [name for name, config in configs.items() if has(config, path)]
        if not holders:
            known = [key for name in configs for key, _ in paths_of(rules.get(name, {}))]
            raise CheckpointError(
                f"{folder}: {OPTION} {path}: no configuration file has that key{suggest(path, known)}"
            )
        for name in holders:
            rule = rule_of(rules.get(name, {}), path)
            if isinstance(rule, Read | Table | Each) and not (isinstance(rule, Read) and rule.instead):
                raise CheckpointError(
                    f"{folder}: {OPTION} {path}: {name}'s {path} is used; to change it, edit a copy of the file"
                )


def _pruned(name: str, content: bytes, ignored: Sequence[str]) -> bytes:
    if not name.endswith(".json") or not ignored:
        return content
    try:
        config = json.loads(content)
    except (ValueError, RecursionError):
        return content  # its reader says more
    if not isinstance(config, dict) or not any(has(config, path) for path in ignored):
        return content
    return json.dumps(without_ignored(config, ignored), indent=2).encode()
