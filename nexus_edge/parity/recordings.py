"""Goldens of an original as P1 reads them: cases.json, and what went in and came out of each case."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nexus_edge.checkpoints import SafetensorsFile
from nexus_edge.parity.metrics import Values


def read_cases(folder: Path) -> list[tuple[Mapping[str, Any], Values]]:
    """Each case of a folder, with the arrays of inputs.safetensors and outputs.safetensors that begin with its name.

    Raises:
        CheckpointError: a file of arrays is missing or damaged.
    """
    files = [SafetensorsFile(folder / f"{name}.safetensors") for name in ("inputs", "outputs")]
    return [
        (case, _recorded(files, f"{case['name']}."))
        for case in json.loads((folder / "cases.json").read_text("utf-8"))["cases"]
    ]


def _recorded(files: list[SafetensorsFile], prefix: str) -> Values:
    return {
        key.removeprefix(prefix): np.asarray(file.read(key))
        for file in files
        for key in file.infos
        if key.startswith(prefix)
    }
