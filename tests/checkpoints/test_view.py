"""A checkpoint through a model's names: modules that one holds together and the other apart."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from nexus_edge.checkpoints.base import Array, TensorInfo
from nexus_edge.checkpoints.tensors import take
from nexus_edge.checkpoints.view import view
from nexus_edge.errors import CheckpointError
from nexus_edge.interfaces.weights import Fused, WeightRules

RULES = WeightRules(
    prefixes={"model.decoder.": "decoder."},
    fuse=(Fused("qkv_proj", ("q_proj", "k_proj", "v_proj")),),
    tie={"head.weight": "decoder.embed.weight"},
)
LAYER = "decoder.layers.0.self_attn."
PARTS = {"q_proj": (4, 3), "k_proj": (2, 3), "v_proj": (2, 3)}


class Arrays:
    """A checkpoint of numbered entries; says what is read and not released."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], dtype: str = "float32") -> None:
        self.name, self.held = "arrays", list[str]()
        self._arrays, first = dict[str, Array](), 0
        for name, shape in shapes.items():
            count = int(np.prod(shape))
            self._arrays[name] = np.arange(first, first + count, dtype=dtype).reshape(shape)
            first += count

    def keys(self) -> Mapping[str, TensorInfo]:
        return {name: TensorInfo(array.dtype.name, array.shape) for name, array in self._arrays.items()}

    def read(self, key: str) -> Array:
        self.held.append(key)
        return self._arrays[key]

    def release(self, key: str) -> None:
        self.held.remove(key)


@pytest.mark.parametrize("prefix", ["", "model."], ids=["own names", "another layout"])
def test_parts_of_the_checkpoint_are_one_in_the_model(prefix: str) -> None:
    checkpoint = Arrays({f"{prefix}{LAYER}{part}.weight": shape for part, shape in PARTS.items()})
    source = view(checkpoint, {f"{LAYER}qkv_proj.weight": (8, 3)}, RULES)
    assert dict(source.infos) == {f"{LAYER}qkv_proj.weight": TensorInfo("float32", (8, 3))}
    assert torch.equal(take(source, f"{LAYER}qkv_proj.weight"), torch.arange(24.0).reshape(8, 3))
    assert checkpoint.held == []


def test_the_whole_of_the_checkpoint_is_apart_in_the_model() -> None:
    expected = {f"{LAYER}{part}.{leaf}": shape[:rank] for part, shape in PARTS.items() for leaf, rank in LEAVES.items()}
    checkpoint = Arrays({f"{LAYER}qkv_proj.weight": (8, 3), f"{LAYER}qkv_proj.bias": (8,)}, "float16")
    source = view(checkpoint, expected, RULES)
    assert {name: info.shape for name, info in source.infos.items()} == expected
    assert list(source.infos) == list(expected), "in the model's order"
    assert take(source, f"{LAYER}k_proj.weight").tolist() == [[12, 13, 14], [15, 16, 17]]
    assert take(source, f"{LAYER}v_proj.bias").tolist() == [30, 31]
    assert take(source, f"{LAYER}v_proj.bias").dtype == torch.float16
    assert checkpoint.held == []


LEAVES = {"weight": 2, "bias": 1}


def test_what_both_hold_alike_is_read_as_it_is() -> None:
    shapes = {f"{LAYER}{part}.weight": shape for part, shape in PARTS.items()}
    source = view(Arrays(shapes), shapes, RULES)
    assert take(source, f"{LAYER}k_proj.weight").tolist() == [[12, 13, 14], [15, 16, 17]]


def test_tied_weights_are_one_tensor_under_two_names() -> None:
    expected = {"decoder.embed.weight": (2, 2), "head.weight": (2, 2)}
    source = view(Arrays({"decoder.embed.weight": (2, 2)}), expected, RULES)
    assert torch.equal(take(source, "head.weight"), take(source, "decoder.embed.weight"))


@pytest.mark.parametrize(
    ("shapes", "problem"),
    [
        (
            {"q_proj": (4, 3), "k_proj": (2, 3), "v_proj": (1, 3)},
            r"qkv_proj.weight \[8, 3\] is to be made of .*\[1, 3\]",
        ),
        ({"q_proj": (4, 3), "k_proj": (2, 3)}, "1 missing: .*qkv_proj.weight; 2 unexpected"),
        ({"q_proj": (4, 3), "k_proj": (2, 4), "v_proj": (2, 3)}, "is to be made of"),
    ],
    ids=["too few rows", "a part is missing", "a part is wider"],
)
def test_parts_that_do_not_fit(shapes: dict[str, tuple[int, ...]], problem: str) -> None:
    checkpoint = Arrays({f"{LAYER}{part}.weight": shape for part, shape in shapes.items()})
    with pytest.raises(CheckpointError, match=problem):
        view(checkpoint, {f"{LAYER}qkv_proj.weight": (8, 3)}, RULES)


def test_a_whole_that_is_not_its_parts() -> None:
    expected = {f"{LAYER}{part}.weight": shape for part, shape in PARTS.items()}
    with pytest.raises(CheckpointError, match=r"qkv_proj.weight \[7, 3\] instead of \[8, 3\]"):
        view(Arrays({f"{LAYER}qkv_proj.weight": (7, 3)}), expected, RULES)
