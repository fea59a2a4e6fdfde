"""The mapped reader, against files that the reference library wrote."""

import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import torch
from safetensors.torch import save_file

from nexus_edge.checkpoints import SafetensorsFile, load_tensors
from nexus_edge.errors import CheckpointError, MissingExtraError

DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")


def test_every_dtype_of_the_reference_library_is_read_bit_for_bit(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    bits = {name: torch.randint(0, 100, (3, 5), generator=generator) for name in DTYPES}
    tensors = {name: value.to(getattr(torch, name)) for name, value in bits.items()}
    tensors |= {
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 4),
        "odd": torch.tensor([1, 2, 3], dtype=torch.uint8),
    }
    path = tmp_path / "t.safetensors"
    save_file(tensors, path, metadata={"format": "pt"})
    file = SafetensorsFile(path)
    assert file.metadata == {"format": "pt"}
    assert set(file.infos) == set(tensors)
    for name, tensor in tensors.items():
        array = file.read(name)
        assert array.dtype.name == str(tensor.dtype).removeprefix("torch.") == file.infos[name].dtype
        assert array.shape == tuple(tensor.shape) == file.infos[name].shape
        assert array.astype(np.float64).tolist() == tensor.double().tolist()


def test_rows_and_arrays_are_read_only_views_without_a_copy(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    whole = np.arange(12, dtype=np.float32).reshape(6, 2)
    safetensors.numpy.save_file({"w": whole}, path)
    file = SafetensorsFile(path)
    rows = file.rows("w", 2, 5)
    assert rows.tolist() == whole[2:5].tolist()
    assert np.shares_memory(rows, file.read("w"))
    with pytest.raises(ValueError, match="read-only"):
        rows[0, 0] = 1


def test_arrays_stay_valid_after_release(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    whole = np.random.default_rng(0).normal(size=(300, 100)).astype(np.float32)
    safetensors.numpy.save_file({"a": whole, "b": whole + 1}, path)
    file = SafetensorsFile(path)
    array, neighbour = file.read("a"), file.read("b")
    file.release("a")
    assert np.array_equal(array, whole)
    assert np.array_equal(neighbour, whole + 1)


@pytest.mark.skipif(sys.platform != "linux", reason="the page accounting of other systems differs")
def test_released_pages_leave_resident_memory(tmp_path: Path) -> None:
    size = 16 << 20
    path = tmp_path / "t.safetensors"
    safetensors.numpy.save_file({name: np.ones(size, np.uint8) for name in "abcd"}, path)
    # A process of its own, because a peak is of a whole life; VmHWM, because ru_maxrss starts at the parent's peak.
    script = (
        "import sys\nfrom pathlib import Path\nfrom nexus_edge.checkpoints import SafetensorsFile\n"
        "status = Path('/proc/self/status')\n"
        "peak = lambda: 1024 * int(status.read_text().split('VmHWM:')[1].split()[0])\n"
        "file, before = SafetensorsFile(Path(sys.argv[1])), peak()\n"
        "for key in file.infos:\n    assert file.read(key).sum() > 0\n    file.release(key)\n"
        "print(peak() - before)"
    )
    run = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    # One tensor is resident at a time; half of another is room for the allocator. Unreleased it would be four.
    assert int(run.stdout) < 1.5 * size


def test_unknown_key_names_file_and_tensor(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    safetensors.numpy.save_file({"w": np.zeros(2, np.float32)}, path)
    with pytest.raises(CheckpointError, match=r"t\.safetensors: has no tensor 'v'"):
        SafetensorsFile(path).read("v")


def test_without_ml_dtypes_all_but_bfloat16_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.safetensors"
    safetensors.numpy.save_file({"f": np.ones(2, np.float32), "b": np.ones(2, ml_dtypes.bfloat16)}, path)
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    file = SafetensorsFile(path)
    assert file.read("f").tolist() == [1, 1]
    assert file.infos["b"].dtype == "bfloat16"
    with pytest.raises(MissingExtraError, match=r"nexus-edge\[export\]"):
        file.read("b")


def test_load_tensors_reads_a_whole_small_file(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    safetensors.numpy.save_file({"a": np.arange(3), "b": np.arange(2)}, path)
    assert {key: array.tolist() for key, array in load_tensors(path).items()} == {"a": [0, 1, 2], "b": [0, 1]}
