"""Two paths that change places in one step."""

import ctypes
import errno
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from nexus_edge import _exchange
from nexus_edge._exchange import CALLS, exchange


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name.txt").write_text(name)
    return tmp_path / "one", tmp_path / "other"


@pytest.mark.skipif(sys.platform not in CALLS, reason="this system cannot")
def test_each_has_what_the_other_had(folders: tuple[Path, Path]) -> None:
    assert exchange(*folders)
    assert [(folder / "name.txt").read_text() for folder in folders] == ["other", "one"]


@pytest.mark.skipif(sys.platform not in CALLS, reason="this system cannot")
def test_a_path_that_is_gone_is_an_error_of_the_system(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        exchange(folders[0], tmp_path / "absent")
    assert (folders[0] / "name.txt").read_text() == "one"


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EINVAL, errno.ENOTSUP])
def test_a_system_that_cannot_says_so(code: int, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> int:
        ctypes.set_errno(code)
        return -1

    monkeypatch.setattr(_exchange, "_libc", lambda: SimpleNamespace(renameat2=refuse, renameatx_np=refuse))
    assert not exchange(*folders)
    monkeypatch.setattr(_exchange, "_libc", SimpleNamespace)  # a C library that has no such call
    assert not exchange(*folders)
    monkeypatch.setattr(_exchange.sys, "platform", "win32")
    assert not exchange(*folders)
