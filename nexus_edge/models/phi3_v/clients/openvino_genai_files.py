"""What makes an `openvino/` folder a model of OpenVINO GenAI's VLMPipeline (type `phi3_v`, version 2026.4)."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from nexus_edge.checkpoints.tensors import to_torch
from nexus_edge.interfaces.target import ExportedModel, ReadWeight
from nexus_edge.models.phi3_v.clients.openvino_genai_modules import SEPARATORS, padded_separator
from nexus_edge.models.phi3_v.model import Phi3V
from nexus_edge.models.phi3_v.processing import Phi3VProcessor
from nexus_edge.targets.openvino.tokenizers import write_tokenizers


def write_phi3_v(folder: Path, exported: ExportedModel, read: ReadWeight) -> None:
    """Add to the graphs' folder what VLMPipeline reads beside them."""
    model, files = exported.model, exported.processor_files
    assert isinstance(model, Phi3V)
    separators = {}
    for name in SEPARATORS:
        separators[name.rpartition(".")[2]] = padded_separator(to_torch(read(name)), model.params.vision.hidden_size)
    processor = Phi3VProcessor.from_folder(folder.parent / "processor")
    stop_ids = [id_ for id_ in processor.stop_ids if id_ < model.params.vocab_size]
    _write(folder / "config.json", config(json.loads(files["config.json"]), separators))
    _write(folder / "generation_config.json", {"eos_token_id": stop_ids, "do_sample": False})
    (folder / "preprocessor_config.json").write_bytes(files["preprocessor_config.json"])
    write_tokenizers(folder, files)


def config(checkpoint: dict[str, Any], separators: dict[str, Tensor]) -> dict[str, Any]:
    """config.json: the checkpoint's with the separators of the HD layout, without which zeros would be taken."""
    return {**checkpoint, **{name: tensor.tolist() for name, tensor in separators.items()}}


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", "utf-8")
