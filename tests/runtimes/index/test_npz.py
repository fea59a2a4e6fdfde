"""Reading .npz: what numpy writes comes back, and nothing hostile costs more than the file's own size."""

import io
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nexus_edge.errors import InputError
from nexus_edge.runtimes.dual_encoder.index.npz import read_npz

KINDS = {"rows": ("f", 2), "names": ("U", 1), "count": ("i", 0)}
ARRAYS = {
    "rows": np.arange(12, dtype=np.float32).reshape(3, 4),
    "names": np.array(["a", "b\u00df", "\U0001f9a0"]),
    "count": np.int64(3),
}


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asanyarray(array))
    return file.getvalue()


def header(shape: tuple[int, ...], descr: str = "<f4", order: bool = False) -> bytes:
    text = repr({"descr": descr, "fortran_order": order, "shape": shape}).encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def raw(text: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def write(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


GOOD = {name: npy(array) for name, array in ARRAYS.items()}


def test_what_numpy_writes_comes_back(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **ARRAYS)
    found = read_npz(tmp_path / "a.npz", KINDS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype and np.array_equal(found[name], array)


def test_an_empty_array_comes_back(tmp_path: Path) -> None:
    arrays = ARRAYS | {"rows": np.zeros((0, 4), np.float16), "names": np.zeros(0, "U1")}
    np.savez(tmp_path / "a.npz", **arrays)
    assert read_npz(tmp_path / "a.npz", KINDS)["rows"].shape == (0, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"more": npy(np.zeros(1))}, "is no index of this version"),
        ({"rows": header((3, 4)) + bytes(47)}, "rows does not fill its place"),
        ({"rows": header((3, 4)) + bytes(49)}, "rows does not fill its place"),
        ({"rows": header((2**40, 2**40)) + bytes(48)}, "rows does not fill its place"),
        ({"rows": header((2**32, 2**32)) + bytes(0)}, "rows does not fill its place"),  # 2^64 numbers are 0 in 64 bits
        ({"rows": header((12,)) + bytes(48)}, r"rows is float32 \[12\]"),
        ({"rows": header((3, 4), order=True) + bytes(48)}, r"rows is float32"),
        ({"rows": header((3, 4), "<i4") + bytes(48)}, r"rows is int32"),
        ({"rows": header((3, 2), "|O") + bytes(48)}, r"rows is object"),
        ({"rows": header((3, 4), "<f4, <f4") + bytes(96)}, r"rows is"),
        ({"rows": b"not an array"}, "rows is no array"),
        ({"rows": b"\x93NUMPY\x09\x00" + bytes(99)}, "rows is no array"),
        ({"rows": raw(b"{'descr': '<f4', 'shape': (3, 4)\n")}, "rows is no array"),  # tokenize.TokenError
        ({"rows": raw(b"{'a': 1}\n  0\n 1")}, "rows is no array"),  # IndentationError
        ({"rows": raw(b"(" * 9000)}, "rows is no array"),
        ({"rows": raw(b"-" * 9000 + b"1")}, "rows is no array"),
        ({"rows": header((-3, -4)) + bytes(48)}, r"rows is float32 \[-3, -4\]"),
        ({"rows": header((3, 4), ">f4") + bytes(48)}, r"rows is >f4"),
        ({"names": header((3,), "<U0")}, r"names is <U0 \[3\]"),
        ({"names": header((1,), "<U1") + b"\xff\xff\xff\x7f"}, "names holds what is no text"),
        ({"names": npy(np.array([{"a": 1}], object))}, "names is object"),
    ],
)
def test_another_array_than_expected_is_named(change: dict[str, bytes], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as raised:
        read_npz(write(tmp_path / "a.npz", GOOD | change), KINDS)
    assert str(tmp_path / "a.npz") in str(raised.value)


def test_a_missing_array_is_found(tmp_path: Path) -> None:
    members = {name: content for name, content in GOOD.items() if name != "count"}
    with pytest.raises(InputError, match="is no index of this version"):
        read_npz(write(tmp_path / "a.npz", members), KINDS)


def test_pickled_code_is_never_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (tmp_path.joinpath("ran").touch, ())

    members = GOOD | {"names": header((1,), "|O") + pickle.dumps([Trap()])}
    with pytest.raises(InputError):
        read_npz(write(tmp_path / "a.npz", members), KINDS)
    assert not (tmp_path / "ran").exists()


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    zeros = header((2**24, 4)) + bytes(2**28)
    bomb = write(tmp_path / "a.npz", GOOD | {"rows": zeros}, zipfile.ZIP_DEFLATED)
    del zeros
    assert bomb.stat().st_size < 2**20
    tracemalloc.start()
    with pytest.raises(InputError, match="claims more data than it has"):
        read_npz(bomb, KINDS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22  # the bomb would take 256 MB


def test_a_small_compressed_file_is_refused_too(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is compressed|claims more"):
        read_npz(write(tmp_path / "a.npz", GOOD, zipfile.ZIP_DEFLATED), KINDS)


def test_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    """Two entries of the directory that point to the same data: together they claim more than the file has."""
    big = npy(np.zeros((64, 64), np.float32))
    content = bytearray(write(tmp_path / "a.npz", {"rows": big, "names": big, "count": npy(np.int64(1))}).read_bytes())
    places = [place for place in range(len(content)) if content[place : place + 4] == b"PK\x01\x02"]
    first, second = places[:2]
    content[second + 42 : second + 46] = content[first + 42 : first + 46]  # the offset of its data
    del content[len(big) + 60 : 2 * len(big)]
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError):
        read_npz(tmp_path / "a.npz", KINDS)


def test_a_flipped_bit_of_the_data_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", GOOD)
    content = bytearray(path.read_bytes())
    place = content.index(np.float32(7).tobytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="is damaged"):
        read_npz(path, KINDS)


def test_every_truncation_is_found(tmp_path: Path) -> None:
    content = write(tmp_path / "a.npz", GOOD).read_bytes()
    for length in range(len(content)):
        (tmp_path / "cut.npz").write_bytes(content[:length])
        with pytest.raises(InputError, match=r"cut\.npz"):
            read_npz(tmp_path / "cut.npz", KINDS)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=6))
def test_whatever_is_changed_the_answer_is_the_arrays_or_an_input_error(
    changes: list[tuple[int, int]], tmp_path: Path
) -> None:
    content = bytearray(write(tmp_path / "a.npz", GOOD).read_bytes())
    for place, value in changes:
        content[place % len(content)] = value
    (tmp_path / "b.npz").write_bytes(content)
    try:
        found = read_npz(tmp_path / "b.npz", KINDS)
    except InputError:
        return
    assert {name: array.tolist() for name, array in found.items()}.keys() == KINDS.keys()


def test_what_is_no_zip_is_named(tmp_path: Path) -> None:
    for content in (b"", b"a letter", npy(np.zeros(3))):
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(InputError, match=r"a\.npz: is damaged or no index"):
            read_npz(tmp_path / "a.npz", KINDS)
    for path in (tmp_path / "absent.npz", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read_npz(path, KINDS)
