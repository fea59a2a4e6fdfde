"""README's Python works where `make demo` was run."""

import re
from pathlib import Path

import pytest

from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import open_checkpoint
from nexus_edge.pipeline.export import export
from nexus_edge.recipe import find_recipe

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


def test_the_python_block(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the folders that the Makefile names, in a folder that is otherwise empty."""
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert set(re.findall(r'"(out/[^"]*)"', block)) == set(re.findall(r":= (out/\S*)", (ROOT / "Makefile").read_text()))
    recipe = find_recipe("biomedclip", "int8")
    export(open_checkpoint("tiny", recipe.checkpoint), recipe, tmp_path / "out/biomedclip-int8-tiny", parity=False)
    (tmp_path / "out/phi3-vision-int4-tiny").symlink_to(tiny_bundle.root)
    (tmp_path / "nexus_edge").symlink_to(ROOT / "nexus_edge")
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {})
    shown = capsys.readouterr().out
    assert shown.startswith("top: blue word bus, middle left: purple circle")
    assert "top: yellow word dog" in shown
    assert shown.endswith("white blood cell\n")
