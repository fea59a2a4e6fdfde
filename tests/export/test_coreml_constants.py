"""A quantized layer as a saved Core ML constant: its numbers are those that were stored, in every form of a scheme."""

from pathlib import Path

import coreml_packages
import numpy as np
import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("coremltools", reason="needs the extra `coreml`")

from nexus_edge.bundle import TensorSpec
from nexus_edge.errors import CheckpointError, InputError, RecipeError
from nexus_edge.quant.apply import quantize_modules, quantize_tensor
from nexus_edge.quant.schemes import load_scheme
from nexus_edge.targets.coreml.family import Function, Package
from nexus_edge.targets.coreml.package import About, write_package
from nexus_edge.targets.coreml.program import trace

pytestmark = pytest.mark.slow

ROWS, COLUMNS = 24, 192
SCALES = 2.0**-11  # scales of float32 become float16, which has 11 bits; those of float16 stay
ABOUT = About("nobody", "none", "0", {})
BLOCKS = ("int4-g16-int8", "int4-g32", "int4-g32-asym", "int4-g64-asym", "int8-g32", "int8-g128")


class _Layer(nn.Module):
    """A graph's module of one layer, and the model that holds it."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.root = nn.ModuleDict({"layer": layer})

    def forward(self, x: Tensor) -> Tensor:
        return self.root["layer"](x)


def write(path: Path, scheme: str, weight: Tensor, ios: int = 18, embedding: bool = False) -> dict[str, Tensor]:
    """Save a package of one layer; returns the layer's stored tensors."""
    rows, columns = weight.shape
    with torch.device("meta"):
        layer = nn.Embedding(rows, columns) if embedding else nn.Linear(columns, rows)
    module = _Layer(layer)
    quantize_modules(module.root, lambda name: load_scheme(scheme))
    stored = {f"layer.{name}": part for name, part in quantize_tensor(weight, load_scheme(scheme)).items()}
    stored["layer.bias"] = torch.linspace(-1, 1, rows)
    x = TensorSpec("x", "int32", (1, 3)) if embedding else TensorSpec("x", "float32", (1, 3, columns))
    y = TensorSpec("y", "float32", (1, 3, columns if embedding else rows))
    package = Package("layer", "head", (Function("main", module, (x,), (y,)),), "all", ios)
    write_package(path, package, [trace(package.functions[0])], lambda function: stored.__getitem__, ABOUT)
    return stored


def weight_of(rows: int = ROWS, columns: int = COLUMNS) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(5)) * 0.02


def expected(weight: Tensor, scheme: str) -> np.ndarray:
    from nexus_edge.quant.registry import find_quantizer

    found = load_scheme(scheme)
    return find_quantizer(found.method)(weight, found).dequantize().double().numpy()


@pytest.mark.parametrize("scheme", [*BLOCKS, "int8"])
def test_a_linear_layer_keeps_its_numbers(scheme: str, tmp_path: Path) -> None:
    path, weight = tmp_path / "layer.mlpackage", weight_of()
    write(path, scheme, weight)
    (constant,) = coreml_packages.operations(path, "main", "constexpr_blockwise_shift_scale")
    columns = weight.shape[1]  # a last group that is not full has zeros behind it
    values = coreml_packages.dequantized(constant)[:, :columns]
    np.testing.assert_allclose(values, expected(weight, scheme), rtol=SCALES, atol=0)
    assert constant.name.startswith("layer_weight")


@pytest.mark.parametrize("scheme", ["int4-g64-asym", "int8-g128"])
def test_codes_lie_in_the_file_in_as_many_bits_as_the_scheme_says(scheme: str, tmp_path: Path) -> None:
    path, weight = tmp_path / "layer.mlpackage", weight_of(512, 1024)
    stored = write(path, scheme, weight)
    size = (path / "Data/com.apple.CoreML/weights/weight.bin").stat().st_size
    # Beside codes, scales and zero points: the bias, and a record with padding to 64 bytes for each of four blobs.
    assert size < sum(part.nbytes for part in stored.values()) + 4 * 192


@pytest.mark.parametrize(("columns", "scheme"), [(200, "int8-g128"), (72, "int4-g32"), (200, "int4-g16-int8")])
def test_a_group_that_does_not_divide_the_columns_is_filled_up_and_stays_compressed(
    columns: int, scheme: str, tmp_path: Path
) -> None:
    path, weight = tmp_path / "layer.mlpackage", weight_of(ROWS, columns)
    write(path, scheme, weight)
    (constant,) = coreml_packages.operations(path, "main", "constexpr_blockwise_shift_scale")
    (pad,) = coreml_packages.operations(path, "main", "pad")
    values = coreml_packages.dequantized(constant)
    np.testing.assert_allclose(values[:, :columns], expected(weight, scheme), rtol=SCALES, atol=0)
    assert pad.outputs[0].shape[-1] == values.shape[1]


def test_ios_17_has_one_scale_per_output_channel(tmp_path: Path) -> None:
    path, weight = tmp_path / "layer.mlpackage", weight_of()
    write(path, "int8", weight, ios=17)
    (constant,) = coreml_packages.operations(path, "main", "constexpr_affine_dequantize")
    np.testing.assert_allclose(coreml_packages.dequantized(constant), expected(weight, "int8"), rtol=SCALES, atol=0)
    assert coreml_packages.spec_of(path).specificationVersion == 8  # that of iOS 17


@pytest.mark.parametrize("scheme", BLOCKS)
def test_ios_17_is_too_old_for_groups_and_says_so(scheme: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"layer: weights of \d bits in groups need iOS 18"):
        write(tmp_path / "layer.mlpackage", scheme, weight_of(), ios=17)


@pytest.mark.parametrize("scheme", ["int4-g64-asym", "int8-g128"])
def test_an_embedding_is_a_gather_from_its_compressed_table(scheme: str, tmp_path: Path) -> None:
    path, weight = tmp_path / "layer.mlpackage", weight_of(40, 256)
    write(path, scheme, weight, embedding=True)
    (constant,) = coreml_packages.operations(path, "main", "constexpr_blockwise_shift_scale")
    (gather,) = coreml_packages.operations(path, "main", "gather")
    assert gather.x.name == constant.outputs[0].name
    np.testing.assert_allclose(coreml_packages.dequantized(constant), expected(weight, scheme), rtol=SCALES, atol=0)


def test_on_ios_17_an_embedding_in_groups_is_a_table_of_groups(tmp_path: Path) -> None:
    path, weight = tmp_path / "layer.mlpackage", weight_of(40, 256)
    write(path, "int8-g128", weight, ios=17, embedding=True)
    (constant,) = coreml_packages.operations(path, "main", "constexpr_affine_dequantize")
    table = coreml_packages.dequantized(constant)
    assert table.shape == (80, 128)
    np.testing.assert_allclose(table.reshape(40, 256), expected(weight, "int8-g128"), rtol=SCALES, atol=0)


def test_a_scale_beyond_float16_is_an_error_that_names_the_layer(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="layer: a scale is too large for float16"):
        write(tmp_path / "layer.mlpackage", "int8", weight_of() * 1e10)


def test_an_operator_that_core_ml_lacks_is_named_with_its_layer() -> None:
    class Unknown(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.special.bessel_j0(x)

    x, y = (TensorSpec(name, "float32", (1, 3)) for name in "xy")
    with pytest.raises(InputError, match=r"layer: Core ML has no operator for .*bessel_j0"):
        trace(Function("main", _Layer(Unknown()), (x,), (y,)))
