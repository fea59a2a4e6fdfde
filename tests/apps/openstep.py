"""Reads the property lists of Xcode projects (the OpenStep format), as far as they use it."""

import re
from typing import Any

_TOKEN = re.compile(r'\s+|//[^\n]*|/\*.*?\*/|(?P<text>"(?:\\.|[^"\\])*"|[\w./$:@-]+)|(?P<sign>[{}()=;,])', re.DOTALL)


def parse(source: str) -> dict[str, Any]:
    """Dictionaries, lists and strings; ValueError for anything else."""
    tokens, place = [], 0
    while place < len(source):
        match = _TOKEN.match(source, place)
        if match is None:
            raise ValueError(f"not a property list at {source[place : place + 40]!r}")
        if token := match["text"] or match["sign"]:
            tokens.append(token)
        place = match.end()
    tokens.reverse()
    value = _value(tokens)
    if tokens or not isinstance(value, dict):
        raise ValueError("a property list is one dictionary")
    return value


def _value(tokens: list[str]) -> Any:
    token = tokens.pop()
    if token == "{":
        table = {}
        while tokens[-1] != "}":
            key = _text(tokens.pop())
            _expect(tokens, "=")
            table[key] = _value(tokens)
            _expect(tokens, ";")
        tokens.pop()
        return table
    if token == "(":
        items = []
        while tokens[-1] != ")":
            items.append(_value(tokens))
            _expect(tokens, ",")
        tokens.pop()
        return items
    return _text(token)


def _text(token: str) -> str:
    if token in "{}()=;,":
        raise ValueError(f"{token} where a value should be")
    return (
        re.sub(r"\\(.)", lambda match: {"n": "\n"}.get(match[1], match[1]), token[1:-1]) if token[0] == '"' else token
    )


def _expect(tokens: list[str], sign: str) -> None:
    if tokens.pop() != sign:
        raise ValueError(f"{sign} is missing")
