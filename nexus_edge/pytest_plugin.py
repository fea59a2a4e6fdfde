"""A pytest plugin: `pytest --nexus-edge BUNDLE` adds a test for each rung of the bundle's parity ladder.

    pytest --nexus-edge out/phi3-vision-int4                     P0 to P5; needs nexus-edge[export] and the checkpoint
    pytest --nexus-edge out/phi3-vision-int4 --nexus-edge-verify  a test for each stage of the goldens; needs no torch

Both may be repeated for several bundles. A rung that cannot run fails, unless `--nexus-edge-allow-skip P1` lets it be
skipped. Without `--nexus-edge` nothing but this file is imported.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from nexus_edge.parity.report.report import Check, Report
    from nexus_edge.parity.run import ParityRun

RUNGS = ("P0", "P1", "P2", "P3", "P4", "P5")
SHOWN = 8  # failed checks of an item; the rest is counted


def pytest_addoption(parser: pytest.Parser) -> None:
    """The four options."""
    group = parser.getgroup("nexus-edge", "parity of exported bundles")
    group.addoption("--nexus-edge", action="append", default=[], metavar="BUNDLE", help="Test this exported bundle.")
    group.addoption("--nexus-edge-verify", action="store_true", help="Replay its goldens instead of the ladder.")
    group.addoption("--nexus-edge-rungs", default=",".join(RUNGS), metavar="P0,P3", help="Only these rungs.")
    group.addoption(
        "--nexus-edge-allow-skip", action="append", default=[], metavar="P1", help="A rung that need not run here."
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse what would leave a gate out in silence: an option that is empty, or one without its bundle."""
    bundles = config.getoption("--nexus-edge")
    if not all(name.strip() for name in bundles):
        raise pytest.UsageError("--nexus-edge is an empty path; name the bundle, or . for the current folder")
    for option in ("--nexus-edge-rungs", "--nexus-edge-allow-skip"):
        given = config.getoption(option)
        for text in [given] if isinstance(given, str) else given:
            if not text.strip(" ,"):
                raise pytest.UsageError(f"{option} is empty; there are {', '.join(RUNGS)}")
    others = {
        "--nexus-edge-verify": config.getoption("--nexus-edge-verify"),
        "--nexus-edge-rungs": config.getoption("--nexus-edge-rungs") != ",".join(RUNGS),
        "--nexus-edge-allow-skip": bool(config.getoption("--nexus-edge-allow-skip")),
    }
    if not bundles and (lonely := [name for name, given in others.items() if given]):
        raise pytest.UsageError(f"{lonely[0]}: of which bundle? give --nexus-edge BUNDLE too")


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Append the bundles' items to those that were found."""
    folders = config.getoption("--nexus-edge")
    names = [Path(folder).name for folder in folders]
    for folder in folders:
        name = folder if names.count(Path(folder).name) > 1 else Path(folder).name
        collector: BundleTests = BundleTests.from_parent(session, name=f"nexus-edge:{name}")
        collector.folder = Path(folder)
        items.extend(collector.collect())


class DriftError(Exception):
    """An item failed; the message is all that there is to show."""


