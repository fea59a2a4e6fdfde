"""The outcome of a gate, as every CI format needs it: suites of cases with a status, a message and a place."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Status = Literal["passed", "noted", "failed", "skipped"]
"""`noted` passed and has something to say: a near tie that was set aside."""

Color = Literal["green", "red"]


@dataclass(frozen=True)
class Case:
    """One thing that was judged.

    Attributes:
        name: within its group; holds nothing that was measured, so that a CI finds it again in the next run
        group: what it belongs to, in words of one segment each, such as ("P3", "decoder")
        status: see `Status`
        message: one line: what was found against which limit, or why it was skipped
        kind: of a failure: the metric that gates, or "missing" where there was nothing to measure
        body: lines for a reader of the failure: where, the reason of the limit, what to do
        seconds: it took
        file: what it is about, relative to the bundle's folder; "" for the bundle as a whole
        properties: further facts, by name
    """

    name: str
    group: tuple[str, ...]
    status: Status
    message: str = ""
    kind: str = ""
    body: str = ""
    seconds: float = 0.0
    file: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Suite:
    """Cases that belong together: a rung, or one kind of comparison."""

    name: str
    title: str
    cases: tuple[Case, ...]
    seconds: float = 0.0

    @property
    def failed(self) -> tuple[Case, ...]:
        """Cases that make the whole red."""
        return tuple(case for case in self.cases if case.status == "failed")

    @property
    def skipped(self) -> tuple[Case, ...]:
        """Cases that did not run."""
        return tuple(case for case in self.cases if case.status == "skipped")


@dataclass(frozen=True)
class Outcome:
    """What one command found about one bundle.

    Attributes:
        tool: the command: parity, verify, compare
        subject: the bundle's name
        folder: the bundle's folder, as the user wrote it
        verdict: one word
        sentence: the verdict in plain words
        color: "green" is exit code 0
        suites: in the order in which they ran
        created: ISO 8601, UTC
        version: of nexus-edge
        properties: facts about the whole, by name
        markdown: the whole for people, as GitHub renders it
        json: the whole for programs
    """

    tool: str
    subject: str
    folder: str
    verdict: str
    sentence: str
    color: Color
    suites: tuple[Suite, ...]
    created: str
    version: str
    properties: Mapping[str, str]
    markdown: str
    json: str

    @property
    def cases(self) -> tuple[Case, ...]:
        """Of all suites."""
        return tuple(case for suite in self.suites for case in suite.cases)

    @property
    def seconds(self) -> float:
        """All suites together."""
        return sum(suite.seconds for suite in self.suites)

    def fingerprint(self, case: Case) -> str:
        """64 hex digits that are the same for the same case of the same bundle in every run."""
        words = (self.tool, self.subject, *case.group, case.name)
        return hashlib.sha256("\0".join(words).encode()).hexdigest()


def unique_names(cases: tuple[Case, ...]) -> list[str]:
    """Names of cases, told apart by a number where two of one group are called the same."""
    seen: dict[tuple[str, ...], int] = {}
    names = []
    for case in cases:
        key = (*case.group, case.name)
        seen[key] = seen.get(key, 0) + 1
        names.append(case.name if seen[key] == 1 else f"{case.name} #{seen[key]}")
    return names
