"""A checkpoint in a folder as Hugging Face lays it out: config.json, tokenizer files, one or many safetensors files.

A folder with open_clip_config.json is read by `open_clip.py`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, get_args

from nexus_edge.checkpoints.base import Array, TensorFile, TensorInfo, WeightsKind
from nexus_edge.checkpoints.formats import open_clip
from nexus_edge.checkpoints.ignored import pruned, require_ignorable, rules_of, without_ignored
from nexus_edge.checkpoints.json_file import read_json, read_processor_file
from nexus_edge.checkpoints.pointers import refuse_pointers
from nexus_edge.configs.transformers import QUANTIZED
from nexus_edge.errors import CheckpointError
from nexus_edge.processing.templates import source as templates
from nexus_edge.storage.reader import SafetensorsFile

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
# A checkpoint that this project made says so in its configuration, so that nobody takes it for the real one.
KIND_KEY = "_nexus_edge_weights"
REQUIRED_FILES = ("config.json", "preprocessor_config.json", "tokenizer.json")
OPTIONAL_FILES = ("special_tokens_map.json", "generation_config.json", *templates.FILES)
ADAPTER = "adapter_config.json"
# What may be a Git LFS pointer in a clone, of the files that are read.
LARGE = ("*.json", "*.safetensors", "vocab.txt")


class FolderCheckpoint:
    """The checkpoint in `folder`. Opening validates configuration, index and every header; weights stay untouched.

    Args:
        folder: see above
        name: what the user asked for; None: the folder
        revision: the commit of a hub checkpoint
        ignored: keys of its configuration files to leave out, see `ignored.py`

    Raises:
        CheckpointError: naming the file at fault, and the tensor where there is one.
    """

    def __init__(
        self, folder: Path, name: str | None = None, revision: str | None = None, ignored: Sequence[str] = ()
    ) -> None:
        self.folder: Path | None = folder
        self.name = name or str(folder)
        self.revision = revision
        self._folder = folder
        self.ignored_keys = tuple(ignored)
        _refuse_unusable(folder)
        if open_clip.is_open_clip(folder):
            config, self._file_of = open_clip.read_config(folder), open_clip.open_weights(folder)
        else:
            config = read_json(folder / "config.json")
            _refuse_quantized(config, folder)
            self._file_of = _open_shards(folder)
        if ignored:
            _require_ignorable(config, folder, self.ignored_keys)
        self.config = without_ignored(config, self.ignored_keys)
        self.kind: WeightsKind = _kind(self.config, folder)
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
        return pruned(processor_files(self._folder), self.ignored_keys)

    def _file(self, key: str) -> TensorFile:
        try:
            return self._file_of[key]
        except KeyError:
            raise CheckpointError(f"{self._folder}: has no tensor {key!r}") from None


def processor_files(folder: Path) -> dict[str, bytes]:
    """The files that turn text and pictures into tensors, by name.

    Raises:
        CheckpointError: naming the required file that is missing.
    """
    if open_clip.is_open_clip(folder):
        return open_clip.processor_files(folder)
    found = {name: folder / name for name in (*REQUIRED_FILES, *OPTIONAL_FILES) if (folder / name).is_file()}
    for name in REQUIRED_FILES:
        if name not in found:
            raise CheckpointError(f"{folder}: has no {name}; copy it from the model that was fine-tuned")
    return {name: read_processor_file(path) for name, path in found.items()}


def _refuse_unusable(folder: Path) -> None:
    """What a folder can be that is no checkpoint, although it looks like one."""
    has_config = (folder / "config.json").is_file() or open_clip.is_open_clip(folder)
    if (folder / ADAPTER).is_file() and not has_config:
        raise CheckpointError(f"{folder}: {_adapter(folder)}")
    refuse_pointers(folder, LARGE)


def _adapter(folder: Path) -> str:
    base = read_json(folder / ADAPTER).get("base_model_name_or_path") if (folder / ADAPTER).is_file() else None
    of = f" of {base!r:.100}" if isinstance(base, str) and base else ""
    return (
        f"holds a PEFT adapter{of} and no model; merge it into its base model (peft: merge_and_unload), save that with "
        "its tokenizer and processor files, and export the result"
    )


def _refuse_quantized(config: Mapping[str, Any], folder: Path) -> None:
    quantization = config.get("quantization_config")
    if quantization is not None:
        method = quantization.get("quant_method") if isinstance(quantization, dict) else None
        by = f" ({method})" if isinstance(method, str) else ""
        raise CheckpointError(f"{folder / 'config.json'}: quantization_config{by}: {QUANTIZED}")


def _require_ignorable(config: Mapping[str, Any], folder: Path, ignored: Sequence[str]) -> None:
    configs = {"config.json": config}
    named = ("*_config.json", "special_tokens_map.json", "chat_template.json")
    for path in (path for name in named for path in sorted(folder.glob(name))):
        if not open_clip.is_config(path):  # that is `config`
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


def _open_shards(folder: Path) -> dict[str, TensorFile]:
    """Every key with the file that holds it."""
    if (folder / SINGLE).is_file():  # as transformers does: the single file wins over an index
        file: TensorFile = SafetensorsFile(folder / SINGLE)
        return dict.fromkeys(file.infos, file)
    if not (folder / INDEX).is_file():
        raise CheckpointError(_no_weights(folder))
    weight_map = _weight_map(folder / INDEX)
    files = {shard: SafetensorsFile(folder / shard) for shard in sorted(set(weight_map.values()))}
    for key, shard in weight_map.items():
        if key not in files[shard].infos:
            raise CheckpointError(f"{folder / shard}: lacks tensor {key!r}, which {INDEX} places there")
    file_of: dict[str, TensorFile] = {key: files[shard] for key, shard in weight_map.items()}
    for shard_file in files.values():
        for key in shard_file.infos:
            file_of.setdefault(key, shard_file)  # a key the index forgot; the model decides whether it belongs
    return file_of


def _weight_map(path: Path) -> dict[str, str]:
    weight_map = read_json(path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{path}: weight_map is missing or empty")
    for key, shard in weight_map.items():
        # Only the written path counts: the hub's cache is made of symbolic links to files elsewhere.
        if not isinstance(shard, str) or "\\" in shard or shard in ("", "..") or shard != PurePosixPath(shard).name:
            raise CheckpointError(f"{path}: tensor {key!r} lies in {shard!r}, which is not a file of this folder")
        if not (path.parent / shard).is_file():
            raise CheckpointError(f"{path.parent / shard}: missing, {INDEX} names it for {key!r}; download it again")
    return weight_map


def _no_weights(folder: Path) -> str:
    """Why there is nothing to load, as exactly as the folder's files tell."""
    if not folder.is_dir():
        return f"{folder}: no such folder"
    if any(folder.glob("adapter_model.*")):
        return f"{folder}: {_adapter(folder)}"
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt*")):
        return f"{folder}: holds pickled weights only, which can run code; save them as safetensors (save_pretrained)"
    return f"{folder}: has neither {SINGLE} nor {INDEX}"
