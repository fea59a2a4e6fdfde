"""Formats of checkpoints are found by scanning: one more is one more file."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nexus_edge.checkpoints import FolderCheckpoint, formats, open_checkpoint, tiny_folder
from nexus_edge.errors import CheckpointError

DEFAULT = "microsoft/Phi-3-vision-128k-instruct"
NUMBERS = '''
"""One text file with a name and a number a line; of a folder, the one that is called model.numbers."""

import numpy as np

from nexus_edge.checkpoints.base import TensorInfo
from nexus_edge.interfaces.checkpoint import Opened

class File:
    def __init__(self, path):
        lines = [line.split() for line in path.read_text("utf-8").splitlines()]
        self.path, self._values = path, {name: np.float32(value) for name, value in lines}
        self.infos = {name: TensorInfo("float32", ()) for name in self._values}
    def read(self, key): return self._values[key]
    def rows(self, key, start, stop): raise NotImplementedError
    def release(self, key): ...

class Numbers:
    config_file = "model.numbers"
    def recognises(self, path): return self._file(path).is_file() and path.suffix != ".json"
    def open(self, path):
        file = File(self._file(path))
        return Opened({"model_type": "phi3_v"}, dict.fromkeys(file.infos, file))
    def processor_files(self, path): return {"config.json": b"{}"}
    def reads(self, path): return [self._file(path)]
    def lacking(self, folder): return ("model.numbers",)
    def _file(self, path): return path / self.config_file if path.is_dir() else path

FORMAT = Numbers()
'''


@pytest.fixture
def numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of one more format, which stands in a file of its own."""
    (tmp_path / "formats").mkdir()
    (tmp_path / "formats" / "numbers.py").write_text(NUMBERS, "utf-8")
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(tmp_path / "formats")])
    formats.formats.cache_clear()
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "model.numbers").write_text("scale 2.5\nbias -1\n", "utf-8")
    yield tmp_path / "checkpoint"
    monkeypatch.undo()
    formats.formats.cache_clear()
    sys.modules.pop("nexus_edge.checkpoints.formats.numbers", None)


@pytest.mark.parametrize("file", ["", "model.numbers"], ids=["folder", "file"])
def test_one_more_format_is_found_with_no_edit(file: str, numbers: Path) -> None:
    checkpoint = open_checkpoint(str(numbers / file), DEFAULT)
    assert checkpoint.read("scale") == np.float32(2.5) and set(checkpoint.keys()) == {"scale", "bias"}
    assert checkpoint.folder == numbers and checkpoint.weight_files == (numbers / "model.numbers",)
    assert checkpoint.config == {"model_type": "phi3_v"}
    assert checkpoint.processor_files() == {"config.json": b"{}"}


def test_two_formats_in_one_folder_are_refused(numbers: Path) -> None:
    (numbers / "open_clip_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="may be of the formats numbers and open_clip; remove the files of one"):
        FolderCheckpoint(numbers)


def test_other_files_are_no_checkpoint(numbers: Path) -> None:
    (numbers / "notes.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"notes.json: is a file; give the folder"):
        open_checkpoint(str(numbers / "notes.json"), DEFAULT)


def test_what_no_other_format_recognises_is_of_the_common_one() -> None:
    assert formats.format_of(tiny_folder()) is formats.formats()[formats.COMMON]
    assert formats.format_of(tiny_folder("biomedclip")) is formats.formats()["open_clip"]


def test_finding_formats_imports_no_torch() -> None:
    code = "import sys, nexus_edge.checkpoints.formats as f; print([*f.formats()], 'torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "['open_clip', 'transformers'] False\n"
