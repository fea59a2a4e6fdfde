"""Graphs that Core ML cannot hold, and what a saved package must not hide."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("coremltools", reason="needs the extra `coreml`")

from nexus_edge.bundle import TensorSpec
from nexus_edge.errors import InputError, OutputError
from nexus_edge.quant.linear import QuantLinear
from nexus_edge.quant.schemes import load_scheme
from nexus_edge.targets.coreml import package
from nexus_edge.targets.coreml.family import Function, Package
from nexus_edge.targets.coreml.package import About, write_package
from nexus_edge.targets.coreml.program import convert, trace

pytestmark = pytest.mark.slow

ABOUT = About("somebody", "mit", "1", {})


class Shrink(nn.Module):
    """Core ML has no bicubic resampling."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.interpolate(x, size=(4, 4), mode="bicubic")


class Whole(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.inner(x) + 1
        return found


class Model(nn.Module):
    """As the modules of `Function`s: the model is their `root`."""

    def __init__(self, root: nn.Module) -> None:
        super().__init__()
        self.root = root

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.root(x)
        return found


def function(root: nn.Module, *shape: int) -> Function:
    size = tuple(root(torch.zeros(shape, device="meta")).shape)
    return Function("main", Model(root), (TensorSpec("x", "float32", shape),), (TensorSpec("y", "float32", size),))


def test_an_operator_that_core_ml_has_not_is_named_with_its_layer() -> None:
    with pytest.raises(
        InputError, match=r"inner: Core ML has no operator for .*bicubic.*; write one in \S*operators"
    ) as found:
        trace(function(Whole(Shrink()), 1, 3, 8, 8))
    assert "\n" not in str(found.value)


def test_a_use_of_an_operator_that_cannot_be_translated_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import coremltools

    def refuse(*arguments: object, **options: object) -> None:
        raise NotImplementedError("no 'pad' with\n mode 'circular'")

    made = function(nn.ReLU(), 1, 4)
    program = trace(made)
    monkeypatch.setattr(coremltools, "convert", refuse)
    with pytest.raises(
        InputError, match=r"function main for iOS 17: coremltools cannot .* no 'pad' with mode 'circular'"
    ):
        convert(program, made, 17, lambda name: torch.zeros(()))


@pytest.fixture
def quantized() -> Callable[[Path], None]:
    """Writes a package with one layer in int4 whose groups do not divide its columns."""
    scheme = load_scheme("int4-g128-asym")
    layer = QuantLinear((32, 144), scheme)
    values = {name: torch.ones(buffer.shape, dtype=buffer.dtype) for name, buffer in layer.named_buffers()}

    def write(path: Path) -> None:
        with torch.device("meta"):
            made = function(Whole(layer), 1, 144)
        written = Package("tiny", "head", (made,), "cpuOnly")
        write_package(
            path, written, [trace(made)], lambda chosen: lambda name: values[name.removeprefix("inner.")], ABOUT
        )

    return write


def test_groups_that_do_not_divide_the_columns_stay_compressed(
    quantized: Callable[[Path], None], tmp_path: Path
) -> None:
    quantized(tmp_path / "tiny.mlpackage")
    constants = package.MilModel.open(tmp_path / "tiny.mlpackage").main.constants
    assert constants["inner_weight"] == "constexpr_blockwise_shift_scale"


def test_a_weight_that_was_saved_uncompressed_is_an_error(
    quantized: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Open:
        """A package in which the weight is plain."""

        main = type("Main", (), {"constants": {"inner_weight": "const"}})

        @classmethod
        def open(cls, path: Path) -> "Open":
            return cls()

    monkeypatch.setattr(package, "MilModel", Open)
    with pytest.raises(AssertionError, match="inner_weight is not compressed in the saved file"):
        quantized(tmp_path / "tiny.mlpackage")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error",
    [shutil.Error([("a", "b", "[Errno 28] No space left on device")]), RuntimeError("filesystem error: cannot\ncopy")],
)
def test_a_full_disk_is_one_line_and_leaves_nothing(
    quantized: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(package, "_save", refuse)
    with pytest.raises(
        OutputError, match=r"^tiny\.mlpackage cannot be written \(.+\); it needs space in .* and"
    ) as found:
        quantized(tmp_path / "tiny.mlpackage")
    assert "\n" not in str(found.value) and not list(tmp_path.iterdir())
