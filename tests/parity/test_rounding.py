"""What errors of number formats do to a small model, beside what the formats themselves do."""

import pytest
import torch
from torch import nn

from nexus_edge.engines.onnx.probe import variants as onnx
from nexus_edge.engines.openvino.probe import variants as openvino
from nexus_edge.engines.openvino.settings import OpenVinoSettings
from nexus_edge.ops.matmul_int8 import matmul_int8
from nexus_edge.parity.formats import BFLOAT16, EXACT, FLOAT16, Formats
from nexus_edge.parity.metrics import compare
from nexus_edge.parity.rounding import _shortened, effect, rounded
from nexus_edge.quant.linear import QuantLinear
from nexus_edge.quant.schemes import load_scheme

WIDTH = 256


def layer(scheme: str = "int8") -> QuantLinear:
    made = QuantLinear((WIDTH, WIDTH), load_scheme(scheme))
    codes = torch.randint(-127, 128, (WIDTH, WIDTH), generator=torch.Generator().manual_seed(0), dtype=torch.int8)
    made.fill({"qweight": codes, "scales": torch.full((WIDTH,), 0.01)})
    return made.eval()


def plain(stored_as: str | None = "int8") -> nn.Linear:
    """The same weight, multiplied as floats, as `load_dequantized` leaves it."""
    made, quantized = nn.Linear(WIDTH, WIDTH, bias=False), layer()
    made.weight.data = quantized.qweight.float() * 0.01
    if stored_as is not None:
        made.scheme = load_scheme(stored_as)
    return made.eval()


def rows(count: int = 64) -> torch.Tensor:
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(1))


def moved(module: nn.Module, formats: Formats, x: torch.Tensor) -> float:
    with torch.inference_mode():
        expected = {"y": module(x).numpy()}
        found = effect(lambda: {"y": module(x).numpy()}, expected, formats)
    return found["y"]["relative_l2"]


def true_error(x: torch.Tensor) -> float:
    """Of a kernel that rounds rows to int8, beside one that does not."""
    quantized = layer()
    with torch.inference_mode():
        actual = matmul_int8(x, quantized.qweight, quantized.scales, None)
        return compare(actual.numpy(), plain()(x).numpy())["relative_l2"]


def test_drawn_errors_are_as_large_as_true_ones() -> None:
    x = rows()
    assert moved(plain(), Formats(inputs="rows"), x) == pytest.approx(true_error(x), rel=0.1)


def test_groups_have_their_own_steps() -> None:
    """One large number makes the steps of its own group large, and of its row."""
    x = rows()
    x[:, 0] *= 100
    rows_error, groups_error = (moved(plain(), Formats(inputs=kind, group=64), x) for kind in ("rows", "groups"))
    assert moved(plain(), Formats(inputs="groups", group=WIDTH), x) == pytest.approx(rows_error, rel=0.1)
    assert groups_error < 0.7 * rows_error


def test_two_kernels_of_one_rule_differ_by_ties_alone() -> None:
    assert 0 < moved(layer(), Formats(inputs="ties"), rows()) < 0.2 * true_error(rows())


def test_numbers_that_all_lie_between_two_codes() -> None:
    """Every one may go up or down: as large an error as a step of them all."""
    x = (rows().clamp(-3, 3) * 10).round() + 0.5
    x[:, 0] = 127.0
    assert moved(layer(), Formats(inputs="ties"), x) > 5 * moved(layer(), Formats(inputs="ties"), rows())


def test_no_tie_at_all_is_not_taken_for_certain() -> None:
    """A single token has none by chance; another kernel's noise may find one."""
    assert moved(layer(), Formats(inputs="ties"), rows(1)) > 1e-4


@pytest.mark.parametrize(("significand", "bits"), [(BFLOAT16, 8), (FLOAT16, 11)])
def test_shorter_floats(significand: int, bits: int) -> None:
    """Uniform within half a unit: between 2^-(bits+2) and 2^-bits for each of three roundings."""
    found = moved(plain(None), Formats(significand=significand), rows())
    assert 2.0 ** -(bits + 2) < found < 3 * 2.0**-bits


