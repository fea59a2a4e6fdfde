"""States: a cache that a stateful program updates, over several calls and several functions."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nexus_edge.engines.coreml.mil import MilFunction, MilModel
from nexus_edge.errors import BundleError

pytestmark = pytest.mark.slow

SLOTS, WIDTH = 9, 8


class Cached(nn.Module):
    """Attention over everything seen so far; `position` is the first slot that is written."""

    def __init__(self) -> None:
        super().__init__()
        self.cache: torch.Tensor
        self.register_buffer("cache", torch.zeros(1, SLOTS, WIDTH))
        self.project = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        end = mask.shape[-1]
        self.cache[:, end - x.shape[1] : end] = self.project(x)
        seen = self.cache[:, :end]
        return nn.functional.scaled_dot_product_attention(x, seen, seen, mask[None])


def causal(tokens: int, total: int) -> torch.Tensor:
    return torch.full((tokens, total), -1e4).triu(total - tokens + 1)


@pytest.fixture
def cached() -> Cached:
    return Cached().eval()


@pytest.fixture
def main(save: Any, ct: Any, cached: Cached) -> MilFunction:
    tokens, total = (torch.export.Dim(name, min=1, max=SLOTS - 1) for name in ("tokens", "total"))
    shapes = {"x": {1: tokens}, "mask": {0: tokens, 1: total}}
    inputs = torch.zeros(1, 3, WIDTH), causal(3, 5)
    program = torch.export.export(cached, inputs, dynamic_shapes=shapes).run_decompositions({})
    return MilModel.open(save(program, "fp16", outputs=[ct.TensorType(name="y")])).main


def test_a_prompt_and_then_token_by_token_is_all_at_once(main: MilFunction, cached: Cached) -> None:
    assert main.states["cache"].shape == (1, SLOTS, WIDTH)
    x = torch.randn(1, 7, WIDTH)
    with torch.no_grad():
        expected = cached(x, causal(7, 7)).numpy()
    state, parts = main.new_state(), []
    for first, last in ((0, 4), (4, 5), (5, 6), (6, 7)):
        given = {"x": x[:, first:last].numpy(), "mask": causal(last - first, last).numpy()}
        parts.append(main.run(given, state)["y"])
    # Weights of fp16: half a unit in the last of 11 bits.
    np.testing.assert_allclose(np.concatenate(parts, 1), expected, atol=2e-3)
    np.testing.assert_allclose(state["cache"], cached.cache.numpy(), atol=2e-3)
    assert not state["cache"][:, 7:].any()


def test_in_fp16_the_state_holds_fp16(main: MilFunction) -> None:
    given = {
        "x": np.random.default_rng(0).standard_normal((1, 3, WIDTH)).astype(np.float32),
        "mask": causal(3, 3).numpy(),
    }
    rounded, exact = main.new_state(), main.new_state()
    main.run(given, rounded, precision="fp16")
    main.run(given, exact)
    assert (rounded["cache"] == rounded["cache"].astype(np.float16)).all()
    assert (exact["cache"] != exact["cache"].astype(np.float16)).any()


def test_a_copy_is_a_snapshot_and_a_failure_changes_nothing(main: MilFunction) -> None:
    state = main.new_state()
    given = {"x": np.ones((1, 3, WIDTH), np.float32), "mask": causal(3, 3).numpy()}
    main.run(given, state)
    snapshot = dict(state)
    main.run({"x": np.ones((1, 1, WIDTH), np.float32), "mask": causal(1, 4).numpy()}, state)
    assert snapshot["cache"][:, 3].any() == np.False_ and state["cache"][:, 3].any()
    before = state["cache"]
    with pytest.raises(BundleError, match="scaled_dot_product_attention"):  # the mask is of another number of tokens
        main.run({"x": np.ones((1, 2, WIDTH), np.float32), "mask": causal(3, 5).numpy()}, state)
    assert state["cache"] is before


def test_a_state_must_be_given_and_fit(main: MilFunction) -> None:
    given = {"x": np.ones((1, 1, WIDTH), np.float32), "mask": causal(1, 1).numpy()}
    with pytest.raises(BundleError, match=r"state 'cache' is missing; start with new_state\(\)"):
        main.run(given)
    with pytest.raises(BundleError, match=r"state 'cache' is float32 \[1, 9, 8\]"):
        main.run(given, {"cache": np.zeros((1, 2, WIDTH), np.float32)})


def test_functions_of_one_package_share_a_state(save: Any, ct: Any, mb: Any, tmp_path: Any) -> None:
    from coremltools.converters.mil.mil import types

    def program(tokens: int) -> Any:
        specs = [mb.TensorSpec((tokens,), dtype=types.fp16), mb.StateTensorSpec((3,), dtype=types.fp16)]

        @mb.program(input_specs=specs, opset_version=ct.target.iOS18)
        def built(x: Any, total: Any) -> Any:
            more = mb.add(x=mb.read_state(input=total), y=mb.reduce_sum(x=x))
            return mb.identity(x=mb.coreml_update_state(state=total, value=more), name="y")

        return built

    description = ct.utils.MultiFunctionDescriptor()
    for name, tokens in (("prefill", 4), ("decode", 1)):
        path = save(program(tokens), "fp16")
        description.add_function(str(path.rename(tmp_path / f"{name}.mlpackage")), "main", name)
    description.default_function_name = "decode"
    ct.utils.save_multifunction(description, str(tmp_path / "both.mlpackage"))

    model = MilModel.open(tmp_path / "both.mlpackage")
    assert set(model.functions) == {"prefill", "decode"} and model.main is model.functions["decode"]
    prefill = model.functions["prefill"]
    assert prefill.inputs["x"].shape == (4,) and prefill.states["total"].shape == (3,) and "y" in prefill.outputs
    state = prefill.new_state()
    prefill.run({"x": np.array([1, 2, 3, 4], np.float32)}, state)
    assert model.main.run({"x": np.array([5], np.float32)}, state)["y"].tolist() == [15, 15, 15]
    with pytest.raises(BundleError, match=r"function decode: the input 'x' is \[4\]"):
        model.main.run({"x": np.zeros(4, np.float32)}, state)
