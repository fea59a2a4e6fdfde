"""SARIF 2.1.0, which GitHub's code scanning and most editors read.

Source: "Static Analysis Results Interchange Format (SARIF) Version 2.1.0", OASIS; GitHub's "SARIF support for code
scanning" for what it needs besides (a location for each result, fingerprints, an automation id).
"""

import json
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from nexus_edge.ci.outcome import Case, Outcome, Status
from nexus_edge.ci.places import place_of

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVEL: dict[Status, str] = {"failed": "error", "skipped": "warning", "noted": "note"}


def to_sarif(outcome: Outcome) -> str:
    """One run: a rule for each kind of case, a result for each case that failed, did not run, or has a remark."""
    rules: dict[str, dict[str, Any]] = {}
    results = []
    for suite in outcome.suites:
        for case in suite.cases:
            if case.status not in LEVEL:
                continue
            rule = _rule_id(outcome, case)
            rules.setdefault(rule, _rule(rule, suite.title or suite.name))
            results.append(_result(outcome, case, rule, list(rules).index(rule)))
    run = {
        "tool": {"driver": {"name": "nexus-edge", "version": outcome.version, "rules": list(rules.values())}},
        "automationDetails": {"id": f"nexus-edge/{outcome.tool}/{outcome.subject}/"},
        "invocations": [{"executionSuccessful": True, "exitCode": 0 if outcome.color == "green" else 3}],
        "properties": {"verdict": outcome.verdict, **outcome.properties},
        "results": results,
    }
    document = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _rule_id(outcome: Outcome, case: Case) -> str:
    return "/".join((outcome.tool, *case.group[:1], case.kind or case.status))


def _rule(rule: str, text: str) -> dict[str, Any]:
    return {"id": rule, "shortDescription": {"text": text}}


def _result(outcome: Outcome, case: Case, rule: str, index: int) -> dict[str, Any]:
    return {
        "ruleId": rule,
        "ruleIndex": index,
        "level": LEVEL[case.status],
        "message": {"text": "\n".join(text for text in (case.message, case.body) if text) or case.name},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": _artifact(place_of(outcome, case)),
                    "region": {"startLine": 1},
                },
                "logicalLocations": [{"fullyQualifiedName": "/".join((outcome.subject, *case.group, case.name))}],
            }
        ],
        "partialFingerprints": {"nexusEdgeCase/v1": outcome.fingerprint(case)},
    }


def _artifact(place: str) -> dict[str, str]:
    """A URI: relative to the source root, or absolute for what lies outside of it."""
    if PurePosixPath(place).is_absolute() or Path(place).is_absolute():
        return {"uri": Path(place).as_uri()}
    return {"uri": quote(place), "uriBaseId": "%SRCROOT%"}
