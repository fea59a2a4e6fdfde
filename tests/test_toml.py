"""Every TOML file that a user may bring is refused in one line that names it, however it is broken."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nexus_edge.errors import NexusEdgeError
from nexus_edge.parity.own_tolerances import with_own
from nexus_edge.quant.schemes import read_scheme
from nexus_edge.recipe import read_gates, read_recipe
from nexus_edge.runtimes.dual_encoder.prompts import read_prompts

BROKEN = {
    "no text": b"\xff\xff",
    "no TOML": b"a = [",
    "nested too deep": b"a = " + b"[" * 100_000,
    "empty key": b"= 1",
}


def read_own_tolerances(path: Path) -> object:
    return with_own(path, "phi3_v")


@pytest.mark.parametrize("read", [read_gates, read_own_tolerances, read_scheme, read_recipe, read_prompts])
@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_what_is_no_toml(read: Callable[[Path], object], content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(NexusEdgeError, match=r"mine\.toml: is not valid TOML: ") as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", [read_gates, read_own_tolerances, read_scheme, read_recipe, read_prompts])
def test_what_is_no_file(read: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises(NexusEdgeError, match=r"mine\.toml: cannot be read: No such file"):
        read(tmp_path / "mine.toml")
