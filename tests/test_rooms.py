"""The rooms of the package: a family is one folder, found by scanning, and no other room names one."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from code_strings import strings

from nexus_edge import families
from nexus_edge.errors import CheckpointError

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "nexus_edge"
THIRD = """
from collections.abc import Mapping
from typing import ClassVar
from nexus_edge.interfaces.family import VlmFamily

class Third(VlmFamily):
    model_type = "third"
    title = "Third"
    published: ClassVar[Mapping[str, str]] = {}
    config_rules = {}
    def processor(self, folder): raise NotImplementedError
    def build(self, config): raise NotImplementedError
    def weight_rules(self, config): raise NotImplementedError
    def host(self, config, graphs, folder): raise NotImplementedError
    def split(self): raise NotImplementedError
    def static_split(self): raise NotImplementedError
    def facts_of(self, config, settings, chat): raise NotImplementedError
    def context_length(self, config): raise NotImplementedError
    def parity(self): raise NotImplementedError

FAMILY = Third()
"""
# Strings outside models/ that name a family. Each goes when what it stands for moves; none may be added.
NAMED = {
    "assets/heldout.py": 1,  # where the embedded checkpoints keep their held-out sets
    "assets/heldout_crops.py": 1,
    "checkpoints/__init__.py": 1,  # the embedded checkpoint that is meant where none is named
    "recipe.py": 1,  # the example in a message
    "pipeline/request.py": 1,  # the public default of nexus_edge.export
    "runtimes/__init__.py": 1,  # the bundle that a message recommends
    "runtimes/discover.py": 1,
}


@pytest.fixture
def third(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A third family in a folder of its own."""
    import nexus_edge.models

    (tmp_path / "third").mkdir()
    (tmp_path / "third" / "__init__.py").write_text(THIRD, "utf-8")
    monkeypatch.setattr(nexus_edge.models, "__path__", [*nexus_edge.models.__path__, str(tmp_path)])
    families.families.cache_clear()
    yield
    monkeypatch.undo()
    families.families.cache_clear()
    sys.modules.pop("nexus_edge.models.third", None)


@pytest.mark.usefixtures("third")
def test_a_third_family_is_found_with_no_edit() -> None:
    assert families.family_of({"model_type": "third"}, "somewhere").title == "Third"
    with pytest.raises(CheckpointError, match="'thirt' names no model of nexus-edge; did you mean 'third'"):
        families.family_named("thirt")


def test_a_family_is_named_after_its_folder() -> None:
    assert {name: family.model_type for name, family in families.families().items()} == {
        name: name for name in families.families()
    }


def test_finding_and_reading_families_imports_no_torch() -> None:
    code = (
        "import sys; from importlib import import_module; from importlib.util import find_spec; "
        "from nexus_edge.families import families; "
        "[import_module(f'nexus_edge.models.{name}.{part}') for name in families() "
        "for part in ('config_keys', 'params', 'processing')]; "
        "[import_module(host) for name in families() if find_spec(host := f'nexus_edge.models.{name}.host')]; "
        "print({'torch', 'onnx', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_no_string_outside_models_names_a_family() -> None:
    """Prose may: docstrings and comments say where a figure was measured or a rule comes from."""
    names = re.compile("|".join((*families.families(), "phi-?3", "phi3v")), re.IGNORECASE)
    found: dict[str, int] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        where = path.relative_to(PACKAGE).as_posix()
        if where.startswith("models/"):
            continue
        count = sum(1 for text in strings(path) if names.search(text))
        if count:
            found[where] = count
    assert found == NAMED


def test_the_contract_lists_every_family() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (contract,) = (contract for contract in contracts if contract["id"] == "families")
    assert set(contract["forbidden_modules"]) == {f"nexus_edge.models.{name}" for name in families.families()}
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert {name.removeprefix("nexus_edge.") for name in contract["source_modules"]} == rooms - {"models"}
