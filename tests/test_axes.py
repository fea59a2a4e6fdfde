"""The axes of growth: a third quantizer, target or engine is one folder or file, found by scanning with no edit."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from nexus_edge.bundle import Bundle, BundleWeights
from nexus_edge.checkpoints import open_checkpoint
from nexus_edge.pipeline.export import export
from nexus_edge.quant import schemes
from nexus_edge.quant.registry import methods
from nexus_edge.recipe import read_recipe

QUANTIZER = """
import torch
from nexus_edge.interfaces.quantizer import Quantizer
from nexus_edge.quant.rounding import in_chunks

def threes(weight, scheme, importance=None):
    def rows(chunk, scheme):
        groups = chunk.shape[1] // scheme.group_size
        codes = torch.full((len(chunk), groups, scheme.group_size // 2), 0x33, dtype=torch.uint8)
        return {"qweight": codes, "scales": torch.ones(len(chunk), groups, dtype=torch.float16)}
    return in_chunks(weight, scheme, rows)

QUANTIZER = Quantizer(threes, frozenset({"int4-group"}), nearest=False)
"""
SCHEME = """
description = "all codes are 3"
method = "third-one"
bits = 4
group_size = 32
scale_dtype = "float16"
activation = "int8-block"
"""
RECIPE = """
extends = "biomedclip/int8.toml"
name = "third"
targets = ["onnx"]
[graphs.text_encoder.overrides]
"*attention.self.query" = "third-g32"
"""


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose modules are found as if they were in the rooms that are scanned."""
    rooms = ("nexus_edge.quant.methods",)
    for name in rooms:
        package = import_module(name)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / name)])
        (tmp_path / name).mkdir()
    yield tmp_path
    for name in [name for name in sys.modules if any(name.startswith(f"{room}.third") for room in rooms)]:
        del sys.modules[name]


def test_a_third_quantizer_is_one_file_and_a_scheme(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (room / "nexus_edge.quant.methods" / "third_one.py").write_text(QUANTIZER, "utf-8")
    assert "third-one" in methods()
    shipped = schemes.schemes_dir()
    (room / "schemes").mkdir()
    for path in shipped.iterdir():
        (room / "schemes" / path.name).write_bytes(path.read_bytes())
    (room / "schemes" / "third-g32.toml").write_text(SCHEME, "utf-8")
    monkeypatch.setattr(schemes, "schemes_dir", lambda: room / "schemes")
    (room / "third.toml").write_text(RECIPE, "utf-8")

    recipe = read_recipe(room / "third.toml")
    export(open_checkpoint("tiny", recipe.checkpoint), recipe, room / "out", parity=False)

    weights = BundleWeights(Bundle.open(room / "out"))
    queries = [name for name in weights.infos if name.endswith("attention.self.query.qweight")]
    assert queries
    assert all((weights.read(name) == 0x33).all() for name in queries)
