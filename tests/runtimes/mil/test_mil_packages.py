"""Packages that coremltools saved: read back, evaluated, compared with the PyTorch model that they were made of."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nexus_edge.engines.coreml.mil import MilModel
from nexus_edge.errors import BundleError

pytestmark = pytest.mark.slow


class Encoder(nn.Module):
    """Patches, one attention, an MLP, a normalised output: [batch, 3, 8, 8] -> [batch, 6]."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm = nn.Conv2d(3, 16, 4, 4), nn.LayerNorm(16)
        self.qkv, self.up, self.down, self.head = (nn.Linear(a, b) for a, b in ((16, 48), (16, 32), (32, 16), (16, 6)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(self.norm(x)).reshape(x.shape[0], 4, 3, 2, 8).permute(2, 0, 3, 1, 4).unbind()
        x = x + nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.down(nn.functional.gelu(self.up(x)))
        return nn.functional.normalize(self.head(x.mean(1)), dim=-1)


@pytest.fixture
def encoder() -> Encoder:
    return Encoder().eval()


def exported(model: nn.Module, *inputs: torch.Tensor, **dynamic: Any) -> Any:
    return torch.export.export(model, inputs, **dynamic).run_decompositions({})


@pytest.mark.parametrize("target", ["iOS17", "iOS18"])
def test_a_model_of_floats_is_the_model(save: Any, ct: Any, encoder: Encoder, target: str) -> None:
    x = torch.randn(2, 3, 8, 8)
    path = save(exported(encoder, x), target=target, outputs=[ct.TensorType(name="y")])
    main = MilModel.open(path).main
    with torch.no_grad():
        expected = encoder(x).numpy()
    got = main.run({"x": x.numpy()})["y"]
    np.testing.assert_allclose(got, expected, atol=1e-6)  # float32 noise at length 1


def test_rounding_to_fp16_is_seen_and_stays_small(save: Any, ct: Any, encoder: Encoder) -> None:
    x = torch.randn(2, 3, 8, 8)
    main = MilModel.open(save(exported(encoder, x), "fp16", outputs=[ct.TensorType(name="y")])).main
    with torch.no_grad():
        expected = encoder(x).numpy()
    exact, rounded = (main.run({"x": x.numpy()}, precision=precision)["y"] for precision in ("fp32", "fp16"))
    # The weights are rounded either way: 2**-11 of each, at length 1 and with a handful of layers.
    assert 1e-6 < np.abs(exact - expected).max() < 2e-3
    assert 1e-6 < np.abs(rounded - exact).max() < 4e-3
    assert (rounded == rounded.astype(np.float16)).all() and (exact != exact.astype(np.float16)).any()


def test_a_dynamic_batch(save: Any, ct: Any, encoder: Encoder) -> None:
    batch = torch.export.Dim("batch", min=1, max=8)
    program = exported(encoder, torch.randn(2, 3, 8, 8), dynamic_shapes={"x": {0: batch}})
    main = MilModel.open(save(program, outputs=[ct.TensorType(name="y")])).main
    assert main.inputs["x"].shape == ((1, 8), 3, 8, 8)
    x = torch.randn(5, 3, 8, 8)
    with torch.no_grad():
        np.testing.assert_allclose(main.run({"x": x.numpy()})["y"], encoder(x).numpy(), atol=1e-6)
    with pytest.raises(BundleError, match=r"input 'x' is \[9, 3, 8, 8\]"):
        main.run({"x": np.zeros((9, 3, 8, 8), np.float32)})


def test_every_operation_can_be_kept_and_replaced(save: Any, mb: Any) -> None:
    @mb.program(input_specs=[mb.TensorSpec((2,))])
    def program(x: Any) -> Any:
        first = mb.add(x=x, y=1.0, name="layers.0.output")
        return mb.mul(x=first, y=2.0, name="y")

    main = MilModel.open(save(program)).main
    x = np.array([1, 2], np.float32)
    results = main.run({"x": x}, keep=lambda name: name.endswith("0_output"))
    assert list(results) == ["layers_0_output", "y"]
    assert results["layers_0_output"].tolist() == [2, 3] and results["y"].tolist() == [4, 6]
    cut = main.run({"x": x}, keep=lambda name: True, replace={"layers_0_output": np.array([5, 5], np.float32)})
    assert cut["layers_0_output"].tolist() == [2, 3] and cut["y"].tolist() == [10, 10]


@pytest.mark.parametrize("colours", ["RGB", "BGR", "GRAYSCALE"])
def test_an_image_with_scale_and_bias(save: Any, ct: Any, mb: Any, colours: str) -> None:
    channels = 1 if colours == "GRAYSCALE" else 3

    @mb.program(input_specs=[mb.TensorSpec((1, channels, 4, 6))])
    def program(x: Any) -> Any:
        return mb.identity(x=x, name="y")

    bias = 0.25 if channels == 1 else [0.25, -0.5, 0.75]
    layout = getattr(ct.colorlayout, colours)
    image = ct.ImageType("x", (1, channels, 4, 6), scale=0.5, bias=bias, color_layout=layout)
    main = MilModel.open(save(program, inputs=[image])).main
    assert main.inputs["x"].kind == "image" and main.inputs["x"].shape == (4, 6)
    shape = (4, 6) if channels == 1 else (4, 6, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    planes = pixels.reshape(4, 6, channels).transpose(2, 0, 1)
    expected = planes[:: -1 if colours == "BGR" else 1] * 0.5 + np.reshape(bias, (channels, 1, 1))
    np.testing.assert_array_equal(main.run({"x": pixels})["y"][0], expected)
    with pytest.raises(BundleError, match="an image here is uint8"):
        main.run({"x": pixels.astype(np.float32)})


def test_enumerated_shapes(save: Any, ct: Any, mb: Any) -> None:
    from coremltools.converters.mil.mil import get_new_symbol

    @mb.program(input_specs=[mb.TensorSpec((1, get_new_symbol()))])
    def program(x: Any) -> Any:
        return mb.relu(x=x, name="y")

    shapes = ct.EnumeratedShapes([(1, 4), (1, 8)])
    main = MilModel.open(save(program, inputs=[ct.TensorType("x", shapes)])).main
    assert main.run({"x": np.ones((1, 8), np.float32)})["y"].shape == (1, 8)
    with pytest.raises(BundleError, match=r"is \[1, 5\], allowed is \[\(1, 4\), \(1, 8\)\]"):
        main.run({"x": np.ones((1, 5), np.float32)})


def test_integers_in_and_out(save: Any, mb: Any) -> None:
    from coremltools.converters.mil.mil import types

    @mb.program(input_specs=[mb.TensorSpec((3,), dtype=types.int32)])
    def program(x: Any) -> Any:
        return mb.gather(x=np.arange(8, dtype=np.float32) * 2, indices=x, name="y")

    main = MilModel.open(save(program)).main
    assert main.run({"x": np.array([7, 0, 3])})["y"].tolist() == [14, 0, 6]
    for wrong, reason in (([2**40, 0, 0], "int64"), ([0.5, 0, 0], "float64")):
        with pytest.raises(BundleError, match=f"is {reason}, but the program takes int32"):
            main.run({"x": np.array(wrong)})
    with pytest.raises(BundleError, match=r"gather .*index 8 is outside"):
        main.run({"x": np.array([8, 0, 0])})
    with pytest.raises(BundleError, match="input 'x' is missing"):
        main.run({})


def test_what_the_author_wrote(save: Any, ct: Any, mb: Any, tmp_path: Path) -> None:
    @mb.program(input_specs=[mb.TensorSpec((2,))])
    def program(x: Any) -> Any:
        return mb.relu(x=x)

    model = ct.models.MLModel(str(save(program)), skip_model_load=True)
    model.author, model.user_defined_metadata["manifest"] = "somebody", "0123"
    model.save(str(tmp_path / "second.mlpackage"))
    opened = MilModel.open(tmp_path / "second.mlpackage")
    assert opened.specification == 9
    assert opened.metadata["author"] == "somebody" and opened.metadata["manifest"] == "0123"


def test_coremltools_is_not_needed_to_read(save: Any, mb: Any) -> None:
    @mb.program(input_specs=[mb.TensorSpec((2,))])
    def program(x: Any) -> Any:
        return mb.relu(x=x, name="y")

    code = (
        "import sys, numpy\n"
        "from nexus_edge.engines.coreml.mil import MilModel\n"
        f"main = MilModel.open({str(save(program))!r}).main\n"
        "print(main.run({'x': numpy.array([-1, 1], 'f4')})['y'].tolist())\n"
        "print(sorted({'coremltools', 'torch'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["[0.0, 1.0]", "[]"]
