"""What number formats may do to one checkpoint: its values move by seeded errors of that rounding, and outputs follow.

A limit that was measured on one checkpoint or one CPU says nothing about the next: layers amplify rounding, or do not.
So every gate that rounding decides is a small multiple of what is measured here, on the same weights and inputs, see
tolerances.toml. The errors are drawn, not computed as a kernel does: two kernels that round the same values agree in
the size of their errors and in nothing else.

A draw is one of the kernels that could be: it rounds equal rows equally. Where a prompt repeats a token, whose values
are the same each time, errors add up in attention as they do in a kernel, and do not average out.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from nexus_edge.layers.decoder import RMSNorm
from nexus_edge.parity.formats import FLOAT32, Formats
from nexus_edge.parity.metrics import Measures, Values, compare
from nexus_edge.parity.settled import RoundedLinear
from nexus_edge.quant.linear import QuantEmbedding, QuantLinear

if TYPE_CHECKING:
    from nexus_edge.interfaces.graph import GraphSpec

DRAWS = 3
"""How often errors are drawn; the largest effect counts. One draw of few values says little about the next."""

STEPS = 127
"""Of an int8 code, on either side of zero."""

# Of a step: how near to the middle between two codes a value must lie for float32 noise to decide. A value of 127 steps
# that went through a layer or two has 1e-5 of noise.
_TIE = 1e-3
_FEWEST_TIES = 4  # per product: of a single token there may be none by chance, where another kernel finds one
_NOISE = 2.0**-21  # of a float32 sum of some hundred terms in any order: a few units in the last place
_CACHE_STEPS = 255

_PRODUCTS = (nn.Linear, QuantLinear, RoundedLinear)
_ROUNDED = (*_PRODUCTS, nn.LayerNorm, RMSNorm, nn.Embedding, QuantEmbedding, nn.Conv2d)
"""Modules whose inputs and outputs a path of fewer bits rounds; with them the sums that layers add to."""


@contextmanager
def rounded(formats: Formats, seed: int = 0) -> Iterator[None]:
    """Inside, every model computes with errors of these formats: the same ones each time for the same seed."""
    random = torch.Generator().manual_seed(seed)

    def move(module: nn.Module, inputs: tuple[Any, ...]) -> Any:
        if not isinstance(module, _ROUNDED) or not inputs[0].is_floating_point():
            return None
        x = _shortened(inputs[0], formats.significand, random)
        return (_moved(module, x, formats, random) if isinstance(module, _PRODUCTS) else x, *inputs[1:])

    def shorten(module: nn.Module, _inputs: Any, output: Any) -> Any:
        return _shortened(output, formats.significand, random) if isinstance(module, _ROUNDED) else None

    with ExitStack() as stack:
        stack.callback(register_module_forward_pre_hook(move).remove)
        stack.callback(register_module_forward_hook(shorten).remove)
        if formats.cache:
            stack.enter_context(_RoundedCache(random))
        yield


def effect(
    run: Callable[[], Values], expected: Values, formats: Formats, draws: int = DRAWS
) -> dict[str, dict[str, float]]:
    """By how much errors of these formats move what `run` computes, by name: the largest of some draws.

    Args:
        run: computes in PyTorch; may see other inputs than those that gave `expected`, where a path does
        expected: without errors
        formats: see `Formats`
        draws: see `DRAWS`
    """
    worst: dict[str, dict[str, float]] = {}
    for seed in range(draws):
        with rounded(formats, seed):
            values = run()
        for name, value in values.items():
            if name in expected and value.shape == expected[name].shape:
                found, known = compare(value, expected[name]), worst.setdefault(name, {})
                for metric in ("relative_l2", "max_abs", "mean_abs"):
                    known[metric] = max(known.get(metric, 0.0), found[metric])
    return worst


def effect_on_graph(
    spec: "GraphSpec", inputs: Values, expected: Values, formats: Formats, cut: bool
) -> Mapping[str, Measures]:
    """`effect` on all values of a graph; `cut`: each layer gets the reference's input, not that of the layer before."""
    from nexus_edge.parity.stages import run_torch

    return effect(lambda: run_torch(spec, inputs, expected if cut else {}), expected, formats)


