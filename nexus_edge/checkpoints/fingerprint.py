"""Hashes that tell a checkpoint from every other, in seconds, also where it holds gigabytes.

Three SHA-256, so that what differs can be named:

* `config`: the parsed config.json as JSON with sorted keys, and the bytes of the other files that turn images and text
  into tensors.
* `layout`: name, type and shape of every tensor, sorted by name. How they are spread over files makes no difference.
* `values`: the bytes of every tensor of up to `WHOLE` bytes, and of larger ones `ROWS` rows, evenly spread from the
  first to the last.

What that promises: training, merging, converting, quantizing or scaling changes tensors everywhere, and is seen; so is
a tensor that was exchanged or left out. A change of single rows of a large tensor can be missed, and somebody who wants
to be missed can be.
"""

import hashlib
import json
from typing import Any

import numpy as np

from nexus_edge.bundle.source import Content
from nexus_edge.checkpoints.base import Checkpoint

ROWS = 16
WHOLE = 1 << 16
CONFIG = "config.json"


def fingerprint(checkpoint: Checkpoint) -> Content:
    """See above; of synthetic weights, which have no files, the generator's version stands for the values.

    Raises:
        CheckpointError: a file cannot be read
    """
    infos = checkpoint.keys()
    layout = [(name, infos[name].dtype, list(infos[name].shape)) for name in sorted(infos)]
    return Content(_config(checkpoint), _of_json(layout), _values(checkpoint))


def _config(checkpoint: Checkpoint) -> str:
    digest = hashlib.sha256(_json(checkpoint.config))
    for name, content in sorted(checkpoint.processor_files().items()):
        if name != CONFIG:
            digest.update(hashlib.sha256(name.encode()).digest() + hashlib.sha256(content).digest())
    return digest.hexdigest()


def _values(checkpoint: Checkpoint) -> str:
    if checkpoint.folder is None:
        return _of_json([checkpoint.name, checkpoint.revision])
    digest = hashlib.sha256()
    for name, info in sorted(checkpoint.keys().items()):
        digest.update(hashlib.sha256(name.encode()).digest())
        if info.size <= WHOLE or not info.shape:
            digest.update(_bytes(checkpoint.read(name)))
        else:
            for row in np.unique(np.linspace(0, info.shape[0] - 1, ROWS).astype(np.int64)):
                digest.update(_bytes(checkpoint.rows(name, int(row), int(row) + 1)))
        checkpoint.release(name)
    return digest.hexdigest()


def _bytes(tensor: Any) -> bytes:
    data: bytes = np.ascontiguousarray(tensor).tobytes()
    return data


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _of_json(value: Any) -> str:
    return hashlib.sha256(_json(value)).hexdigest()
