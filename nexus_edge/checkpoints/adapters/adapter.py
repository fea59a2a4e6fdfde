"""An adapter opened: its configuration, and its tensors one at a time."""

import hashlib
import json
from functools import cached_property
from pathlib import Path

import numpy as np

from nexus_edge.checkpoints.adapters.config import AdapterConfig
from nexus_edge.checkpoints.adapters.folder import CONFIG, PICKLED, SAFETENSORS, adapter_files, holds_adapter
from nexus_edge.checkpoints.base import TensorFile
from nexus_edge.checkpoints.json_file import is_there, read_json
from nexus_edge.checkpoints.pointers import refuse_pointers
from nexus_edge.errors import CheckpointError, MissingExtraError
from nexus_edge.storage.dtypes import FLOATS
from nexus_edge.storage.reader import SafetensorsFile


class Adapter:
    """The LoRA adapter in a folder; no tensor is read yet.

    Raises:
        CheckpointError: a file is missing or damaged, a link leads nowhere, or says what is not merged here
        MissingExtraError: the tensors are pickled, and PyTorch is not installed
    """

    def __init__(self, folder: Path) -> None:
        if folder.is_symlink() and not folder.exists():
            raise CheckpointError(f"{folder}: is a link that leads nowhere; give the adapter's folder itself")
        if not folder.is_dir():
            raise CheckpointError(f"{folder}: no such folder; --adapter takes one with {CONFIG} and {SAFETENSORS}")
        for file in adapter_files(folder):
            is_there(file)
        if not holds_adapter(folder):
            raise CheckpointError(f"{folder}: holds no PEFT adapter ({CONFIG} and {SAFETENSORS})")
        refuse_pointers(folder, (CONFIG, SAFETENSORS, PICKLED))
        self.folder = folder
        self.config = AdapterConfig.read(folder)
        self.file = _open_tensors(folder)
        for key, info in self.file.infos.items():
            if info.dtype not in FLOATS:
                raise CheckpointError(f"{self.file.path}: tensor {key!r} is {info.dtype}, expected a float type")

    @cached_property
    def content(self) -> str:
        """SHA-256 (hex) of the configuration as JSON with sorted keys, and of name, type, shape and bytes of all
        tensors, sorted by name. The format of the file makes no difference.
        """
        digest = hashlib.sha256(json.dumps(read_json(self.folder / CONFIG), sort_keys=True).encode())
        for key, info in sorted(self.file.infos.items()):
            digest.update(json.dumps([key, info.dtype, list(info.shape)]).encode())
            digest.update(np.ascontiguousarray(self.file.read(key)).tobytes())
            self.file.release(key)
        return digest.hexdigest()


def _open_tensors(folder: Path) -> TensorFile:
    if is_there(folder / SAFETENSORS):
        return SafetensorsFile(folder / SAFETENSORS)
    if not is_there(folder / PICKLED):
        raise CheckpointError(f"{folder}: has neither {SAFETENSORS} nor {PICKLED}")
    try:
        from nexus_edge.checkpoints.torch_file import TorchFile
    except ImportError as error:
        raise MissingExtraError(f"reading {PICKLED} needs PyTorch: pip install 'nexus-edge[export]'") from error
    return TorchFile(folder / PICKLED)  # as data: code in it is refused, never run
