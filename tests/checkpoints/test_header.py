"""Hostile safetensors files: each is refused with one line that names the file, and the tensor at fault."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nexus_edge.checkpoints import SafetensorsFile
from nexus_edge.errors import CheckpointError


def raw(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(shape: object = (4,), offsets: object = (0, 16), dtype: object = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


HOSTILE = {
    "empty file": (b"", "only 0 bytes"),
    "shorter than the length field": (b"\x08\x00\x00", "only 3 bytes"),
    "header longer than the file": (raw({}, length=1 << 20), "truncated"),
    "header length near 2**64": (raw({}, length=2**64 - 1), "truncated"),
    "not JSON": (raw(b"{'a': 1}"), "not valid JSON"),
    "not UTF-8": (raw(b'{"\xff": 1}'), "not valid JSON"),
    "not an object": (raw([1, 2]), "JSON list"),
    "deeply nested": (raw(b"[" * 100_000), "not valid JSON"),
    "number with too many digits": (raw(b'{"a": ' + b"9" * 10_000 + b"}"), "not valid JSON"),
    "duplicate names": (raw(b'{"w": 1, "w": 2}'), "'w' appears twice"),
    "metadata of numbers": (raw({"__metadata__": {"a": 1}}), "__metadata__"),
    "entry is no object": (raw({"w": 3}), "'w'"),
    "entry lacks a field": (raw({"w": {"dtype": "F32", "shape": [4]}}), "'w'"),
    "entry has another field": (raw({"w": {**entry(), "x": 1}}, bytes(16)), "'w'"),
    "unknown dtype": (raw({"w": entry(dtype="F12")}, bytes(16)), "'w': unknown dtype 'F12'"),
    "dtype is no string": (raw({"w": entry(dtype=["F32"])}, bytes(16)), "'w': unknown dtype"),
    "negative dimension": (raw({"w": entry((-4,))}, bytes(16)), "'w': shape"),
    "boolean dimension": (raw({"w": entry((True, 4))}, bytes(16)), "'w': shape"),
    "fractional dimension": (raw({"w": entry((4.0,))}, bytes(16)), "'w': shape"),
    "huge dimension": (raw({"w": entry((2**70,))}, bytes(16)), "'w': shape"),
    "huge empty shape": (raw({"w": entry((0, 2**40, 2**40), (0, 0))}), "'w': shape"),
    "product of dimensions overflows": (raw({"w": entry((2**32, 2**32, 2**32))}, bytes(16)), "'w'"),
    "too many dimensions": (raw({"w": entry((1,) * 65, (0, 4))}, bytes(4)), "'w': shape"),
    "shape is no list": (raw({"w": entry("4")}, bytes(16)), "'w': shape"),
    "offsets are no pair": (raw({"w": entry(offsets=(0, 8, 16))}, bytes(16)), "'w': data_offsets"),
    "negative offset": (raw({"w": entry(offsets=(-16, 0))}, bytes(16)), "'w': data_offsets"),
    "end before begin": (raw({"w": entry(offsets=(16, 0))}, bytes(16)), "'w'"),
    "size is not dtype x shape": (raw({"w": entry((5,))}, bytes(16)), "'w': 16 bytes of data, but F32 .5. takes 20"),
    "out of range": (raw({"w": entry()}, bytes(12)), "'w' ends at byte 16"),
    "overlap": (raw({"a": entry(), "w": entry(offsets=(8, 24))}, bytes(24)), "'w' overlaps 'a'"),
    "hole": (raw({"a": entry(), "w": entry(offsets=(20, 36))}, bytes(36)), "4 unused bytes before tensor 'w'"),
    "hole at the start": (raw({"w": entry(offsets=(8, 24))}, bytes(24)), "8 unused bytes before tensor 'w'"),
    "bytes after the end": (raw({"w": entry()}, bytes(20)), "4 unused bytes after"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_file_is_refused_by_name(case: str, tmp_path: Path) -> None:
    content, message = HOSTILE[case]
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        SafetensorsFile(path)
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).endswith("; download it again")
    assert "\n" not in str(caught.value)


def test_header_above_the_formats_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.safetensors"
    with path.open("wb") as file:  # sparse: takes no space on disk
        file.write(struct.pack("<Q", 100_000_001))
        file.truncate(200_000_000)
    with pytest.raises(CheckpointError, match="the format allows 100000000"):
        SafetensorsFile(path)


def test_missing_file_and_folder_are_checkpoint_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.safetensors", tmp_path):
        with pytest.raises(CheckpointError, match="cannot be read"):
            SafetensorsFile(path)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 400), value=st.integers(0, 255), cut=st.integers(0, 420))
def test_any_damage_gives_a_checkpoint_error_or_a_readable_file(
    position: int, value: int, cut: int, tmp_path: Path
) -> None:
    header = {"a": entry((2, 2)), "b": entry((3,), (16, 22), "BF16"), "c": entry((), (22, 23), "BOOL")}
    content = bytearray(raw(header, bytes(range(23))))
    content[position % len(content)] = value
    path = tmp_path / "f.safetensors"
    path.write_bytes(content[: len(content) - max(0, cut - 300)])  # three out of four stay whole
    try:
        file = SafetensorsFile(path)
    except CheckpointError:
        return
    for key, info in file.infos.items():
        array = file.read(key)
        assert array.shape == info.shape
        np.asarray(array).tobytes()  # touches every byte: nothing lies outside the file
