"""`run_command`: a command of the real application, as the console script runs it."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

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


@pytest.fixture
def run_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """(command, arguments...) -> its exit code and output."""

    def run(*arguments: object) -> Result:
        # Only this command's module is imported, so that the test needs none of the others'.
        monkeypatch.setattr(app, "COMMANDS", (str(arguments[0]),))
        monkeypatch.setattr("sys.argv", ["nexus-edge", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            app.main()
            raise SystemExit(0)
        out, err = capsys.readouterr()
        return Result(int(exit_.value.code or 0), out, err)

    return run
