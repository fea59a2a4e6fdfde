"""Operations for which coremltools infers no values, against torch; and every default against what Apple documents."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from nexus_edge.engines.coreml.mil.registry import operators

# float32 on both sides, with sums of up to a hundred terms in another order.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def ours(kind: str, **arguments: object) -> np.ndarray:
    def given(value: object) -> object:
        many = isinstance(value, tuple)
        return value if many or isinstance(value, str) else np.asarray(value)

    result = operators()[kind].function(**{name: given(value) for name, value in arguments.items()})
    assert isinstance(result, np.ndarray)
    return result


def same(got: np.ndarray, expected: torch.Tensor) -> None:
    assert got.shape == tuple(expected.shape)
    np.testing.assert_allclose(got, expected.numpy(), **CLOSE)


def test_silu() -> None:
    x = torch.randn(3, 4)
    same(ours("silu", x=x), functional.silu(x))


def test_layer_norm_without_axes_is_over_all_of_them() -> None:
    x = torch.randn(3, 5)
    same(ours("layer_norm", x=x), functional.layer_norm(x, (3, 5), eps=1e-5))


def test_layer_norm_over_axes_that_are_not_the_last() -> None:
    x, gamma, beta = torch.randn(2, 5, 3, 4), torch.randn(5), torch.randn(5)
    expected = functional.layer_norm(x.movedim(1, -1), (5,), gamma, beta, 1e-3).movedim(-1, 1)
    same(ours("layer_norm", x=x, axes=[1], gamma=gamma, beta=beta, epsilon=np.float32(1e-3)), expected)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 3])
def test_conv(rank: int, groups: int) -> None:
    kernel = [3, 2, 1][:rank]
    strides, dilations, padding = [2, 1, 1][:rank], [1, 2, 1][:rank], [2, 0, 1][:rank]
    x, weight, bias = torch.randn(2, 6, *(8, 7, 4)[:rank]), torch.randn(9, 6 // groups, *kernel), torch.randn(9)
    convolve = (functional.conv1d, functional.conv2d, functional.conv3d)[rank - 1]
    expected = convolve(x, weight, bias, strides, padding, dilations, groups)
    pad = np.repeat(padding, 2)
    got = ours(
        "conv",
        x=x,
        weight=weight,
        bias=bias,
        strides=strides,
        dilations=dilations,
        groups=groups,
        pad_type="custom",
        pad=pad,
    )
    same(got, expected)


def test_conv_pads_before_and_after_by_different_amounts() -> None:
    x, weight = torch.randn(1, 2, 5, 5), torch.randn(3, 2, 3, 3)
    expected = functional.conv2d(functional.pad(x, (3, 4, 1, 2)), weight)
    same(ours("conv", x=x, weight=weight, pad_type="custom", pad=[1, 2, 3, 4]), expected)


def test_patches_of_an_image() -> None:
    x, weight = torch.randn(2, 3, 28, 28), torch.randn(8, 3, 14, 14) / 24  # so that the sums are about 1
    same(ours("conv", x=x, weight=weight, strides=[14, 14]), functional.conv2d(x, weight, stride=14))


def test_conv_refuses_a_padding_that_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="'same'"):
        ours("conv", x=torch.randn(1, 1, 3), weight=torch.randn(1, 1, 3), pad_type="same")


@pytest.mark.parametrize("equation", ["nchw,nwhu->nchu", "a b c d, a d c e -> a b c e", "chw,whr->chr"])
def test_einsum(equation: str) -> None:
    x, y = ((3, 4, 5), (5, 4, 6)) if equation == "chw,whr->chr" else ((2, 3, 4, 5), (2, 5, 4, 6))
    values = torch.randn(x), torch.randn(y)
    expected = torch.einsum(equation, *values)
    same(ours("einsum", values=tuple(value.numpy() for value in values), equation=equation), expected)


@pytest.mark.parametrize("equation", ["nchw,nwhu->nchw", "ab,bc->ac", "nchw,nhwu->nchu", "chw,whr->chr"])
def test_einsum_refuses_what_core_ml_does_not_have(equation: str) -> None:
    with pytest.raises(ValueError, match="equation"):
        ours("einsum", values=(np.ones((2, 3, 4, 3)), np.ones((2, 3, 4, 3))), equation=equation)


@pytest.mark.parametrize("axis", [0, -1])
def test_cumsum(axis: int) -> None:
    x = torch.randn(3, 4)
    total = x.cumsum(axis)
    same(ours("cumsum", x=x, axis=axis), total)
    same(ours("cumsum", x=x, axis=axis, exclusive=True), total - x)
    backwards = x.flip(axis).cumsum(axis).flip(axis)
    same(ours("cumsum", x=x, axis=axis, reverse=True), backwards)
    same(ours("cumsum", x=x, axis=axis, exclusive=True, reverse=True), backwards - x)


def test_concat_interleaved_is_the_documented_example() -> None:
    values = (np.array([[1, 2], [3, 4], [5, 6]]), np.array([[7, 8], [9, 10], [11, 12]]))
    got = ours("concat", values=values, axis=0, interleave=True)
    assert got.tolist() == [[1, 2], [7, 8], [3, 4], [9, 10], [5, 6], [11, 12]]


def test_scatter() -> None:
    data, updates, indices = torch.randn(3, 5), torch.randn(3, 4), torch.tensor([4, 0, 0, 1])
    arguments = {"data": data, "indices": indices, "updates": updates, "axis": 1}
    same(ours("scatter", **arguments, mode="add"), data.index_add(1, indices, updates))
    same(ours("scatter", **arguments, mode="sub"), data.index_add(1, indices, updates, alpha=-1))
    same(ours("scatter", **arguments, mode="mul"), data.index_reduce(1, indices, updates, "prod"))
    same(ours("scatter", **arguments, mode="max"), data.index_reduce(1, indices, updates, "amax"))
    same(ours("scatter", **arguments, mode="min"), data.index_reduce(1, indices, updates, "amin"))
    single = torch.tensor([4, 0, 2, 1])
    same(ours("scatter", **arguments | {"indices": single}), data.index_copy(1, single, updates))


def test_scatter_along_axis() -> None:
    data, updates, indices = torch.randn(4, 5), torch.randn(2, 5), torch.randint(0, 4, (2, 5))
    same(ours("scatter_along_axis", data=data, indices=indices, updates=updates), data.scatter_add(0, indices, updates))
    wide, places = torch.randn(4, 2), torch.randint(0, 5, (4, 2))
    got = ours("scatter_along_axis", data=data, indices=places, updates=wide, axis=-1)
    same(got, data.scatter_add(1, places, wide))


def test_scatter_and_gather_of_rows() -> None:
    data, updates = torch.randn(4, 5, 6), torch.randn(3, 6)
    rows, columns = torch.tensor([0, 3, 0]), torch.tensor([1, 4, 1])
    indices = torch.stack([rows, columns], -1)
    added = data.index_put((rows, columns), updates, accumulate=True)
    same(ours("scatter_nd", data=data, indices=indices, updates=updates), added)
    same(ours("gather_nd", x=data, indices=indices), data[rows, columns])


def test_an_update_is_not_broadcast() -> None:
    with pytest.raises(ValueError, match=r"\[6\] where \[3, 6\]"):
        ours("scatter_nd", data=torch.randn(4, 6), indices=[[0], [1], [2]], updates=torch.randn(6))
    with pytest.raises(ValueError, match=r"slice is \[2, 3\], the update \[1, 3\]"):
        ours("slice_update", x=torch.randn(4, 3), update=torch.randn(1, 3), begin=[0, 0], end=[2, 3])


@pytest.mark.parametrize("index", [4, -5])
def test_an_index_outside_is_an_error(index: int) -> None:
    with pytest.raises(ValueError, match=f"index {index}"):
        ours("gather", x=torch.randn(4, 3), indices=[0, index])


def test_a_negative_index_counts_from_the_end_until_ios_16_only() -> None:
    x = torch.randn(4, 3)
    same(ours("gather", x=x, indices=[-1]), x[-1:])
    with pytest.raises(ValueError, match="index -1"):
        ours("gather", x=x, indices=[-1], validate_indices=False)


def test_integers_are_divided_without_a_remainder_only() -> None:
    assert ours("real_div", x=np.array([6, -4]), y=np.array(2)).tolist() == [3, -2]
    with pytest.raises(ValueError, match="remainder"):
        ours("real_div", x=np.array([6, 5]), y=np.array(2))


@pytest.mark.parametrize("value", [40000.0, -40000.0, np.nan, np.inf])
def test_a_cast_that_cannot_hold_the_value_is_an_error(value: float) -> None:
    with pytest.raises(ValueError, match="int16"):
        ours("cast", x=np.array([value], np.float32), dtype="int16")


def test_a_truth_mask_hides_what_is_false() -> None:
    query, key, value = torch.randn(1, 2, 3, 4), torch.randn(1, 2, 5, 4), torch.randn(1, 2, 5, 4)
    mask = torch.ones(3, 5).tril(2).bool()
    got = ours("scaled_dot_product_attention", query=query, key=key, value=value, attn_mask=mask)
    same(got, functional.scaled_dot_product_attention(query, key, value, mask))


def test_attention_does_not_repeat_heads_by_itself() -> None:
    with pytest.raises(ValueError, match="key"):
        ours(
            "scaled_dot_product_attention",
            query=np.ones((1, 4, 3, 8)),
            key=np.ones((1, 2, 3, 8)),
            value=np.ones((1, 2, 3, 8)),
        )
