"""A checkpoint format: how the files of one layout are read, one file of `nexus_edge/checkpoints/formats/` each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from nexus_edge.checkpoints.base import TensorFile


@dataclass(frozen=True)
class Opened:
    """A checkpoint whose headers have been read, and no tensor.

    Attributes:
        config: its configuration, with the `model_type` of a family
        tensors: key -> the file that holds it
    """

    config: Mapping[str, Any]
    tensors: "Mapping[str, TensorFile]"


class CheckpointFormat(Protocol):
    """A layout. `formats/open_clip.py` has one as `FORMAT`; importing it imports no torch.

    `path` is a folder, or a single file where a format holds everything in one.
    """

    @property
    def config_file(self) -> str:
        """Name of the file that `Opened.config` is read from."""
        ...

    def recognises(self, path: Path) -> bool:
        """Whether it is of this layout; cheap, and no other format may say so of the same."""
        ...

    def open(self, path: Path) -> Opened:
        """Validate the configuration and every header.

        Raises:
            CheckpointError: naming the file at fault, and the tensor where there is one
            MissingExtraError: reading it needs a package that is not installed
        """
        ...

    def processor_files(self, path: Path) -> Mapping[str, bytes]:
        """What turns text and images into tensors, by the names that these files have in a bundle.

        Raises:
            CheckpointError: a file is missing or wrong
        """
        ...

    def reads(self, path: Path) -> Sequence[Path]:
        """The files that the other methods read, there or not: no output of ours may take the place of one."""
        ...

    def lacking(self, folder: Path) -> Sequence[str]:
        """Files that a download of JSON, safetensors and text files still lacks; () for most."""
        ...
