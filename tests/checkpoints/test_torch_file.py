"""Pickled weights: read as tensors, never run, and refused in one line when they are anything else."""

import io
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch

from nexus_edge.checkpoints import torch_file
from nexus_edge.checkpoints.torch_file import TorchFile
from nexus_edge.errors import CheckpointError

pytestmark = pytest.mark.slow

STATE = {
    "a.weight": torch.arange(12, dtype=torch.float32).view(3, 4) / 7,
    "half": torch.arange(6, dtype=torch.float16).view(3, 2),
    "brain": torch.arange(6, dtype=torch.float32).view(3, 2).to(torch.bfloat16) / 3,
    "double": torch.ones(3, dtype=torch.float64),
    "index": torch.arange(5)[None],
    "scalar": torch.tensor(4.6052),
    "empty": torch.zeros(0, 3),
}

Save = Callable[[object], Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Anything -> the file that `torch.save` makes of it."""

    def write(content: object) -> Path:
        torch.save(content, tmp_path / "weights.bin")
        return tmp_path / "weights.bin"

    return write


def assert_state(file: TorchFile) -> None:
    assert set(file.infos) == set(STATE)
    for key, tensor in STATE.items():
        assert file.infos[key].dtype == str(tensor.dtype).removeprefix("torch.")
        array = file.read(key)
        assert array.shape == file.infos[key].shape == tuple(tensor.shape)
        assert array.tobytes() == tensor.reshape(-1).view(torch.uint8).numpy().tobytes()


def test_every_type_is_read_bit_for_bit(save: Save) -> None:
    file = TorchFile(save(STATE))
    assert_state(file)
    assert file.read("brain").dtype == ml_dtypes.bfloat16
    assert np.array_equal(file.rows("a.weight", 1, 3), STATE["a.weight"][1:].numpy())
    with pytest.raises(ValueError, match="read-only"):
        file.read("a.weight")[0] = 1


def test_parameters_views_and_shared_memory_are_tensors_like_any_other(save: Save) -> None:
    whole = torch.arange(24, dtype=torch.float32).view(4, 6)
    file = TorchFile(save({"w": torch.nn.Parameter(whole), "t": whole.T, "part": whole[1:3, ::2], "same": whole}))
    for key, expected in {"w": whole, "t": whole.T, "part": whole[1:3, ::2], "same": whole}.items():
        assert np.array_equal(file.read(key), expected.numpy())


def test_a_training_checkpoint_of_open_clip_gives_its_state(save: Save) -> None:
    """As `open_clip_train` writes it after a run on several devices."""
    state = {f"module.{key}": tensor for key, tensor in STATE.items()}
    assert_state(TorchFile(save({"epoch": 3, "name": "run", "state_dict": state, "optimizer": {"state": {}}})))


def test_released_memory_is_read_again_and_arrays_outlive_it(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    load = torch_file._load
    monkeypatch.setattr(torch_file, "_load", lambda path: opened.append(path) or load(path))
    monkeypatch.setattr(torch_file, "RESIDENT", 100)
    file = TorchFile(save(STATE))
    kept = file.read("a.weight")  # 48 bytes
    file.release("a.weight")
    assert_state(file)
    assert len(opened) == 1
    for _ in range(2):
        file.release("a.weight")
    assert_state(file)
    assert len(opened) == 2
    assert np.array_equal(kept, STATE["a.weight"].numpy())


def test_a_file_that_changes_meanwhile_is_noticed(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_file, "RESIDENT", 1)
    path = save(STATE)
    file = TorchFile(path)
    file.release("a.weight")
    path.unlink()
    save({"a.weight": torch.zeros(2)})
    with pytest.raises(CheckpointError, match=r"weights\.bin: has changed since it was opened"):
        file.read("a.weight")


def test_released_memory_is_given_back(save: Save) -> None:
    """200 MB walked through stay below 64 MB plus the tensor in hand."""
    path = save({f"w{i}": torch.ones(5_000_000) for i in range(10)})
    file = TorchFile(path)
    before, most = resident(), 0
    for key in file.infos:
        assert file.read(key).sum() == 5e6
        file.release(key)
        most = max(most, resident() - before)
    assert most < 120_000_000  # without release it is 200 million


def resident() -> int:
    """Bytes of this process in memory, mapped files included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Harmful:
    """Unpickled, it leaves a file behind."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, ...]:
        return (os.system, (f"touch '{self.witness}'",))


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"a": x}, lambda x: {"a": torch.ones(2), "b": [x]}])
def test_code_is_refused_and_not_run(wrap: Callable[[object], object], save: Save, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    path = save(wrap(Harmful(witness)))
    assert_refused(path, r"weights\.bin: is damaged, or holds code \(it asks for \S*system\); it was not loaded")
    bare = tmp_path / "bare.bin"
    bare.write_bytes(pickle.dumps(wrap(Harmful(witness)), protocol=2))
    assert_refused(bare, r"bare\.bin: ")
    old = tmp_path / "old.bin"
    torch.save(wrap(Harmful(witness)), old, _use_new_zipfile_serialization=False)
    assert_refused(old, r"old\.bin: ")
    assert not witness.exists()
    torch.load(path, weights_only=False)
    assert witness.exists()  # the file would have done it


def assert_refused(path: Path, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        TorchFile(path)
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)  # torch's own advice is to trust the file


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(2)], "holds a list and no state dict"),
        (torch.ones(2), "holds a Tensor and no state dict"),
        ({3: torch.ones(2)}, "holds a dict and no state dict"),
        ({"a": 3}, "'a' is a int, expected a plain tensor"),
        ({"a": torch.ones(2, dtype=torch.complex64)}, "tensor 'a' has type complex64; supported are"),
        ({"a": torch.eye(3).to_sparse()}, "'a' is a Tensor, expected a plain tensor"),
    ],
)
def test_what_is_no_state_dict_is_refused(content: object, message: str, save: Save) -> None:
    assert_refused(save(content), message)


def test_no_file(tmp_path: Path) -> None:
    assert_refused(tmp_path / "absent.bin", r"absent\.bin: cannot be read: No such file")
    assert_refused(tmp_path, "cannot be read")
    (tmp_path / "empty.bin").touch()
    assert_refused(tmp_path / "empty.bin", r"empty\.bin: ")


def test_a_format_before_torch_1_6_is_refused(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    assert_refused(tmp_path / "old.bin", r"old\.bin: is not a readable PyTorch file")


def test_a_truncated_file_is_refused_wherever_it_ends(save: Save) -> None:
    path = save(STATE)
    whole = path.read_bytes()
    for size in range(0, len(whole), 97):
        path.write_bytes(whole[:size])
        assert_refused(path, r"weights\.bin: ")


def test_storage_beyond_the_end_of_the_file_is_refused(save: Save) -> None:
    path = save({"a": torch.ones(1000)})
    damage(path, lambda index: index.replace((1000).to_bytes(2, "little"), (65000).to_bytes(2, "little")))
    assert_refused(path, r"weights\.bin: is not a readable PyTorch file")


def test_any_damage_is_one_line_or_no_damage(save: Save) -> None:
    """500 random changes to the part of the file that tells torch's reader what to build."""
    path, source = save(STATE), random.Random(11)
    whole = path.read_bytes()
    for _ in range(500):
        path.write_bytes(whole)
        damage(path, lambda index: mutated(index, source))
        try:
            file = TorchFile(path)
        except CheckpointError as error:
            assert "weights.bin" in str(error) and "\n" not in str(error)
        else:
            for key, info in file.infos.items():
                assert file.read(key).shape == info.shape


def damage(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Rewrite the archive with another pickle."""
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, change(content) if name.endswith("data.pkl") else content)


def mutated(content: bytes, source: random.Random) -> bytes:
    """One to four bytes changed, left out or put in."""
    changed = bytearray(content)
    for _ in range(source.choice((1, 1, 2, 4))):
        place, new = source.randrange(len(changed)), source.randrange(256)
        changed[place : place + source.choice((0, 1, 1))] = source.choice((b"", bytes([new]), bytes([new])))
    return bytes(changed)
