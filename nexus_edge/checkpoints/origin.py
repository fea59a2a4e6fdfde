"""Whose checkpoint it is: the published one, or somebody's own, and then of which model it says to be a fine-tune."""

import re
from pathlib import Path

from nexus_edge._arguments import resolved
from nexus_edge.bundle.source import AdapterSource, Source
from nexus_edge.checkpoints import Checkpoint, published
from nexus_edge.checkpoints.fingerprint import fingerprint
from nexus_edge.checkpoints.hub import HUB_ID
from nexus_edge.checkpoints.license import front_matter, read_license

# `base_model: owner/name`, or the first of a YAML list of them.
_BASE = re.compile(r"""^base_model:\s*(?:\[\s*|\n\s*-\s+)?["']?([\w.-]+/[\w.-]+)""", re.MULTILINE)


def source_of(checkpoint: Checkpoint) -> Source:
    """What a manifest says of a checkpoint.

    A folder is named by its absolute path, so that the bundle finds it again from anywhere.
    """
    adapter = checkpoint.adapter
    return Source(
        checkpoint=place_of(checkpoint),
        revision=checkpoint.revision,
        weights=checkpoint.kind,
        license=read_license(checkpoint.folder),
        published=_is_known(checkpoint) and adapter is None if checkpoint.kind == "real" else None,
        base_model=base_of(checkpoint),
        content=fingerprint(checkpoint),
        ignored_keys=checkpoint.ignored_keys,
        adapter=None
        if adapter is None
        else AdapterSource(str(resolved(adapter.folder)), adapter.content, adapter.config.base),
    )


def base_of(checkpoint: Checkpoint) -> str | None:
    """What was fine-tuned: by an adapter the published checkpoint that it is merged into."""
    known = _is_known(checkpoint)
    if checkpoint.kind != "real" or (known and checkpoint.adapter is None):
        return None
    return checkpoint.name if known else base_model(checkpoint)


def _is_known(checkpoint: Checkpoint) -> bool:
    return checkpoint.kind == "real" and checkpoint.name in published()


def place_of(checkpoint: Checkpoint) -> str:
    """A hub id or the name of a stand-in; of a folder its absolute path."""
    if checkpoint.folder is None or checkpoint.name != str(checkpoint.folder):
        return checkpoint.name
    return str(resolved(checkpoint.folder))


def base_model(checkpoint: Checkpoint) -> str | None:
    """The hub id of the model that was fine-tuned: what the model card says, else what transformers noted."""
    named = _BASE.search(_card(checkpoint.folder))
    if named is not None:
        return named.group(1)
    noted = checkpoint.config.get("_name_or_path")
    is_hub_id = isinstance(noted, str) and HUB_ID.fullmatch(noted) and noted != checkpoint.name
    return str(noted) if is_hub_id else None


def _card(folder: Path | None) -> str:
    return "" if folder is None else front_matter(folder)
