"""A `.mlpackage` folder: which file is the specification, and where the weights are.

Manifest.json names items by an id, each with a path below Data/, and one of them as the root. Nothing may lead out of
the folder.
"""

import json
from pathlib import Path
from typing import Any

from nexus_edge.engines.coreml.mil.blob import Blob
from nexus_edge.engines.coreml.mil.dtypes import DType
from nexus_edge.errors import BundleError

_MODEL_PATH = "@model_path/"
_MAX_SPECIFICATION_BYTES = 2**31 - 1  # protobuf's own limit


class Package:
    """The files of one package."""

    def __init__(self, path: Path) -> None:
        """Raises BundleError if the folder, its manifest or its specification is missing or wrong."""
        self.path = path
        self._specification = self._inside(path / "Data", _root_item(path))
        self._blobs: dict[str, Blob] = {}

    def specification(self) -> bytes:
        """The bytes of the serialized `Model` message."""
        if not self._specification.is_file():
            raise BundleError(f"{self._specification}: missing, though Manifest.json names it; export the bundle again")
        if self._specification.stat().st_size > _MAX_SPECIFICATION_BYTES:
            raise BundleError(f"{self._specification}: larger than a protobuf message can be")
        return self._specification.read_bytes()

    def tensor(self, name: str, dtype: DType, shape: tuple[int, ...], file: str, offset: int) -> Any:
        """A constant of the weight file that the specification calls `file`; see `Blob.tensor`."""
        if file not in self._blobs:
            if not file.startswith(_MODEL_PATH):
                raise BundleError(f"{self.path}: tensor {name!r}: weights {file!r:.80} do not begin with {_MODEL_PATH}")
            relative = file.removeprefix(_MODEL_PATH)
            self._blobs[file] = Blob(self._inside(self._specification.parent, relative))
        return self._blobs[file].tensor(name, dtype, shape, offset)

    def _inside(self, base: Path, relative: str) -> Path:
        target = (base / relative).resolve()
        if not target.is_relative_to(self.path.resolve()):
            raise BundleError(f"{self.path}: {relative!r:.80} leads out of the package")
        return target


def _root_item(path: Path) -> str:
    """Path of the root item below Data/."""
    manifest = path / "Manifest.json"
    if not manifest.is_file():
        raise BundleError(f"{path}: no Core ML package: it has no Manifest.json")
    try:
        table = json.loads(manifest.read_bytes())
        item = table["itemInfoEntries"][table["rootModelIdentifier"]]["path"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleError(f"{manifest}: names no root model ({error!r:.80}); export the bundle again") from error
    if not isinstance(item, str):
        raise BundleError(f"{manifest}: the path of the root model is not text")
    return item
