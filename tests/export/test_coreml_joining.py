"""Packages joined on the files: coremltools reads them, functions keep their numbers, what is equal is there once."""

from collections.abc import Mapping
from pathlib import Path

import coreml_packages  # the tests are skipped here where there is no coremltools
import coremltools
import numpy as np
import pytest
from coremltools.converters.mil import mil

from nexus_edge.engines.coreml.mil import MilModel
from nexus_edge.targets.coreml.joining import WEIGHTS, join

pytestmark = pytest.mark.slow

SHARED, OWN = (np.random.default_rng(seed).standard_normal((64, 96)).astype(np.float16) for seed in (1, 2))
NOISE = 1e-3  # sums of 96 float16 products in another order


def write(path: Path, tokens: int, weights: Mapping[str, np.ndarray]) -> Path:
    """A package with the sum of x @ weight.T over the weights, in the order given."""
    builder = mil.Builder

    @builder.program(
        input_specs=[builder.TensorSpec((tokens, 96), dtype=coremltools.converters.mil.mil.types.fp16)],
        opset_version=coremltools.target.iOS18,
    )
    def program(x):  # type: ignore[no-untyped-def]
        parts = [builder.linear(x=x, weight=weight, name=name) for name, weight in weights.items()]
        for part in parts[1:]:
            parts[0] = builder.add(x=parts[0], y=part)
        return builder.identity(x=parts[0], name="y")

    model = coremltools.convert(
        program, convert_to="mlprogram", minimum_deployment_target=coremltools.target.iOS18, skip_model_load=True
    )
    model.save(str(path))
    return path


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("joined")
    parts = {
        "short": write(folder / "short.mlpackage", 1, {"a": SHARED}),
        "long": write(folder / "long.mlpackage", 8, {"b": OWN, "a": SHARED}),  # the shared one at another place
    }
    join(parts, folder / "both.mlpackage")
    return folder / "both.mlpackage"


@pytest.mark.parametrize(("name", "tokens", "weight"), [("short", 1, SHARED), ("long", 8, SHARED + OWN)])
def test_each_function_computes_with_its_own_weights(joined: Path, name: str, tokens: int, weight: np.ndarray) -> None:
    model = MilModel.open(joined)
    assert (model.default, set(model.functions)) == ("short", {"short", "long"})
    x = np.random.default_rng(3).standard_normal((tokens, 96)).astype(np.float16)
    (y,) = model.functions[name].run({"x": x}).values()
    np.testing.assert_allclose(y, x.astype(float) @ weight.astype(float).T, rtol=NOISE, atol=NOISE * 96**0.5)


def test_coremltools_reads_both_functions_and_the_same_values(joined: Path) -> None:
    functions = coreml_packages.program_of(joined).functions
    for name, expected in (("short", [SHARED]), ("long", [OWN, SHARED])):
        found = [op.weight.val for op in functions[name].operations if op.op_type == "linear"]
        assert all(np.array_equal(value, right) for value, right in zip(found, expected, strict=True))


def test_the_shared_tensor_is_stored_once(joined: Path) -> None:
    data = (joined / WEIGHTS).read_bytes()
    for weight in (SHARED, OWN):
        assert data.count(weight.tobytes()) == 1
