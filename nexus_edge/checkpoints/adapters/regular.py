"""Regular expressions of an adapter's configuration, matched in time that is bounded.

Python's `re` goes back and tries again, which takes 2^n steps for expressions such as "(([a-z.])*)*X", whoever wrote
them. Here an expression gives the set of all places where a match can end, for a set of those where it begins. A name
of n characters has n + 1 places, and each group is computed once for each, so time grows with a power of n, however
groups are nested.
Source of the method: K. Thompson, Regular Expression Search Algorithm, CACM 11 (1968). Only whether something matches
is asked for, so greed makes no difference. What needs more than a set of places is refused: references to groups,
possessive repetitions, atomic groups, conditions; so are flags inside the expression.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from itertools import accumulate

Places = frozenset[int]
Node = Callable[[str, Places], Places]

NESTED = 20  # groups in each other at most: each takes some frames of Python's stack
REPEATED = 1000  # times at most, for a number in braces
_QUANTIFIER = re.compile(r"(?:([*+?])|\{(\d*)(,?)(\d*)\})(\??)")
_GROUP = re.compile(r"\((?:\?(?:(:)|P<\w+>|(<?)([=!])))?")
_CHARACTER = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]|\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\[^\d]|[^\\()|]", re.DOTALL)
_REFUSED = "what nexus-edge does not match in bounded time"


@lru_cache(1024)
def parsed(expression: str) -> Node:
    """Raises ValueError: it is no regular expression, or has what is not matched here."""
    depths = accumulate((character == "(") - (character == ")") for character in expression)
    if max(depths, default=0) > NESTED:
        raise ValueError(f"{expression!r:.60} has more than {NESTED} groups in each other")
    try:
        re.compile(expression)
        node, rest = _either(expression, expression)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{expression!r:.60} is no regular expression: {error}") from error
    if rest:
        raise ValueError(f"{expression!r:.60} has {_REFUSED}: {rest!r:.20}")
    return node


def ends(expression: str, text: str, begins: Places = frozenset({0})) -> Places:
    """Where the expression's matches end that begin at some of the places."""
    return parsed(expression)(text, begins)


def _either(rest: str, whole: str) -> tuple[Node, str]:
    """Alternatives, up to the end or a closing parenthesis."""
    ways = []
    while True:
        parts: list[Node] = []
        while rest and rest[0] not in "|)":
            node, rest = _repeated(rest, whole)
            parts.append(node)
        ways.append(tuple(parts))
        if not rest.startswith("|"):
            return lambda text, begins: frozenset().union(*(_in_turn(way, text, begins) for way in ways)), rest
        rest = rest[1:]


def _in_turn(parts: tuple[Node, ...], text: str, places: Places) -> Places:
    for part in parts:
        places = part(text, places)
    return places


def _repeated(rest: str, whole: str) -> tuple[Node, str]:
    node, rest = _remembered(*_group(rest, whole)) if rest[0] == "(" else _single(rest, whole)
    found = _QUANTIFIER.match(rest)
    if found is None or found[0].startswith("{}"):  # `re` takes these braces as characters
        return node, rest
    sign, least, comma, most, _ = found.groups()
    rest = rest[found.end() :]
    low = {"*": 0, "+": 1, "?": 0}[sign] if sign else int(least or 0)
    high = 1 if sign == "?" else None if sign or (comma and not most) else int(most if comma else least)
    if rest[:1] in ("+", "*") or max(low, high or 0) > REPEATED:
        raise ValueError(f"{whole!r:.60} has {_REFUSED}: {found[0]}{rest[:1]}")
    return lambda text, begins: _times(node, low, high, text, begins), rest


def _remembered(node: Node, rest: str) -> tuple[Node, str]:
    """Each place is computed once, so groups in groups cost no more than one beside the other."""

    @lru_cache(8192)
    def of(text: str, place: int) -> Places:
        return node(text, frozenset({place}))

    return lambda text, begins: frozenset().union(*(of(text, begin) for begin in begins)), rest


def _times(node: Node, low: int, high: int | None, text: str, begins: Places) -> Places:
    for _ in range(low):
        before, begins = begins, node(text, begins)
        if begins == before:
            break
    reached, new, count = begins, begins, low
    while new and (high is None or count < high):  # each round reaches a new place, or is the last
        new = node(text, new) - reached
        reached, count = reached | new, count + 1
    return reached


def _group(rest: str, whole: str) -> tuple[Node, str]:
    found = _GROUP.match(rest)
    if found is None or rest[found.end() :].startswith("?"):
        raise ValueError(f"{whole!r:.60} has {_REFUSED}: {rest:.4}")
    node, rest = _either(rest[found.end() :], whole)
    behind, sign = found[2], found[3]
    rest = rest.removeprefix(")")
    if not sign:
        return node, rest

    def look(text: str, begins: Places) -> Places:
        def there(place: int) -> bool:
            if behind:
                return any(place in node(text, frozenset({begin})) for begin in range(place + 1))
            return bool(node(text, frozenset({place})))

        return frozenset(place for place in begins if there(place) == (sign == "="))

    return look, rest


def _single(rest: str, whole: str) -> tuple[Node, str]:
    """One character, or none where it says something of a place: `re` itself cannot take long for these."""
    found = _CHARACTER.match(rest)
    if found is None:
        raise ValueError(f"{whole!r:.60} has {_REFUSED}: {rest:.4}")
    one = re.compile(found[0])

    def node(text: str, begins: Places) -> Places:
        return frozenset(match.end() for begin in begins if (match := one.match(text, begin)))

    return node, rest[found.end() :]
