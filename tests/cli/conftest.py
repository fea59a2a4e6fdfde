"""`run_command`: a command of the real application, as the console script runs it."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import toy_dual

from nexus_edge.bundle import Bundle
from nexus_edge.cli import app


@dataclass(frozen=True)
class Result:
    exit_code: int
    stdout: str
    stderr: str

    def assert_error(self, code: int, *parts: str) -> None:
        """It ended with this code, printed nothing, and said one line that contains `parts`."""
        assert self.exit_code == code, self.stderr
        assert self.stderr.startswith("error: ") and self.stderr.count("\n") == 1, self.stderr
        assert self.stdout == ""
        for part in parts:
            assert part in self.stderr

    def assert_ended(self, code: int, *parts: str) -> None:
        """It did its work, ended with this code, and the last line it said is an error that contains `parts`."""
        assert self.exit_code == code, self.stderr
        last = self.stderr.splitlines()[-1]
        assert last.startswith("error: "), self.stderr
        for part in parts:
            assert part in last


@pytest.fixture
def run_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """(command, arguments...) -> its exit code and output."""

    def run(*arguments: object) -> Result:
        monkeypatch.setattr("sys.argv", ["nexus-edge", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            app.main()
            raise SystemExit(0)
        out, err = capsys.readouterr()
        return Result(int(exit_.value.code or 0), out, err)

    return run


@pytest.fixture
def desk(dual_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: one dual encoder in out/, and images/ with three colours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NEXUS_EDGE_BUNDLE", raising=False)
    shutil.copytree(dual_bundle.root, tmp_path / "out" / "toy-dual")
    toy_dual.write_images(tmp_path, "images/red.png", "images/green.png", "images/sub/blue.jpg")
    return tmp_path
