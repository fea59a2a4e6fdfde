"""Each operation against what coremltools' own value inference makes of the same arguments.

Those for which it infers nothing, or ignores an argument, are in test_mil_against_torch.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nexus_edge.engines.coreml.mil.registry import operators

Arguments = dict[str, Any]
Make = Callable[[np.random.Generator], Arguments]

# float32 on both sides, with sums of at most a few dozen terms in another order.
CLOSE = {"rtol": 2e-6, "atol": 2e-6}


def sizes(rng: np.random.Generator, low: int = 1, high: int = 4) -> list[int]:
    return [int(size) for size in rng.integers(1, 6, rng.integers(low, high + 1))]


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def one(rng: np.random.Generator) -> Arguments:
    return {"x": normal(rng, *sizes(rng))}


def positive(rng: np.random.Generator) -> Arguments:
    return {"x": np.abs(normal(rng, *sizes(rng))) + np.float32(0.1)}


def whole(rng: np.random.Generator) -> Arguments:
    return {"x": (normal(rng, *sizes(rng)) * 2).round() / 2}


def pair(rng: np.random.Generator) -> Arguments:
    """Shapes that broadcast, with some equal elements."""
    shape = sizes(rng)
    other = [1 if rng.random() < 0.3 else size for size in shape[rng.integers(len(shape)) :]]
    return {"x": normal(rng, *shape).round(1), "y": normal(rng, *other).round(1)}


def positive_pair(rng: np.random.Generator) -> Arguments:
    return {name: np.abs(value) + np.float32(0.1) for name, value in pair(rng).items()}


def integer_pair(rng: np.random.Generator) -> Arguments:
    return {name: (value * 10).astype(np.int32) * 2 + 1 for name, value in pair(rng).items()}


def truth_pair(rng: np.random.Generator) -> Arguments:
    return {name: value > 0 for name, value in pair(rng).items()}


def reduced(rng: np.random.Generator) -> Arguments:
    x = normal(rng, *sizes(rng))
    axes = rng.permutation(x.ndim)[: rng.integers(1, x.ndim + 1)] - (x.ndim if rng.random() < 0.5 else 0)
    return {"x": x, "axes": axes.astype(np.int32), "keep_dims": bool(rng.random() < 0.5)}


def reduced_positive(rng: np.random.Generator) -> Arguments:
    arguments = reduced(rng)
    return arguments | {"x": np.abs(arguments["x"]) + np.float32(0.1)}


def extreme(rng: np.random.Generator) -> Arguments:
    x = normal(rng, *sizes(rng, 2)).round(1)
    return {"x": x, "axis": int(rng.integers(-x.ndim, x.ndim)), "keep_dims": bool(rng.random() < 0.5)}


def along(rng: np.random.Generator) -> Arguments:
    x = normal(rng, *sizes(rng))
    return {"x": x, "axis": int(rng.integers(-x.ndim, x.ndim))}


def normalised(rng: np.random.Generator) -> Arguments:
    x = normal(rng, *sizes(rng, 2), 7)
    count = int(rng.integers(1, 3))
    shape = x.shape[-count:]
    return {
        "x": x,
        "axes": np.arange(-count, 0, dtype=np.int32),
        "gamma": normal(rng, *shape),
        "beta": normal(rng, *shape),
        "epsilon": np.float32(1e-3),
    }


def linear(rng: np.random.Generator) -> Arguments:
    return {"x": normal(rng, *sizes(rng, 1, 2), 6), "weight": normal(rng, 5, 6), "bias": normal(rng, 5)}


def product(rng: np.random.Generator) -> Arguments:
    turned, turned_too = bool(rng.random() < 0.5), bool(rng.random() < 0.5)
    x, y = normal(rng, 2, 1, 4, 5), normal(rng, 3, 5, 6)
    return {
        "x": np.ascontiguousarray(x.swapaxes(-1, -2)) if turned else x,
        "y": np.ascontiguousarray(y.swapaxes(-1, -2)) if turned_too else y,
        "transpose_x": turned,
        "transpose_y": turned_too,
    }


def sliced(rng: np.random.Generator) -> Arguments:
    x = normal(rng, 5, 4, 6)
    begin, end = rng.integers(-3, 3, 3), rng.integers(3, 8, 3)
    return {
        "x": x,
        "begin": begin.astype(np.int32),
        "end": end.astype(np.int32),
        "stride": rng.integers(1, 3, 3).astype(np.int32),
        "begin_mask": rng.random(3) < 0.3,
        "end_mask": rng.random(3) < 0.3,
        "squeeze_mask": np.array([rng.random() < 0.3, False, False]),
    }


def updated(rng: np.random.Generator) -> Arguments:
    first = int(rng.integers(0, 4))
    begin, end = np.array([0, first, 0], np.int32), np.array([2, first + 2, 3], np.int32)
    return {"x": normal(rng, 2, 6, 3), "update": normal(rng, 2, 2, 3), "begin": begin, "end": end}


def sized(rng: np.random.Generator) -> Arguments:
    begin = rng.integers(0, 3, 2).astype(np.int32)
    return {"x": normal(rng, 5, 6), "begin": begin, "size": np.array([2, -1], np.int32)}


def gathered(rng: np.random.Generator) -> Arguments:
    x = normal(rng, 3, 4, 5)
    axis = int(rng.integers(0, 3))
    indices = rng.integers(0, x.shape[axis], sizes(rng, 1, 2)).astype(np.int32)
    return {"x": x, "indices": indices, "axis": axis, "validate_indices": False}


def gathered_in_batches(rng: np.random.Generator) -> Arguments:
    indices = rng.integers(0, 4, (3, 2)).astype(np.int32)
    return {"x": normal(rng, 3, 4, 5), "indices": indices, "axis": 1, "batch_dims": 1, "validate_indices": False}


def gathered_along(rng: np.random.Generator) -> Arguments:
    indices = rng.integers(0, 4, (3, 6, 5)).astype(np.int32)
    return {"x": normal(rng, 3, 4, 5), "indices": indices, "axis": 1, "validate_indices": False}


def reshaped(rng: np.random.Generator) -> Arguments:
    shape = [[-1, 4], [0, 12], [12, 2], [2, 0, -1], [1, 0, -1, 0]][rng.integers(5)]
    return {"x": normal(rng, 2, 3, 4), "shape": np.array(shape, np.int32)}


def transposed(rng: np.random.Generator) -> Arguments:
    x = normal(rng, *sizes(rng))
    return {"x": x, "perm": rng.permutation(x.ndim).astype(np.int32)}


def concatenated(rng: np.random.Generator) -> Arguments:
    values = tuple(normal(rng, 2, int(rng.integers(1, 4)), 3) for _ in range(3))
    return {"values": values, "axis": int(rng.choice([1, -2]))}


def scalars(rng: np.random.Generator) -> Arguments:
    return {"values": tuple(np.int32(value) for value in rng.integers(0, 9, 3)), "axis": 0}


def padded(rng: np.random.Generator) -> Arguments:
    return {"x": normal(rng, 4, 5, 6), "pad": rng.integers(0, 3, 4).astype(np.int32), "mode": "reflect"}


def attended(rng: np.random.Generator) -> Arguments:
    mask = normal(rng, 1, 5, 7) if rng.random() < 0.5 else rng.random((2, 1, 5, 7)) < 0.7
    if mask.dtype == bool:
        mask[..., 0] = True  # a row in which nothing is seen has no softmax
    shapes = (2, 3, 5, 8), (2, 3, 7, 8), (2, 3, 7, 4)
    query, key, value = (normal(rng, *shape) for shape in shapes)
    return {"query": query, "key": key, "value": value, "attn_mask": mask}


def modes(rng: np.random.Generator) -> Arguments:
    return one(rng) | {"mode": str(rng.choice(["EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION"]))}


def casted(rng: np.random.Generator) -> Arguments:
    return {"x": normal(rng, 3, 4) * 3, "dtype": str(rng.choice(["int32", "bool", "fp16"]))}


def split_evenly(rng: np.random.Generator) -> Arguments:
    return {"x": normal(rng, 2, 6), "num_splits": 3, "axis": -1}


def split_by_sizes(rng: np.random.Generator) -> Arguments:
    return {"x": normal(rng, 2, 6), "split_sizes": np.array([1, 5], np.int32), "axis": 1}


def counted(rng: np.random.Generator) -> Arguments:
    if rng.random() < 0.5:
        return {"start": np.int32(2), "end": np.int32(11), "step": np.int32(3)}
    return {"start": np.float32(0.5), "end": np.float32(2.1), "step": np.float32(0.5)}


def chosen(rng: np.random.Generator) -> Arguments:
    return {"cond": normal(rng, 3, 4) > 0, "a": normal(rng, 3, 4), "b": normal(rng, 3, 4)}


CASES: list[tuple[str, Make]] = [
    ("abs ceil cos erf exp exp2 floor sign sin square tanh relu sigmoid identity shape", one),
    ("sqrt log rsqrt inverse", positive),
    ("round", whole),
    ("gelu", modes),
    ("clip", lambda rng: one(rng) | {"alpha": np.float32(-0.5), "beta": np.float32(0.25)}),
    ("cast", casted),
    ("add sub mul maximum minimum equal not_equal greater greater_equal less less_equal", pair),
    ("add sub mul maximum minimum equal not_equal greater greater_equal less less_equal floor_div mod", integer_pair),
    ("floor_div mod pow real_div", positive_pair),
    ("logical_and logical_or logical_xor", truth_pair),
    ("logical_not", lambda rng: {"x": normal(rng, 3) > 0}),
    ("select", chosen),
    ("reduce_sum reduce_mean reduce_max reduce_min reduce_prod reduce_l1_norm reduce_l2_norm", reduced),
    ("reduce_sum_square reduce_log_sum_exp", reduced),
    ("reduce_log_sum", reduced_positive),
    ("reduce_argmax reduce_argmin", extreme),
    ("softmax", along),
    ("layer_norm", normalised),
    ("l2_norm", lambda rng: {"x": normal(rng, 2, 3, 4, 5)}),
    ("linear", linear),
    ("matmul", product),
    ("slice_by_index", sliced),
    ("slice_by_size", sized),
    ("slice_update", updated),
    ("gather", gathered),
    ("gather", gathered_in_batches),
    ("gather_along_axis", gathered_along),
    ("reshape", reshaped),
    ("transpose", transposed),
    ("expand_dims", lambda rng: {"x": normal(rng, 2, 3), "axes": np.array([0, -1], np.int32)}),
    ("squeeze", lambda rng: {"x": normal(rng, 2, 1, 3, 1), "axes": np.array([-1], np.int32)}),
    ("concat", concatenated),
    ("concat", scalars),
    ("stack", lambda rng: {"values": (normal(rng, 2, 3), normal(rng, 2, 3)), "axis": int(rng.integers(-2, 3))}),
    ("split", split_evenly),
    ("split", split_by_sizes),
    ("tile", lambda rng: {"x": normal(rng, 2, 3), "reps": np.array([2, 3], np.int32)}),
    ("fill", lambda rng: {"shape": np.array([2, 3], np.int32), "value": np.float32(1.5)}),
    ("fill_like", lambda rng: {"ref_tensor": normal(rng, 2, 3), "value": np.float32(1.5)}),
    ("range_1d", counted),
    ("pad", padded),
    ("pad", lambda rng: padded(rng) | {"mode": "constant", "constant_val": np.float32(2)}),
    ("scaled_dot_product_attention", attended),
]
EACH = [(kind, make) for kinds, make in CASES for kind in kinds.split()]


def of_apple(ct: Any, mb: Any, kind: str, arguments: Arguments) -> list[np.ndarray]:
    """What the builder infers for an operation of iOS 18 on constants."""
    found: list[Any] = []

    @mb.program(input_specs=[mb.TensorSpec((1,))], opset_version=ct.target.iOS18)
    def program(unused: Any) -> Any:
        result = getattr(mb, kind)(**arguments)
        found.extend(result if isinstance(result, tuple | list) else [result])
        return unused

    assert all(item.val is not None for item in found), f"nothing is inferred for {kind}"
    return [np.asarray(item.val) for item in found]


def of_ours(kind: str, arguments: Arguments) -> list[np.ndarray]:
    def given(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(np.asarray(item) for item in value)
        return value if isinstance(value, str) else np.asarray(value)

    result = operators()[kind].function(**{name: given(value) for name, value in arguments.items()})
    return [np.asarray(item) for item in (result if isinstance(result, tuple) else (result,))]


@pytest.mark.parametrize(("kind", "make"), EACH, ids=[f"{kind}-{make.__name__}" for kind, make in EACH])
def test_same_values(ct: Any, mb: Any, kind: str, make: Make) -> None:
    for seed in range(8):
        arguments = make(np.random.default_rng(seed))
        expected, got = of_apple(ct, mb, kind, arguments), of_ours(kind, arguments)
        assert len(got) == len(expected) >= 1
        for ours, apples in zip(got, expected, strict=True):
            assert ours.shape == apples.shape, (arguments, apples.shape)
            assert ours.dtype.kind == apples.dtype.kind
            # A cast to fp16 stays float32 here: it is the evaluator that rounds.
            tolerance = {"rtol": 1e-3, "atol": 1e-3} if apples.dtype == np.float16 else CLOSE
            np.testing.assert_allclose(ours, apples, **tolerance, err_msg=str(arguments))
