"""What the files of each format are, and how an earlier one of ours is told from anybody else's.

A mark is the whole beginning of a file. Of formats that have a place for it, that is the name of the program; of the
others, fixed words and numbers at fixed places, of which one such as "# Parity of two servers" alone says nothing.
"""

import re

from nexus_edge._outputs import FileKind

_TOOL = rb"(?:parity|verify|compare)"
_TEXT = rb'"(?:[^"\\]|\\.)*"'  # of JSON
_SPACE = rb"\s*"


def _mark(*parts: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"\A" + b"".join(parts))


def _words(*parts: bytes) -> re.Pattern[bytes]:
    """Of JSON: white space may stand between the parts."""
    return _mark(_SPACE.join(parts))


def _either(*marks: re.Pattern[bytes]) -> re.Pattern[bytes]:
    return re.compile(b"|".join(mark.pattern for mark in marks))


_GITHUB = _mark(
    rb"(?:::(?:error|warning|notice) file=[^\n]*,line=1,title=" + _TOOL + rb"[^\n]*::[^\n]*\n)*",
    rb"::notice title=" + _TOOL + rb" of [^\n]*%3A [^\n]*::",
)
_GITLAB = _either(
    re.compile(rb"\A\[\]\s*\Z"),  # of a clean bundle; of somebody else's, nothing is lost
    _words(
        rb"\[", rb"\{", rb'"description":', rb'"' + _TOOL + rb' of (?:[^"\\]|\\.)*",',
        rb'"check_name":', rb'"' + _TOOL + rb'/(?:[^"\\]|\\.)*",', rb'"fingerprint":', rb'"[0-9a-f]{64}",',
    ),
)  # fmt: skip
_SARIF = _words(
    rb"\{", rb'"\$schema":', _TEXT + rb",", rb'"version":', rb'"2\.1\.0",', rb'"runs":', rb"\[", rb"\{", rb'"tool":',
    rb"\{", rb'"driver":', rb"\{", rb'"name":', rb'"nexus-edge",',
)  # fmt: skip
_JUNIT = _mark(
    rb"<\?xml version='1\.0' encoding='[^'\n]*'\?>\n",
    rb'<testsuites name="' + _TOOL + rb' of [^"]*" tests="\d+" failures="\d+" errors="0" time="[\d.]+">\s*',
    rb'<testsuite name="[^"]*" tests="\d+" failures="\d+" errors="0" skipped="\d+" time="[\d.]+" ',
    rb'timestamp="[^"]*" id="0">\s*<properties>\s*<property name="verdict" ',
)
_MARKDOWN = _either(
    _mark(
        rb"# Parity of [^\n]+: [a-z ]+\n\n(?:[^\n]+\n)+\n",
        rb"Checkpoint [^\n]*, recipe [^\n]*, targets [^\n]*, tolerances for [^\n]*, nexus-edge [^\n]*\.\n",
    ),
    _mark(
        rb"# [^\n]+ against its baseline: [a-z ]+\n\n[^\n]+\n\n",
        rb"\| measured \| baseline \| new \| change \| budget \| verdict \|\n",
    ),
    _mark(rb"# " + _TOOL + rb" of [^\n]+: refused\n```\n[^\n]+\n```\nNothing was judged\. nexus-edge "),
)
_JSON = _either(
    _words(
        rb"\{", rb'"format_version":', rb"\d+,", rb'"summary":', rb"\{", rb'"verdict":', _TEXT + rb",", rb'"rungs":',
    ),
    _words(
        rb"\{", rb'"verdict":', _TEXT + rb",", rb'"sentence":', _TEXT + rb",", rb'"same_run":', rb"(?:true|false),",
        rb'"items":',
    ),
    _words(rb"\{", rb'"tool":', rb'"' + _TOOL + rb'",', rb'"verdict":', rb'"refused",'),
)  # fmt: skip
_HTML = _mark(
    rb'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
    rb'<meta name="generator" content="nexus-edge">\n',
)

KINDS = {
    "github": FileKind("annotations", (".txt", ".log", ""), _GITHUB),
    "gitlab": FileKind("a code quality report", (".json", ""), _GITLAB),
    "sarif": FileKind("SARIF", (".sarif", ".json", ""), _SARIF),
    "junit": FileKind("JUnit XML", (".xml", ""), _JUNIT),
    "markdown": FileKind("Markdown", (".md", ".markdown", ".txt", ""), _MARKDOWN),
    "json": FileKind("a report in JSON", (".json", ""), _JSON),
    "html": FileKind("HTML", (".html", ".htm", ""), _HTML),
}
"""Of the formats of `formats.py`, and of the report with plots, which is HTML."""
