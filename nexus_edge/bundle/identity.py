"""Which export a file belongs to, said by a hash that can stand inside the file.

The manifest's own hash cannot: it covers every file. What is hashed instead is what was known before any graph was
written, and stands in the manifest unchanged afterwards.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import PurePosixPath

from nexus_edge.bundle.manifest import Manifest

PREFIX = "nexus_edge."
"""Before the names of what we write into files of other people's formats."""

KEY = "manifest_sha256"
"""What such a hash is called there."""

_PROCESSOR = PurePosixPath("processor")
_FIELDS = ("model_type", "name", "toolkit_version", "source", "recipe", "targets", "context_length")
_FIRST_OF_SOURCE = ("checkpoint", "revision", "weights", "license")


def identity(manifest: Manifest, target: str) -> str:
    """SHA-256 (hex) of a manifest without what a target's graphs are written into.

    That is, as JSON without spaces and with sorted keys: the model, the source, the recipe, the targets, the context
    length, and under "files" the SHA-256 of each of the processor's files and of each of the target's weights files.

    Args:
        manifest: with files; graphs and parity may still be missing
        target: whose folder the weights files lie in
    """
    folders = {_PROCESSOR: "", PurePosixPath(target): ".safetensors"}
    files = {
        name: info.sha256
        for name, info in manifest.files.items()
        if name.endswith(folders.get(PurePosixPath(name).parent, "\n"))
    }
    whole = asdict(manifest)
    # What a later version of this format adds is left out where it says nothing: hashes of older bundles stay.
    source = {
        key: value for key, value in whole["source"].items() if key in _FIRST_OF_SOURCE or value not in (None, ())
    }
    content = {key: whole[key] for key in _FIELDS} | {"source": source, "files": files}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
