"""A kind of models is a folder with a record of functions, found by the name of a family's kind."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from nexus_edge import parity
from nexus_edge.errors import BundleError
from nexus_edge.families import families
from nexus_edge.parity import kinds
from nexus_edge.parity.kinds import ParityKind, kind_of

THIRD = """
from nexus_edge.parity.kinds import ParityKind

KIND = ParityKind(
    streams=False,
    steps=lambda run, reference: iter(()),
    reference_bytes=lambda run, reference: 3,
    compare_manifest=lambda run: [],
    compare_schemes=lambda run: [],
    compare_end_to_end=lambda run, target: [],
    compare_examples=lambda run, target: [],
    record=lambda run: iter(()),
    replay=lambda setup: [],
)
"""


def test_every_family_is_of_a_kind_that_the_ladder_knows() -> None:
    for name in families():
        assert isinstance(kind_of(name), ParityKind)


def test_a_third_kind_is_found_with_no_edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "toy_fusion"
    folder.mkdir()
    (folder / "__init__.py").write_text("", "utf-8")
    (folder / "kind.py").write_text(THIRD, "utf-8")
    monkeypatch.setattr(parity, "__path__", [*parity.__path__, str(tmp_path)])
    monkeypatch.setattr(kinds, "families", lambda: {"third": SimpleNamespace(kind="toy_fusion")})
    assert kind_of("third").reference_bytes(SimpleNamespace(), "full") == 3


def test_a_bundle_of_no_family_is_refused_by_name() -> None:
    with pytest.raises(BundleError, match="model_type 'phi4_v' has no parity ladder; update nexus-edge"):
        kind_of("phi4_v")
