"""The tokenizer and the detokenizer as OpenVINO models, for runtimes that have no tokenizer of their own."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from nexus_edge._telemetry import without_telemetry
from nexus_edge.processing.templates.source import template_in
from nexus_edge.targets.openvino.ir_file import save

with without_telemetry():
    from openvino_tokenizers import convert_tokenizer


def write_tokenizers(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write openvino_tokenizer.xml and openvino_detokenizer.xml.

    Args:
        folder: where to
        files: of the processor, by name
    """
    config, template = json.loads(files["tokenizer_config.json"]), template_in(files, Path())
    with tempfile.TemporaryDirectory() as folder_name:
        path = Path(folder_name) / "tokenizer.json"
        path.write_bytes(files["tokenizer.json"])
        # The file as it is: transformers' other classes rebuild a Llama tokenizer, which then gives other ids.
        tokens = {f"{kind}_token": _text(config.get(f"{kind}_token")) for kind in ("bos", "eos", "pad", "unk")}
        make: Any = PreTrainedTokenizerFast  # its annotations are incomplete
        tokenizer = make(tokenizer_file=str(path), **tokens)
        tokenizer.chat_template = None if template is None else template.text
        models = convert_tokenizer(tokenizer, with_detokenizer=True)
    for name, model in zip(("tokenizer", "detokenizer"), models, strict=True):
        save(model, folder / f"openvino_{name}.xml")


def _text(token: Any) -> str | None:
    """Of a special token, for which older files hold its flags as well."""
    return token.get("content") if isinstance(token, dict) else token
