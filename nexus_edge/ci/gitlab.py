"""GitLab's code quality report: a JSON list of findings, which a merge request shows.

Source: "Code Quality", section "Code Quality report format", in GitLab's documentation. Test results go to GitLab as
JUnit.
"""

import json

from nexus_edge.ci.outcome import Outcome, Status
from nexus_edge.ci.places import place_of

SEVERITY: dict[Status, str] = {"failed": "blocker", "skipped": "major", "noted": "info"}


def to_gitlab(outcome: Outcome) -> str:
    """An entry for each case that failed, did not run, or has something to say; an empty list is a clean bundle."""
    entries = [
        {
            "description": f"{outcome.tool} of {outcome.subject}, {' '.join(case.group)}: {case.message}",
            "check_name": "/".join((outcome.tool, *case.group, case.kind or case.status)),
            "fingerprint": outcome.fingerprint(case),
            "severity": SEVERITY[case.status],
            "location": {"path": place_of(outcome, case), "lines": {"begin": 1}},
        }
        for case in outcome.cases
        if case.status in SEVERITY
    ]
    return json.dumps(entries, indent=1, ensure_ascii=False) + "\n"