class BundleTests(pytest.Collector):
    """The items of one bundle."""

    folder: Path

    def collect(self) -> list["BundleItem"]:
        """An item for each rung, or for each stage of the goldens, which are replayed now to know them."""
        from nexus_edge._text import without_controls
        from nexus_edge.errors import NexusEdgeError

        try:
            return list(self._stages() if self.config.getoption("--nexus-edge-verify") else self._rungs())
        except NexusEdgeError as error:
            message = without_controls(f"--nexus-edge {self.folder}: {error}")
            if not hasattr(self.config, "workerinput"):
                raise pytest.UsageError(message) from error
            return [self._item("bundle", partial(fail, message))]  # pytest-xdist loses errors of its workers

    def _item(self, name: str, run: Callable[[], None]) -> "BundleItem":
        from nexus_edge._text import without_controls

        item: BundleItem = BundleItem.from_parent(self, name=without_controls(name))
        item.folder, item.run = self.folder, run
        return item

    def _rungs(self) -> Iterator["BundleItem"]:
        from nexus_edge.bundle import Bundle

        allowed = self._named("--nexus-edge-allow-skip", self.config.getoption("--nexus-edge-allow-skip"))
        chosen = self._named("--nexus-edge-rungs", self.config.getoption("--nexus-edge-rungs").split(","))
        if unasked := [name for name in allowed if name not in chosen]:
            raise pytest.UsageError(f"--nexus-edge-allow-skip {unasked[0]}: is not among {', '.join(chosen)}")
        ladder = Ladder(Bundle.open(self.folder, check=None), allowed)
        for name in chosen:
            yield self._item(name, lambda name=name: ladder.judge(name))  # type: ignore[misc]
        if ladder.rejection:
            yield self._item("verdict", ladder.require_cleared)

    def _named(self, option: str, names: Sequence[str]) -> Sequence[str]:
        rungs = [name.strip().upper() for name in names]
        if unknown := [name for name in rungs if name not in RUNGS]:
            raise pytest.UsageError(f"{option} {unknown[0]}: there are {', '.join(RUNGS)}")
        return rungs

    def _stages(self) -> Iterator["BundleItem"]:
        if self.config.option.collectonly:
            yield self._item("verify", lambda: None)
            return
        from nexus_edge.parity.replay import verify

        report = verify(self.folder)
        checks = [check for rung in report.rungs for check in rung.checks]
        for target, stage in dict.fromkeys((check.target, check.stage) for check in checks):
            found = [check for check in checks if (check.target, check.stage) == (target, stage)]
            yield self._item(f"{target}: {stage}" if target else stage, lambda found=found: require(found))  # type: ignore[misc]
        yield self._item("verdict", lambda: require_passed(report))


class BundleItem(pytest.Item):
    """One rung or stage."""

    folder: Path
    run: Callable[[], None]

    def runtest(self) -> None:
        """Fails with what diverged."""
        self.run()

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What was found, without a traceback of ours; anything unexpected keeps it."""
        from nexus_edge._text import without_controls
        from nexus_edge.errors import NexusEdgeError

        if isinstance(excinfo.value, DriftError | NexusEdgeError):
            return without_controls(f"{self.folder}\n{excinfo.value}")
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Where it stands: the bundle."""
        return self.folder, None, self.name


class Ladder:
    """Rungs judged one by one in one run, whose models are made once."""

    def __init__(self, bundle: Any, skippable: Sequence[str]) -> None:
        self._bundle, self._skippable = bundle, skippable
        self._run: ParityRun | None = None
        self._held: set[str] = set()

    @property
    def rejection(self) -> str:
        """Why the bundle is recorded as rejected; "" where it is not."""
        return self._bundle.manifest.rejection or ""

    def require_cleared(self) -> None:
        """Raise DriftError unless every rung of the ladder ran and held: nothing less clears a rejected bundle."""
        if self._held != set(RUNGS):
            raise DriftError(f"recorded as rejected, which only the whole ladder can clear: {self.rejection}")

    def judge(self, name: str) -> None:
        """Raise DriftError where the rung fails or does not run; skip where that is allowed."""
        from nexus_edge._extras import needs_extra

        with needs_extra("pytest --nexus-edge (the ladder; --nexus-edge-verify needs no extra)"):
            import torch  # noqa: F401  the rungs import it late

            from nexus_edge.parity import ladder
        self._run = self._run or ladder.prepare(self._bundle)
        (rung,) = ladder.run(self._run, (name,)).rungs
        missing = rung.not_run(self._bundle.manifest.targets)
        require(list(rung.checks))
        if missing and name in self._skippable:
            pytest.skip("; ".join(missing))
        if missing:
            raise DriftError(f"{'; '.join(missing)}\nlet it run, or allow it with --nexus-edge-allow-skip {name}")
        self._held.add(name)


def fail(message: str) -> None:
    """Raise DriftError."""
    raise DriftError(message)


def require(checks: "Sequence[Check]") -> None:
    """Raise DriftError with the checks that failed, the first divergence first."""
    failed = [check for check in checks if check.status == "failed"]
    if not failed:
        return
    lines = [f"{len(failed)} of {len(checks)} checks failed. The first that diverges:", f"  {failed[0].finding}"]
    if failed[0].gate is not None:
        lines.append(f"  why this limit: {failed[0].gate.reason}")
    lines += [f"  {check.finding}" for check in failed[1:SHOWN]]
    if len(failed) > SHOWN:
        lines.append(f"  and {len(failed) - SHOWN} more")
    raise DriftError("\n".join(lines))


def require_passed(report: "Report") -> None:
    """Raise DriftError unless the report is green as a whole: a target that did not run, a rejected export."""
    if report.verdict != "passed":
        raise DriftError(f"verdict {report.verdict}: {report.reason}")
