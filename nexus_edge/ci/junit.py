"""JUnit XML as Jenkins and GitLab read it.

There is no official schema. What is written here is what the strictest one in use accepts, junit-10.xsd of Jenkins'
xUnit plugin: `errors` on every suite, no properties and no files on cases.
"""

import re
from xml.etree import ElementTree

from nexus_edge.ci.outcome import Case, Outcome, Suite, unique_names

# XML 1.0, section 2.2: characters that no document may hold, not even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_junit(outcome: Outcome) -> str:
    """A suite for each suite, a case for each case; a skipped one says why."""
    root = ElementTree.Element("testsuites", _attributes(name=f"{outcome.tool} of {outcome.subject}"))
    root.set("tests", str(len(outcome.cases)))
    root.set("failures", str(sum(len(suite.failed) for suite in outcome.suites)))
    root.set("errors", "0")
    root.set("time", _time(outcome.seconds))
    for number, suite in enumerate(outcome.suites):
        root.append(_suite(outcome, suite, number))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(outcome: Outcome, suite: Suite, number: int) -> ElementTree.Element:
    element = ElementTree.Element(
        "testsuite",
        _attributes(
            name=f"{suite.name} {suite.title}".strip(),
            tests=str(len(suite.cases)),
            failures=str(len(suite.failed)),
            errors="0",
            skipped=str(len(suite.skipped)),
            time=_time(suite.seconds),
            timestamp=_timestamp(outcome.created),
            id=str(number),
        ),
    )
    properties = ElementTree.SubElement(element, "properties")
    for name, value in ({"verdict": outcome.verdict} | dict(outcome.properties)).items():
        ElementTree.SubElement(properties, "property", _attributes(name=name, value=value))
    for case, name in zip(suite.cases, unique_names(suite.cases), strict=True):
        element.append(_case(outcome, case, name))
    return element


def _case(outcome: Outcome, case: Case, name: str) -> ElementTree.Element:
    # Jenkins takes all but the last segment as the package, so segments hold no dots of their own.
    segments = [outcome.subject, outcome.tool, *case.group]
    classname = ".".join(segment.replace(".", "_") for segment in segments)
    element = ElementTree.Element("testcase", _attributes(classname=classname, name=name, time=_time(case.seconds)))
    if case.status == "failed":
        failure = ElementTree.SubElement(element, "failure", _attributes(message=case.message, type=case.kind))
        failure.text = _clean(case.body or case.message)
    elif case.status == "skipped":
        ElementTree.SubElement(element, "skipped", _attributes(message=case.message))
    if case.status in ("passed", "noted"):
        lines = [case.message, *(f"{name}: {value}" for name, value in case.properties.items())]
        ElementTree.SubElement(element, "system-out").text = _clean("\n".join(line for line in lines if line))
    return element


def _attributes(**values: str) -> dict[str, str]:
    return {name: _clean(value) for name, value in values.items()}


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)


def _time(seconds: float) -> str:
    return f"{seconds:.3f}"


def _timestamp(created: str) -> str:
    """Without a time zone, as the schema's dateTime of Ant's reports has none."""
    return created[:19] if len(created) >= 19 else f"{created}T00:00:00"
