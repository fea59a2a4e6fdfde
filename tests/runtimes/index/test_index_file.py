"""The file of an index: what was written comes back, and whatever is damaged is an error of one line."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nexus_edge.errors import InputError
from nexus_edge.runtimes.dual_encoder.index.file import (
    FACTS,
    FORMAT,
    decode_paths,
    encode_paths,
    read_index,
    write_index,
)

ARRAYS = {
    "embeddings": np.arange(12, dtype=np.float32).reshape(3, 4),
    "sizes": np.array([1, 2, 3]),
    "times": np.array([10**18, -5, 0]),
    "paths": encode_paths(["a.png", "b\u00df", "\U0001f9a0/\udcff"]),
}
SAID = {name: f"the {name}" for name in FACTS}


def written(path: Path, arrays: Mapping[str, np.ndarray] = ARRAYS) -> Path:
    path.unlink(missing_ok=True)
    write_index(path, arrays, SAID)
    return path


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    arrays, facts = read_index(written(tmp_path / "i"))
    assert facts == SAID
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype and np.array_equal(arrays[name], array)
    assert decode_paths(arrays["paths"]) == ("a.png", "b\u00df", "\U0001f9a0/\udcff")


def test_an_empty_index_comes_back(tmp_path: Path) -> None:
    empty = {"embeddings": np.zeros((0, 4), np.float16), "sizes": np.zeros(0, np.int64), "paths": encode_paths([])}
    arrays, _ = read_index(written(tmp_path / "i", {**empty, "times": np.zeros(0, np.int64)}))
    assert arrays["embeddings"].shape == (0, 4) and decode_paths(arrays["paths"]) == ()


@given(paths=st.lists(st.text(st.characters(exclude_characters="\0"))))
def test_any_path_comes_back(paths: list[str]) -> None:
    assert decode_paths(encode_paths(paths)) == tuple(paths)


@pytest.mark.parametrize("data", [b"a.png", b"a.png\0b", b"\xff\0"])
def test_paths_that_are_none_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode_paths(np.frombuffer(data, np.uint8))


@pytest.mark.parametrize(
    ("arrays", "metadata", "message"),
    [
        ({}, {"format": "pt"}, "format is 'pt', this nexus-edge reads"),
        ({}, {"format": None}, "format is None"),
        ({}, {"crc32": None}, "lacks what an index has"),
        ({}, {"model": None}, "lacks what an index has"),
        ({}, {"crc32": "0"}, "its checksum is not that of its data"),
        ({"more": np.zeros(1)}, {}, "lacks what an index has"),
        ({"sizes": np.zeros(3, np.int32)}, {}, r"sizes is int32 \[3\]"),
        ({"embeddings": np.zeros(12, np.float32)}, {}, r"embeddings is float32 \[12\]"),
        ({"embeddings": np.zeros((3, 4))}, {}, r"embeddings is float64 \[3, 4\]"),
        ({"paths": np.zeros(4, np.int8)}, {}, r"paths is int8 \[4\]"),
    ],
)
def test_another_file_than_expected_is_named(
    arrays: dict[str, np.ndarray], metadata: dict[str, str | None], message: str, tmp_path: Path
) -> None:
    """Written by the reference library."""
    said = {"format": FORMAT, "crc32": "0", **SAID, **metadata}
    kept = {name: value for name, value in said.items() if value is not None}
    safetensors.numpy.save_file({**ARRAYS, **arrays}, tmp_path / "i", kept)
    with pytest.raises(InputError, match=message) as raised:
        read_index(tmp_path / "i")
    assert str(tmp_path / "i") in str(raised.value)
    assert "make it again with nexus-edge embed" in str(raised.value)


def test_an_index_of_an_earlier_version_says_how_to_make_it_again(tmp_path: Path) -> None:
    np.savez(tmp_path / "i.npz", embeddings=ARRAYS["embeddings"], format_version=np.int64(1))
    with pytest.raises(InputError, match=r"of an earlier version \(\.npz\).*make it again with nexus-edge embed"):
        read_index(tmp_path / "i.npz")


def test_every_truncation_is_found(tmp_path: Path) -> None:
    content = written(tmp_path / "i").read_bytes()
    for length in range(len(content)):
        (tmp_path / "cut").write_bytes(content[:length])
        with pytest.raises(InputError, match=re.escape(str(tmp_path / "cut"))):
            read_index(tmp_path / "cut")


def test_every_flipped_bit_of_the_data_is_found(tmp_path: Path) -> None:
    content = written(tmp_path / "i").read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    assert len(content) - start == sum(array.nbytes for array in ARRAYS.values())
    for place in range(start, len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        (tmp_path / "flipped").write_bytes(changed)
        with pytest.raises(InputError, match="its checksum is not that of its data"):
            read_index(tmp_path / "flipped")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=6))
def test_whatever_is_changed_the_answer_is_the_arrays_or_an_input_error(
    changes: list[tuple[int, int]], tmp_path: Path
) -> None:
    content = bytearray(written(tmp_path / "a").read_bytes())
    for place, value in changes:
        content[place % len(content)] = value
    (tmp_path / "b").write_bytes(content)
    try:
        arrays, _ = read_index(tmp_path / "b")
    except InputError as error:
        assert "\n" not in str(error)
        return
    assert arrays.keys() == ARRAYS.keys()


def test_a_header_that_claims_more_than_there_is_costs_nothing(tmp_path: Path) -> None:
    table = {"embeddings": {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 2**62]}}
    head = json.dumps(table).encode()
    (tmp_path / "i").write_bytes(len(head).to_bytes(8, "little") + head + bytes(64))
    with pytest.raises(InputError, match="make it again with nexus-edge embed"):
        read_index(tmp_path / "i")


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    for content in (b"", b"a letter"):
        (tmp_path / "i").write_bytes(content)
        with pytest.raises(InputError, match="it is damaged or not an index"):
            read_index(tmp_path / "i")
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read_index(path)
