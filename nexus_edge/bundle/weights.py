"""The weights of a bundle as one set of tensors, wherever its graphs keep them."""

from collections.abc import Mapping

from nexus_edge.bundle.openvino_names import CONSTANTS
from nexus_edge.bundle.reader import Bundle
from nexus_edge.checkpoints.base import Array, TensorInfo
from nexus_edge.storage.reader import SafetensorsFile


class BundleWeights:
    """The quantized weights of one target's graphs; read-only views of mapped files.

    Args:
        bundle: see `Bundle.open`
        target: whose weights; None takes the first target, and all of them hold the same numbers

    Raises:
        BundleError: the bundle has no such target, or a file is missing
        CheckpointError: a weights file is damaged
    """

    def __init__(self, bundle: Bundle, target: str | None = None) -> None:
        graphs = bundle.manifest.graphs[target or bundle.manifest.targets[0]].values()
        self.paths = [bundle.file(name) for name in dict.fromkeys(graph.weights for graph in graphs) if name]
        files = [SafetensorsFile(path) for path in self.paths]
        self._file_of = {key: file for file in files for key in file.infos if not key.endswith(CONSTANTS)}
        self.infos: Mapping[str, TensorInfo] = {key: file.infos[key] for key, file in self._file_of.items()}

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self.paths)

    def read(self, key: str) -> Array:
        """The whole tensor, a view of its file."""
        return self._file_of[key].read(key)

    def same(self, key: str, other: "BundleWeights") -> bool:
        """Whether another target's tensor has the same bytes; without reading them where both are one file."""
        mine, theirs = self._file_of[key], other._file_of[key]
        if mine.path.samefile(theirs.path):
            return True
        ours, others = mine.read(key), theirs.read(key)
        same = ours.dtype == others.dtype and ours.shape == others.shape and ours.tobytes() == others.tobytes()
        self.release(key)
        other.release(key)
        return same

    def release(self, key: str) -> None:
        """Drop the tensor's pages from resident memory; see `SafetensorsFile.release`."""
        self._file_of[key].release(key)
