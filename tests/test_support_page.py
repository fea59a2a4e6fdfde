"""docs/support.md is what the registries say today, and says no more than the code does."""

from pathlib import Path

import pytest

from nexus_edge.axes import targets
from nexus_edge.families import families
from nexus_edge.interfaces.family import Family
from nexus_edge.pipeline.support import COMMAND, page, refusal

ROOT = Path(__file__).parents[1]


def test_the_page_is_current() -> None:
    assert (ROOT / "docs" / "support.md").read_text("utf-8") == page(), f"out of date; run {COMMAND}"


@pytest.mark.parametrize("family", families().values(), ids=lambda family: family.model_type)
def test_a_runtime_of_others_is_named_where_its_files_are_written(family: Family) -> None:
    """GenAI of either kind needs files beside the graphs, which a family's writers make."""
    assert family.clients.keys() <= targets().keys()
    named = [name for names in family.clients.values() for name in names]
    assert ("ONNX Runtime GenAI" in named) == bool(family.onnx_companions())
    if refusal(family, targets()["openvino"]) is None:
        client = family.openvino_client()
        assert ("OpenVINO GenAI" in named) == (client is not None and bool(client.companions))
    else:
        assert "openvino" not in family.clients
