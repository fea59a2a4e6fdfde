"""Several targets with the same quantized numbers: what one target has written, the others link or copy."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from nexus_edge.checkpoints import SafetensorsFile, StreamingSafetensorsWriter, TensorInfo
from nexus_edge.interfaces.target import StoredTensor, WeightsFile
from nexus_edge.pipeline.weights import stored_tensors


def completed(files: Sequence[WeightsFile], others: Sequence[WeightsFile]) -> list[WeightsFile]:
    """The files of one target with what others want beside it.

    A file of the same tensors lends its extra ones, so that both can be one file; tensors that no file has go into the
    first.
    """
    extra = [
        {name: array for other in others if other.tensors == file.tensors for name, array in other.extra.items()}
        for file in files
    ]
    all_files = [replace(file, extra={**file.extra, **more}) for file, more in zip(files, extra, strict=True)]
    missing = {name for other in others for name in other.tensors} - {name for file in files for name in file.tensors}
    if missing:
        all_files[0] = replace(all_files[0], tensors=all_files[0].tensors | missing)
    return all_files


def share_weights(wanted: WeightsFile, stored: Mapping[str, StoredTensor], root: Path) -> dict[str, StoredTensor]:
    """Make one more file of tensors that were written before.

    A file that holds exactly these is linked, so that its bytes are on the disk once. Where only parts of a file are
    wanted, and where the disk knows no links, they are copied.

    Args:
        wanted: the file
        stored: where each tensor was written
        root: the bundle's folder

    Returns:
        where each tensor lies in the new file

    Raises:
        OutputError: the file cannot be written
    """
    path = root / wanted.file
    path.parent.mkdir(exist_ok=True)
    same = _same_file(wanted, stored)
    if same:
        with suppress(OSError):
            path.hardlink_to(next(iter(same.values())).path)
            return {name: replace(tensor, path=path) for name, tensor in same.items()}
    names = sorted(wanted.tensors)
    infos = {name: TensorInfo(stored[name].dtype, stored[name].shape) for name in names}
    infos |= {name: TensorInfo(array.dtype.name, array.shape) for name, array in wanted.extra.items()}
    files = {source: SafetensorsFile(source) for source in {stored[name].path for name in names}}
    with StreamingSafetensorsWriter(path, infos) as writer:
        for name, array in wanted.extra.items():
            writer.write(name, array)
        for name in names:
            source = files[stored[name].path]
            writer.write(name, source.read(name))
            source.release(name)
        return stored_tensors(writer)


def _same_file(wanted: WeightsFile, stored: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """All tensors of the one file that holds just what is wanted; empty if there is none."""
    first = stored[min(wanted.tensors)].path
    whole = {name: tensor for name, tensor in stored.items() if tensor.path == first}
    return whole if whole.keys() == wanted.tensors | wanted.extra.keys() else {}
