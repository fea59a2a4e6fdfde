"""The streaming writer, read back by the reference library."""

import errno
import os
import shutil
import threading
from collections import namedtuple
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_edge.checkpoints import SafetensorsFile, StreamingSafetensorsWriter, TensorInfo, write_tensors
from nexus_edge.errors import OutputError
from nexus_edge.storage.writer import ALIGNMENT, plan_layout

ITEM_BYTES = {"float32": 4, "bfloat16": 2, "uint8": 1, "int64": 8}


def test_the_reference_library_reads_what_was_written_in_pieces_and_any_order(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    matrix = np.random.default_rng(0).normal(size=(10, 7)).astype(ml_dtypes.bfloat16)
    scalar, empty = np.array(3, np.int64), np.zeros((0, 3), np.float32)
    infos = {
        "matrix": TensorInfo("bfloat16", (10, 7)),
        "scalar": TensorInfo("int64", ()),
        "empty": TensorInfo("float32", (0, 3)),
    }
    with StreamingSafetensorsWriter(path, infos) as writer:
        writer.write("matrix", matrix[6:], start=6)
        writer.write("scalar", scalar)
        writer.write("matrix", matrix[:6])
        writer.write("empty", empty)
    found = safetensors.numpy.load_file(path)
    assert found["matrix"].dtype == ml_dtypes.bfloat16
    assert np.array_equal(found["matrix"], matrix)
    assert found["scalar"].shape == () and found["scalar"] == 3
    assert found["empty"].shape == (0, 3)


def test_texts_in_the_header_are_read_by_the_reference_library_and_by_ours(tmp_path: Path) -> None:
    path, texts = tmp_path / "w.safetensors", {"labels": '["\u00df", "{}"]', "format": "x"}
    write_tensors(path, {"w": np.arange(3)}, texts)
    with safetensors.safe_open(path, "numpy") as file:
        assert file.metadata() == texts
        assert file.get_tensor("w").tolist() == [0, 1, 2]
    assert SafetensorsFile(path).metadata == texts


def test_a_transposed_array_is_written_in_row_order(tmp_path: Path) -> None:
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_tensors(tmp_path / "w.safetensors", {"w": matrix.T})
    assert safetensors.numpy.load_file(tmp_path / "w.safetensors")["w"].tolist() == matrix.T.tolist()


def test_threads_may_write_at_once(tmp_path: Path) -> None:
    rows = np.arange(64 * 1000, dtype=np.float32).reshape(64, 1000)
    path = tmp_path / "w.safetensors"
    with StreamingSafetensorsWriter(path, {"w": TensorInfo("float32", rows.shape)}) as writer:
        threads = [
            threading.Thread(target=writer.write, args=("w", rows[start : start + 4], start))
            for start in range(0, 64, 4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert np.array_equal(safetensors.numpy.load_file(path)["w"], rows)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(ITEM_BYTES)), st.lists(st.integers(0, 9), max_size=3).map(tuple)), max_size=12
    )
)
def test_layout_is_aligned_for_any_shapes(shapes: list[tuple[str, tuple[int, ...]]]) -> None:
    infos = {f"t{index}": TensorInfo(dtype, shape) for index, (dtype, shape) in enumerate(shapes)}
    head, places = plan_layout(infos)
    assert len(head) % ALIGNMENT == 0
    for name, place in places.items():
        assert place.offset % ITEM_BYTES[infos[name].dtype] == 0
        if infos[name].size % ALIGNMENT == 0:
            assert place.offset % ALIGNMENT == 0
    data = bytes(sum(info.size for info in infos.values()))
    assert dict(safetensors.deserialize(head + data)).keys() == infos.keys()  # the library checks for holes itself


def test_an_error_inside_the_block_removes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(KeyboardInterrupt), StreamingSafetensorsWriter(path, {"w": TensorInfo("int8", (4,))}):
        raise KeyboardInterrupt
    assert not path.exists()


@pytest.mark.parametrize(
    ("rows", "start"),
    [
        (np.zeros((2, 3), np.float64), 0),
        (np.zeros((2, 4), np.float32), 0),
        (np.zeros((2, 3), np.float32), 3),
        (np.zeros(3, np.float32), 0),
    ],
)
def test_rows_that_do_not_fit_are_refused(rows: np.ndarray, start: int, tmp_path: Path) -> None:
    writer = StreamingSafetensorsWriter(tmp_path / "w.safetensors", {"w": TensorInfo("float32", (4, 3))})
    with pytest.raises(ValueError, match="does not fit"), writer:
        writer.write("w", rows, start)


@pytest.mark.parametrize("starts", [(0,), (0, 0)])
def test_missing_or_doubled_rows_are_noticed_on_close(starts: tuple[int, ...], tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    writer = StreamingSafetensorsWriter(path, {"w": TensorInfo("float32", (3,))})
    for start in starts:
        writer.write("w", np.zeros(2, np.float32), start)
    with pytest.raises(ValueError, match="'w'"):
        writer.close()
    assert not path.exists()


def test_no_space_is_noticed_before_the_first_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.safetensors"
    infos = {"w": TensorInfo("uint8", (1 << 20,))}
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1 << 20, 1, (1 << 20) - 1))
    with pytest.raises(OutputError, match=r"cannot hold .* No space left"):
        StreamingSafetensorsWriter(path, infos)
    assert not path.exists()


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="space cannot be reserved on this system")
def test_a_disk_that_refuses_to_reserve_space_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OutputError, match="No space left"):
        StreamingSafetensorsWriter(tmp_path / "w.safetensors", {"w": TensorInfo("uint8", (4,))})
    assert not (tmp_path / "w.safetensors").exists()


def test_an_existing_file_and_a_missing_folder_are_output_errors(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"mine")
    for path in (tmp_path / "w.safetensors", tmp_path / "absent" / "w.safetensors"):
        with pytest.raises(OutputError, match="cannot be created"):
            StreamingSafetensorsWriter(path, {})
    assert (tmp_path / "w.safetensors").read_bytes() == b"mine"