@pytest.mark.parametrize(("significand", "dtype"), [(BFLOAT16, torch.bfloat16), (FLOAT16, torch.float16)])
def test_each_draw_of_shorter_floats_is_another(significand: int, dtype: torch.dtype) -> None:
    """One of the two neighbours with as many bits, the nearer one more often, and a number that has them stays."""
    x, short = torch.full((1000,), 1.0 + 0.75 * 2.0 ** (1 - significand)), rows().to(dtype).float()
    random = torch.Generator().manual_seed(0)
    drawn = _shortened(x, significand, random)
    assert set(drawn.tolist()) == {1.0, 1.0 + 2.0 ** (1 - significand)}
    assert float(drawn.mean()) == pytest.approx(float(x.mean()), abs=0.06 * 2.0 ** (1 - significand))  # four deviations
    assert torch.equal(_shortened(short, significand, random), short)
    assert torch.equal(_shortened(torch.zeros(3), significand, random), torch.zeros(3))


def test_sums_in_another_order_are_noise() -> None:
    for module in (plain(None), plain()):
        assert 0 < moved(module, EXACT, rows()) < 1e-5


def test_what_is_stored_as_float_is_not_rounded_to_int8() -> None:
    assert moved(plain("float16"), Formats(inputs="groups", group=64), rows()) < 1e-5


def test_the_same_errors_each_time_and_none_afterwards() -> None:
    x, module = rows(), plain()
    with torch.inference_mode():
        before = module(x)
        found = []
        for seed in (0, 0, 1):
            with rounded(Formats(inputs="rows"), seed):
                found.append(module(x))
        assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
        assert torch.equal(module(x), before)


def test_a_cache_in_eight_bits() -> None:
    """Keys and values move by half a step of 255 over a token's range at most, and what a layer returns with them."""
    key = torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(2))
    past, mask = torch.zeros(1, 2, 0, 16), torch.ones(1, 5, dtype=torch.int64)
    with torch.inference_mode(), rounded(Formats(cache=True)):
        _, present, _ = torch.ops.nexus.cached_attention(key, key, key, past, past, mask, 2, 2, -1)
    heads = key.view(1, 5, 2, 16).transpose(1, 2)
    steps = (heads.amax(-1, keepdim=True) - heads.amin(-1, keepdim=True)) / 255
    assert (present - heads).abs().max() > 0
    assert ((present - heads).abs() <= 0.5001 * steps).all()


def test_a_repeated_token_has_one_error() -> None:
    """A kernel rounds equal values equally, so that attention over many of them errs as over one."""
    one = torch.randn(1, 1, 32, generator=torch.Generator().manual_seed(2))
    past = torch.zeros(1, 2, 0, 16)

    def error(count: int) -> float:
        row, mask = one.expand(1, count, 32).contiguous(), torch.ones(1, count, dtype=torch.int64)
        with torch.inference_mode(), rounded(Formats(cache=True)):
            out, _, _ = torch.ops.nexus.cached_attention(row, row, row, past, past, mask, 2, 2, -1)
        return float((out[:, -1] - one[:, 0]).norm() / one.norm())

    assert error(200) == pytest.approx(error(1), rel=1e-3)


@pytest.mark.parametrize("formats", [Formats(inputs="rows"), Formats(inputs="groups", group=64), Formats(BFLOAT16)])
def test_equal_rows_have_equal_errors(formats: Formats) -> None:
    x, module = rows(1).expand(50, WIDTH), plain()
    with torch.inference_mode(), rounded(formats):
        errors = module(x) - plain()(x[:1])
    assert float(errors[0].norm()) > 0
    # What is left are the last bits of float32 sums, which may tip a number over the middle between two codes.
    assert float((errors - errors[0]).norm(dim=-1).median()) < 0.2 * float(errors[0].norm())


def test_formats_of_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    machines = {"x86_64": "ties", "AMD64": "ties", "aarch64": "rows", "arm64": "rows"}
    for machine, inputs in machines.items():
        monkeypatch.setattr("platform.machine", lambda machine=machine: machine)
        assert onnx.formats().inputs == inputs
    assert openvino.formats_of(OpenVinoSettings("f32", 0, "f32")) == EXACT
    shipped = openvino.formats_of(OpenVinoSettings("bf16", 64, "u8"))
    assert shipped == Formats(BFLOAT16, "groups", 64, cache=True)
