"""What the OpenVINO target does to the disk: one copy where it can, two where it must, and one line where it cannot."""

import shutil
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import SafetensorsFile, write_tensors
from nexus_edge.errors import OutputError
from nexus_edge.interfaces.target import StoredTensor, WeightsFile
from nexus_edge.pipeline.sharing import share_weights
from nexus_edge.runtimes import VLM, EngineOptions, load
from nexus_edge.targets.openvino.ir_file import save

QUESTION = "What is shown in this picture?"


def test_a_disk_that_knows_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second target's file is then a copy with the same tensors."""

    def refuse(self: Path, target: Path) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    values = {"a": np.arange(6, dtype=np.float32), "b": np.arange(3, dtype=np.uint8)}
    first, second = tmp_path / "onnx" / "decoder.safetensors", WeightsFile("openvino/model.bin", frozenset(values), {})
    first.parent.mkdir()
    write_tensors(first, values)
    stored = {
        name: StoredTensor(first, info.dtype, info.shape, 0, 0) for name, info in SafetensorsFile(first).infos.items()
    }
    found = share_weights(second, stored, tmp_path)
    copied = SafetensorsFile(tmp_path / "openvino" / "model.bin")
    assert not copied.path.samefile(first)
    for name, value in values.items():
        np.testing.assert_array_equal(copied.read(name), value)
        content = copied.path.read_bytes()[found[name].offset :][: found[name].size]
        assert content == value.tobytes()


def test_a_copy_without_links_and_a_folder_that_cannot_be_written(tiny_openvino: Bundle, tmp_path: Path) -> None:
    """As a stick or a phone makes it; both engines answer from it, and nothing is written beside the graphs."""
    root = Path(shutil.copytree(tiny_openvino.root, tmp_path / "bundle"))
    assert all(path.stat().st_nlink == 1 for path in root.rglob("*") if path.is_file())
    before = sorted(root.rglob("*"))
    for path in before:
        path.chmod(0o555 if path.is_dir() else 0o444)
    root.chmod(0o555)
    try:
        answers = set()
        for engine in ("openvino", "onnx"):
            vlm = load(Bundle.open(root, check="sha256"), EngineOptions(threads=1, engine=engine))
            assert isinstance(vlm, VLM)
            answers.add("".join(vlm.generate(QUESTION, max_new_tokens=6)))
        assert len(answers) == 1
        assert sorted(root.rglob("*")) == before
    finally:
        for path in (root, *before):
            path.chmod(0o755)


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    """/dev/full takes nothing; OpenVINO's own error names neither the file nor the reason."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    (tmp_path / "model.bin").symlink_to("/dev/full")
    model = ov.Model([op.result(op.constant(np.ones(100_000, np.float32)))], [])
    with pytest.raises(OutputError, match=r"model\.xml: cannot be written .* full\?$"):
        save(model, tmp_path / "model.xml")
