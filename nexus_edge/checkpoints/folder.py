"""A checkpoint in a folder, or in a single file, of whatever format."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from nexus_edge.checkpoints.adapters.adapter import Adapter
from nexus_edge.checkpoints.adapters.folder import adapter_in_words, holds_adapter
from nexus_edge.checkpoints.base import KIND_KEY, Array, TensorFile, TensorInfo, WeightsKind
from nexus_edge.checkpoints.formats import format_of
from nexus_edge.checkpoints.ignored import pruned, require_ignorable, rules_of, without_ignored
from nexus_edge.checkpoints.json_file import read_json
from nexus_edge.checkpoints.pointers import refuse_pointers
from nexus_edge.errors import CheckpointError
from nexus_edge.processing.templates import source as templates

# What may be a Git LFS pointer in a clone, of the files that are read.
LARGE = ("*.json", "*.safetensors", "vocab.txt")


class FolderCheckpoint:
    """The checkpoint at `path`. Opening validates configuration, index and every header; weights stay untouched.

    Args:
        path: a folder, or a single file that holds all
        name: what the user asked for; None: the path
        revision: the commit of a hub checkpoint
        ignored: keys of its configuration files to leave out, see `ignored.py`

    Raises:
        CheckpointError: naming the file at fault, and the tensor where there is one.
        MissingExtraError: its format needs a package that is not installed
    """

    adapter: Adapter | None = None

    def __init__(
        self, path: Path, name: str | None = None, revision: str | None = None, ignored: Sequence[str] = ()
    ) -> None:
        self.folder: Path | None = path if path.is_dir() or not path.exists() else path.parent
        self.name = name or str(path)
        self.revision = revision
        self._path = path
        self.ignored_keys = tuple(ignored)
        self._format = format_of(path)
        _refuse_unusable(path, self._format.config_file)
        opened = self._format.open(path)
        self._file_of = opened.tensors
        if ignored:
            _require_ignorable(opened.config, path, self._format.config_file, self.ignored_keys)
        self.config = without_ignored(opened.config, self.ignored_keys)
        self.kind: WeightsKind = _kind(self.config, path)
        self._infos = {key: file.infos[key] for key, file in self._file_of.items()}

    @property
    def weight_files(self) -> tuple[Path, ...]:
        return tuple(sorted({file.path for file in self._file_of.values()}))

    def keys(self) -> Mapping[str, TensorInfo]:
        return self._infos

    def read(self, key: str) -> Array:
        return self._file(key).read(key)

    def rows(self, key: str, start: int, stop: int) -> Array:
        return self._file(key).rows(key, start, stop)

    def release(self, key: str) -> None:
        self._file(key).release(key)

    def processor_files(self) -> Mapping[str, bytes]:
        return pruned(self._format.processor_files(self._path), self.ignored_keys)

    def _file(self, key: str) -> TensorFile:
        try:
            return self._file_of[key]
        except KeyError:
            raise CheckpointError(f"{self._path}: has no tensor {key!r}") from None


def _refuse_unusable(path: Path, config_file: str) -> None:
    """What a folder can be that is no checkpoint, although it looks like one."""
    if not path.is_dir():
        return
    if holds_adapter(path) and not (path / config_file).is_file():
        raise CheckpointError(f"{path}: {adapter_in_words(path)}")
    refuse_pointers(path, LARGE)


def _require_ignorable(config: Mapping[str, Any], folder: Path, config_file: str, ignored: Sequence[str]) -> None:
    configs = {"config.json": config}
    named = ("*_config.json", "special_tokens_map.json", "chat_template.json")
    for path in (path for name in named for path in sorted(folder.glob(name))):
        if path.name != config_file:  # that is `config`
            configs[path.name] = read_json(path)
    if (folder / templates.BESIDE).is_file():
        configs[templates.BESIDE] = {templates.KEY: ""}
    require_ignorable(configs, rules_of(config.get("model_type")), ignored, folder)


def _kind(config: Mapping[str, Any], folder: Path) -> WeightsKind:
    kind: WeightsKind = config.get(KIND_KEY, "real")
    kinds = get_args(WeightsKind)
    if kind not in kinds:
        raise CheckpointError(f"{folder}: its {KIND_KEY} is {kind!r}, expected one of {', '.join(kinds)}")
    return kind