def _shortened(x: Tensor, significand: int, random: torch.Generator) -> Tensor:
    """In as many bits, up or down by chance: to the nearest, every draw would be the same.

    What has no more bits stays as it is. Otherwise the mean square is a sixth of the last bit's, twice that of rounding
    to the nearest.
    """
    if significand == FLOAT32:
        return x
    last = torch.ldexp(torch.ones_like(x), torch.frexp(x).exponent - significand)
    below = torch.floor(x / last)
    return (below + (torch.rand(x.shape[-1:], generator=random) < x / last - below)) * last


def _moved(module: nn.Module, x: Tensor, formats: Formats, random: torch.Generator) -> Tensor:
    """The input of a product, with the errors of its format."""
    x = x * (1 + _NOISE * _signed(x, random))
    scheme = getattr(module, "scheme", None)
    if formats.inputs == "kept" or scheme is None or scheme.is_float:
        return x
    if formats.inputs == "ties":
        if scheme.activation == "none":
            return x
        return _flip_ties(x, scheme.group_size if scheme.activation == "int8-block" else 0, random)
    group = formats.group if formats.inputs == "groups" else 0
    return _in_steps(x, _steps(x, group), random)


def _in_steps(x: Tensor, step: Tensor, random: torch.Generator) -> Tensor:
    """Rounded to whole steps from an origin that is drawn for each column: errors are uniform within half a step."""
    origin = torch.rand(x.shape[-1:], generator=random)
    return torch.where(step > 0, ((x / step + origin).round() - origin) * step, x)


def _steps(x: Tensor, group: int) -> Tensor:
    """The int8 step of each number of [..., in], whose scale is that of its row, or of `group` neighbours."""
    columns = x.shape[-1]
    if group == 0 or group >= columns:
        return x.abs().amax(-1, keepdim=True) / STEPS
    peaks = pad(x, (0, -columns % group)).unflatten(-1, (-1, group)).abs().amax(-1)
    return (peaks / STEPS).repeat_interleave(group, -1)[..., :columns]


def _flip_ties(x: Tensor, group: int, random: torch.Generator) -> Tensor:
    """Numbers between two codes go up or down by chance."""
    step = _steps(x, group)
    codes = torch.where(step > 0, x / step, 0)
    between = (codes - codes.floor() - 0.5).abs() < _TIE
    drawn = torch.rand(x.shape, generator=random) < _FEWEST_TIES / x.numel()
    signs = torch.where(torch.rand(x.shape, generator=random) < 0.5, -1.0, 1.0)
    # One tie moves by 0.01 of a step to either side; one drawn without being a tie, by a whole step to the next code.
    return x + step * signs * torch.where(drawn, 1.0, torch.where(between, 10 * _TIE, 0.0))


def _signed(x: Tensor, random: torch.Generator) -> Tensor:
    """Uniform in [-1, 1), in the shape of `x`."""
    return torch.rand(x.shape, generator=random) * 2 - 1


class _RoundedCache(TorchDispatchMode):
    """Keys and values reach attention with errors of 8 bits, each token's heads over their own range."""

    def __init__(self, random: torch.Generator) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._random = random

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.nexus.cached_attention.default:
            query, key, value, past_key, past_value, mask, heads, kv_heads, window = args
            key, value = (self._moved(x.unflatten(-1, (kv_heads, -1))).flatten(-2) for x in (key, value))
            past_key, past_value = self._moved(past_key), self._moved(past_value)
            args = (query, key, value, past_key, past_value, mask, heads, kv_heads, window)
        return func(*args, **(kwargs or {}))

    def _moved(self, x: Tensor) -> Tensor:
        if not x.numel():
            return x
        span = x.amax(-1, keepdim=True) - x.amin(-1, keepdim=True)
        return _in_steps(x, span / _CACHE_STEPS, self._random)
