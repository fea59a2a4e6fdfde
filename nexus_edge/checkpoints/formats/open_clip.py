"""A checkpoint in a folder as open_clip lays it out: open_clip_config.json, one weights file, tokenizer files.

Source: `push_to_hf_hub.py` and `factory.py` of open_clip 3.3.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nexus_edge.checkpoints.base import TensorFile
from nexus_edge.checkpoints.json_file import is_there, read_json, read_processor_file
from nexus_edge.checkpoints.pointers import refuse_pointers
from nexus_edge.errors import CheckpointError, MissingExtraError
from nexus_edge.families import family_of
from nexus_edge.interfaces.checkpoint import Opened
from nexus_edge.processing.folder import named_folder
from nexus_edge.processing.open_clip_folder import OPEN_CLIP_CONFIG, tokenizer_folder
from nexus_edge.storage.reader import SafetensorsFile

SAFETENSORS = ("open_clip_model.safetensors", "model.safetensors")
"""The first wins, as in open_clip: beside it the second is what transformers reads of the same model."""
PICKLED = "open_clip_pytorch_model.bin"
VOCABULARIES = ("tokenizer.json", "vocab.txt")
"""The first wins."""
BESIDE_VOCABULARY = ("tokenizer_config.json", "special_tokens_map.json")

# Hub ids of BERTs with BERT-base's numbers and a vocabulary of 30,522; the file itself is in a repository of its own.
_BERT_BASE = re.compile(
    r"(?:[\w.-]+/)?(?:bert-base-uncased|BiomedNLP-(?:BiomedBERT|PubMedBERT)-base-uncased-abstract(?:-fulltext)?)"
)
# Other text towers that open_clip builds by name (its model_configs), and kin of BERT with other layers.
_NO_BERT = re.compile(
    r"roberta|xlm|camembert|modernbert|distilbert|albert|deberta|electra|t5\b|t5-|siglip|gpt", re.IGNORECASE
)


class OpenClip:
    """See `CheckpointFormat`."""

    config_file = OPEN_CLIP_CONFIG

    def recognises(self, path: Path) -> bool:
        return (path / OPEN_CLIP_CONFIG).is_file()

    def open(self, path: Path) -> Opened:
        return Opened(read_config(path), open_weights(path))

    def processor_files(self, path: Path) -> Mapping[str, bytes]:
        return processor_files(path)

    def reads(self, path: Path) -> Sequence[Path]:
        names = (OPEN_CLIP_CONFIG, "config.json", *SAFETENSORS, PICKLED)
        try:
            config = read_config(path)
            bert = named_folder(path, _hf_model_name(path, config)) or path
            place = tokenizer_folder(path, config)
        except CheckpointError:  # which opening it says
            bert = place = path
        files = [*(path / name for name in names), bert / "config.json"]
        return [*files, *(place / name for name in (*VOCABULARIES, *BESIDE_VOCABULARY))]

    def lacking(self, folder: Path) -> Sequence[str]:
        has_weights = any((folder / name).is_file() for name in SAFETENSORS)
        return () if has_weights else (PICKLED,)  # it is read as data too, see `torch_file`


FORMAT = OpenClip()


def read_config(folder: Path) -> dict[str, Any]:
    """open_clip_config.json, with `model_type` and the BERT's own configuration as `text_config`.

    Raises:
        CheckpointError: a file is missing or wrong, or the BERT is not known.
    """
    config = read_json(folder / OPEN_CLIP_CONFIG)
    read = {**config, "text_config": _text_config(folder, config)}
    return {"model_type": family_of(config, str(folder / OPEN_CLIP_CONFIG)).model_type, **read}


def _text_config(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """From the folder that `hf_model_name` names, from `text_config` in either config file, or by the BERT's name."""
    name = _hf_model_name(folder, config)
    inside = named_folder(folder, name)
    if inside is not None:
        return read_json(inside / "config.json")
    if _NO_BERT.search(name):
        raise CheckpointError(
            f"{folder / OPEN_CLIP_CONFIG}: hf_model_name is {name!r:.80}, which is no BERT but another architecture; "
            "of open_clip's models, those with a BERT are known"
        )
    for source in (OPEN_CLIP_CONFIG, "config.json"):
        found = read_json(folder / source).get("text_config") if (folder / source).is_file() else None
        if isinstance(found, dict):
            return found
    if _BERT_BASE.fullmatch(name):
        numbers: dict[str, Any] = json.loads((Path(__file__).parent / "bert_base.json").read_text("utf-8"))
        return numbers
    raise CheckpointError(
        f"{folder / OPEN_CLIP_CONFIG}: the numbers of {name!r:.80} are not known; put its config.json "
        'under "text_config" in this file'
    )


def _hf_model_name(folder: Path, config: Mapping[str, Any]) -> str:
    place: Any = config
    for key in ("model_cfg", "text_cfg", "hf_model_name"):
        place = place.get(key) if isinstance(place, dict) else None
    if not isinstance(place, str) or not place:
        raise CheckpointError(
            f"{folder / OPEN_CLIP_CONFIG}: model_cfg.text_cfg names no hf_model_name; "
            "of open_clip's models, those with a BERT are known"
        )
    return place


def open_weights(folder: Path) -> dict[str, TensorFile]:
    """Every key with the file that holds it; safetensors are preferred.

    Raises:
        CheckpointError: no weights, or a file is damaged.
        MissingExtraError: the weights are pickled, and PyTorch is not installed.
    """
    for name in SAFETENSORS:
        if is_there(folder / name):
            file: TensorFile = SafetensorsFile(folder / name)
            return dict.fromkeys(file.infos, file)
    refuse_pointers(folder, (PICKLED,))
    if not is_there(folder / PICKLED):
        raise CheckpointError(f"{folder}: has no weights; expected {', '.join(SAFETENSORS)} or {PICKLED}")
    try:
        from nexus_edge.checkpoints.torch_file import TorchFile
    except ImportError as error:
        raise MissingExtraError(f"reading {PICKLED} needs PyTorch: pip install 'nexus-edge[export]'") from error
    file = TorchFile(folder / PICKLED)
    return dict.fromkeys(file.infos, file)


def processor_files(folder: Path) -> dict[str, bytes]:
    """What turns text and images into tensors, by the names that these files have in a bundle.

    Raises:
        CheckpointError: a file is missing or wrong.
    """
    config = read_config(folder)
    place = tokenizer_folder(folder, config)
    tokenizer = next((name for name in VOCABULARIES if is_there(place / name)), None)
    if tokenizer is None:
        name = config["model_cfg"]["text_cfg"].get("hf_tokenizer_name")
        raise CheckpointError(f"{folder}: has neither tokenizer.json nor vocab.txt; copy one from {name!r:.80}")
    names = (tokenizer, *BESIDE_VOCABULARY)
    refuse_pointers(place, names)
    found = {name: read_processor_file(place / name) for name in names if (place / name).is_file()}
    return {"config.json": json.dumps(config, indent=2).encode(), **found}
