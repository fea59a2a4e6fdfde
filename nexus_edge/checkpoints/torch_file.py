"""Reads a `.bin` file of PyTorch without running what it holds: tensors only, each a view of the mapped file."""

import pickle
import re
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from nexus_edge.checkpoints.base import Array, TensorInfo
from nexus_edge.errors import CheckpointError
from nexus_edge.storage.dtypes import CODE_OF_NAME, numpy_dtype

# Bytes that may stay resident. Unmapping means that the index of the file is read again, which takes milliseconds.
RESIDENT = 1 << 26
SAFER = "save the state dict as safetensors (safetensors.torch.save_file)"

# What a damaged pickle or archive makes of torch's reader, which checks little of what it reads.
_DAMAGE = (
    RuntimeError, struct.error, EOFError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError,
    AssertionError, MemoryError,
)  # fmt: skip


class TorchFile:
    """One file that `torch.save` wrote: a state dict, or a training checkpoint of open_clip that holds one.

    Arrays are read-only and keep their mapping alive as long as they live.

    Raises:
        CheckpointError: on opening, if the file is missing, damaged, or holds anything but tensors and numbers.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch finds odd about a file is an error below, or no matter
            self._tensors: Mapping[str, Tensor] | None = _load(path)
        self.infos: Mapping[str, TensorInfo] = _infos(self._tensors, path)
        self._touched = 0

    def read(self, key: str) -> Array:
        """The whole tensor, a view of the file."""
        return _array(self._mapped(key))

    def rows(self, key: str, start: int, stop: int) -> Array:
        """`tensor[start:stop]`; only the pages of these rows are read from disk."""
        return _array(self._mapped(key)[start:stop])

    def release(self, key: str) -> None:
        """Drop what was read from resident memory, once it is worth it. Arrays of it stay valid and resident."""
        self._touched += self.infos[key].size
        if self._touched >= RESIDENT:
            self._touched, self._tensors = 0, None

    def _mapped(self, key: str) -> Tensor:
        if key not in self.infos:
            raise CheckpointError(f"{self.path}: has no tensor {key!r}")
        tensors = self._tensors  # another thread may release meanwhile
        if tensors is None:
            tensors = _load(self.path)
            if _infos(tensors, self.path) != self.infos:
                raise CheckpointError(f"{self.path}: has changed since it was opened")
            self._tensors = tensors
        return tensors[key]


def _load(path: Path) -> dict[str, Tensor]:
    """Every tensor of the file, none of them read."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        what = f"is damaged, or holds code{_global(error)}; it was not loaded; {SAFER}"
        raise CheckpointError(f"{path}: {what}") from error
    except _DAMAGE as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise CheckpointError(f"{path}: is not a readable PyTorch file ({reason:.160}); download it again") from error
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise CheckpointError(f"{path}: holds a {type(found).__name__} and no state dict; {SAFER}")
    # Training on several devices wraps the model, which puts this word before every key.
    return {key.removeprefix("module."): tensor for key, tensor in found.items()}


def _global(error: pickle.UnpicklingError) -> str:
    """Which Python object the file asks for, out of torch's message: many lines, with advice to trust the file."""
    found = re.search(r"\bGLOBAL (\S+)", str(error))
    return f" (it asks for {found[1]:.80})" if found else ""


def _infos(tensors: Mapping[str, Tensor], path: Path) -> dict[str, TensorInfo]:
    infos = {}
    for key, tensor in tensors.items():
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.is_neg():
            raise CheckpointError(f"{path}: {key!r} is a {type(tensor).__name__}, expected a plain tensor; {SAFER}")
        name = str(tensor.dtype).removeprefix("torch.")
        if name not in CODE_OF_NAME:
            raise CheckpointError(f"{path}: tensor {key!r} has type {name}; supported are {', '.join(CODE_OF_NAME)}")
        infos[key] = TensorInfo(name, tuple(tensor.shape))
    return infos


def _array(tensor: Tensor) -> Array:
    """A read-only view; numpy itself does not know bfloat16, whose bits pass as int16."""
    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        array: Array = tensor.view(torch.int16).numpy().view(numpy_dtype("bfloat16"))
    else:
        array = tensor.numpy()
    array.flags.writeable = False
    return array
