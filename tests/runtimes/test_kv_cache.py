"""The cache grows ahead of its use, keeps what is used, takes memory for nothing else, and is written in place."""

import sys
from pathlib import Path

import numpy as np
import pytest

from nexus_edge.engines.onnx import kv_cache
from nexus_edge.engines.onnx.kv_cache import BLOCK, CacheSpec, KVCache
from nexus_edge.errors import BundleError

SPECS = [
    CacheSpec(f"past_key_values.0.{part}", f"present.0.{part}", 2, 8, np.dtype(np.float32)) for part in ("key", "value")
]


class Binding:
    """Records what is bound, as an onnxruntime.IOBinding would."""

    def __init__(self) -> None:
        self.inputs: dict[str, object] = {}
        self.outputs: dict[str, object] = {}
        self.calls = 0

    def bind_ortvalue_input(self, name: str, value: object) -> None:
        self.inputs[name] = value
        self.calls += 1

    def bind_ortvalue_output(self, name: str, value: object) -> None:
        self.outputs[name] = value


def bytes_for(tokens: int) -> int:
    return 2 * 2 * 8 * 4 * tokens


@pytest.mark.parametrize(("tokens", "capacity"), [(1, 256), (128, 256), (129, 512), (2509, 5120)])
def test_capacity_is_twice_of_what_is_needed_rounded_up_to_blocks(tokens: int, capacity: int) -> None:
    cache = KVCache(SPECS)
    cache.reserve(tokens, used=0)
    assert cache.capacity == capacity
    assert cache.num_bytes == bytes_for(capacity)


def test_nothing_is_allocated_before_it_is_needed() -> None:
    assert KVCache(SPECS).num_bytes == 0


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the resident memory")
def test_room_for_tokens_that_never_come_takes_no_memory() -> None:
    cache, binding, before = KVCache(SPECS), Binding(), resident_bytes()
    cache.reserve(1_000_000, used=0)
    cache.bind(binding)
    assert cache.num_bytes >= bytes_for(2_000_000) == 256_000_000
    assert resident_bytes() - before < 10_000_000


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_growing_keeps_what_is_used_and_never_shrinks() -> None:
    cache, binding = KVCache(SPECS), Binding()
    cache.reserve(10, used=0)
    cache.bind(binding)
    binding.inputs["past_key_values.0.value"].update_inplace(np.full((1, 2, BLOCK, 8), 3.5, np.float32))
    cache.reserve(BLOCK + 1, used=7)
    cache.bind(binding)
    grown = binding.inputs["past_key_values.0.value"].numpy()
    assert grown.shape == (1, 2, 3 * BLOCK, 8)
    assert (grown[:, :, :7] == 3.5).all()
    assert (grown[:, :, 7:] == 0).all()
    cache.reserve(3, used=3)
    assert cache.capacity == 3 * BLOCK


def test_past_and_present_are_the_same_value_and_bound_once_per_growth() -> None:
    cache, binding = KVCache(SPECS), Binding()
    cache.reserve(1, used=0)
    cache.bind(binding)
    cache.bind(binding)
    assert binding.calls == len(SPECS)
    for part in ("key", "value"):
        assert binding.inputs[f"past_key_values.0.{part}"] is binding.outputs[f"present.0.{part}"]
    cache.reserve(BLOCK + 1, used=1)
    cache.bind(binding)
    assert binding.calls == 2 * len(SPECS)


def test_growth_that_was_interrupted_is_finished_by_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    cache, binding = KVCache(SPECS), Binding()
    cache.reserve(1, used=0)
    cache.bind(binding)
    zeros, calls = kv_cache.mapped_zeros, []

    def interrupted(*args: object) -> np.ndarray:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return zeros(*args)

    monkeypatch.setattr(kv_cache, "mapped_zeros", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cache.reserve(BLOCK + 1, used=1)
    assert cache.capacity == BLOCK, "the smallest buffer counts"
    cache.bind(binding)
    assert binding.inputs["past_key_values.0.key"].shape() == [1, 2, 3 * BLOCK, 8], "the old buffer is gone"
    cache.reserve(BLOCK + 1, used=1)
    cache.bind(binding)
    assert all(value.shape() == [1, 2, 3 * BLOCK, 8] for value in binding.inputs.values())


class Node:
    def __init__(self, name: str, kind: str, shape: list[object]) -> None:
        self.name, self.type, self.shape = name, kind, shape


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (Node("inputs_embeds", "tensor(float)", ["b", "s", 8]), "it is not a decoder"),
        (Node("past_key_values.0.key", "tensor(double)", ["b", 2, "p", 8]), r"tensor\(double\)"),
        (Node("past_key_values.0.key", "tensor(float)", ["b", "heads", "p", 8]), "with fixed heads"),
    ],
)
def test_a_graph_that_has_no_usable_cache_is_refused(node: Node, message: str) -> None:
    with pytest.raises(BundleError, match=f"decoder.onnx: .*{message}"):
        CacheSpec.of_graph([node], "decoder.onnx")
