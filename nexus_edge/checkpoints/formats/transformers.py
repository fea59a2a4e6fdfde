"""The layout that Hugging Face's transformers writes: config.json, tokenizer files, one or many safetensors files."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from nexus_edge.checkpoints.adapters.folder import adapter_in_words, holds_adapter
from nexus_edge.checkpoints.base import TensorFile
from nexus_edge.checkpoints.json_file import is_there, read_json, read_processor_file
from nexus_edge.configs.transformers import QUANTIZED
from nexus_edge.errors import CheckpointError
from nexus_edge.interfaces.checkpoint import Opened
from nexus_edge.processing.agreement import ADDED
from nexus_edge.processing.templates import source as templates
from nexus_edge.storage.reader import SafetensorsFile

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARDS = "model-*-of-*.safetensors"
REQUIRED_FILES = ("config.json", "preprocessor_config.json", "tokenizer.json")
QUANTIZERS_FILES = ("quantize_config.json", "quant_config.json", "hf_quant_config.json")
"""Beside weights that AutoGPTQ, AutoAWQ and NVIDIA's Model Optimizer quantized."""
OPTIONAL_FILES = ("special_tokens_map.json", "generation_config.json", *templates.FILES)


class Transformers:
    """See `CheckpointFormat`."""

    config_file = "config.json"

    def recognises(self, path: Path) -> bool:
        return (path / self.config_file).is_file()

    def open(self, path: Path) -> Opened:
        config = read_json(path / self.config_file)
        _refuse_quantized(config, path)
        weights = _open_shards(path)
        if holds_adapter(path):  # transformers would add it to these weights
            raise CheckpointError(
                f"{path}: holds a whole model and an adapter (adapter_config.json); move the adapter to a folder of "
                "its own, and add it with --adapter if it is meant"
            )
        return Opened(config, weights)

    def processor_files(self, path: Path) -> Mapping[str, bytes]:
        found = {name: path / name for name in (*REQUIRED_FILES, *OPTIONAL_FILES) if is_there(path / name)}
        for name in REQUIRED_FILES:
            if name not in found:
                raise CheckpointError(f"{path}: has no {name}; copy it from the model that was fine-tuned")
        return {name: read_processor_file(file) for name, file in found.items()}

    def reads(self, path: Path) -> Sequence[Path]:
        names = (*REQUIRED_FILES, *OPTIONAL_FILES, *QUANTIZERS_FILES, ADDED, SINGLE, INDEX)
        return [*(path / name for name in names), *path.glob("*.safetensors")]  # shards are called as the index says

    def lacking(self, folder: Path) -> Sequence[str]:
        return ()


FORMAT = Transformers()


def _refuse_quantized(config: Mapping[str, Any], folder: Path) -> None:
    quantization = config.get("quantization_config")
    for name in QUANTIZERS_FILES:
        if (folder / name).is_file():
            raise CheckpointError(f"{folder / name}: {QUANTIZED}")
    if quantization is not None:
        method = quantization.get("quant_method") if isinstance(quantization, dict) else None
        by = f" ({method})" if isinstance(method, str) else ""
        raise CheckpointError(f"{folder / 'config.json'}: quantization_config{by}: {QUANTIZED}")


def _open_shards(folder: Path) -> dict[str, TensorFile]:
    """Every key with the file that holds it."""
    shards = sorted(path.name for path in folder.glob(SHARDS))
    if is_there(folder / SINGLE):
        others = [*shards, *(name for name in (INDEX,) if is_there(folder / INDEX))]
        if others:  # transformers takes the single file in silence, although the shards may be what was saved last
            raise CheckpointError(
                f"{folder}: holds {SINGLE} and {others[0]}, two sets of weights; move the one that is not meant away"
            )
        file: TensorFile = SafetensorsFile(folder / SINGLE)
        return dict.fromkeys(file.infos, file)
    if not is_there(folder / INDEX):
        raise CheckpointError(_no_weights(folder))
    weight_map = _weight_map(folder / INDEX)
    if unnamed := [shard for shard in shards if shard not in weight_map.values()]:
        raise CheckpointError(
            f"{folder / unnamed[0]}: {INDEX} does not name it; take all of them from one checkpoint, or move it away"
        )
    files = {shard: SafetensorsFile(folder / shard) for shard in sorted(set(weight_map.values()))}
    for key, shard in weight_map.items():
        if key not in files[shard].infos:
            raise CheckpointError(f"{folder / shard}: lacks tensor {key!r}, which {INDEX} expects there")
    file_of: dict[str, TensorFile] = {key: files[shard] for key, shard in weight_map.items()}
    first: dict[str, str] = {}
    for shard, shard_file in files.items():
        for key in shard_file.infos:
            if first.setdefault(key, shard) != shard:
                raise CheckpointError(
                    f"{folder / shard}: holds {key!r}, as {first[key]} does; take both files from one checkpoint"
                )
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
    if holds_adapter(folder):
        return f"{folder}: {adapter_in_words(folder)}"
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt*")):
        return f"{folder}: holds pickled weights only, which can run code; save them as safetensors (save_pretrained)"
    if shards := sorted(path.name for path in folder.glob(SHARDS)):
        return f"{folder}: holds {shards[0]} and no {INDEX}, which says what lies where; download that file too"
    if others := sorted(path.name for path in folder.glob("*.gguf")):
        return f"{folder}: holds {others[0]}, weights that llama.cpp quantized; export from the original checkpoint"
    if others := sorted(path.name for path in folder.glob("*.safetensors")):
        return (
            f"{folder}: holds {others[0]}, and neither {SINGLE} nor {INDEX}; if it has the weights under "
            f"transformers' names, rename it to {SINGLE}, else save the model with save_pretrained"
        )
    return f"{folder}: has neither {SINGLE} nor {INDEX}; download the weights too"
