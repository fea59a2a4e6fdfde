"""Regular expressions in bounded time, against Python's own."""

import random
import re
import time

import pytest

from nexus_edge.checkpoints.adapters.regular import ends, parsed

SINGLE = ["a", "b", ".", r"\.", "[ab]", "[^a]", r"\d", "^", "$", r"\b", r"\w", "[]a]", r"[\]a]", "{", "1", r"\x61"]
AGAIN = ["*", "+", "?", "{2}", "{1,}", "{,2}", "{1,3}", "*?", "+?", "{,}", "{}", "{2", "{2}?", "{a}"]
NAME = "model.layers.31.self_attn.qkv_proj"


def made(source: random.Random, depth: int) -> str:
    kind = source.randrange(6) if depth else 0
    if kind == 0:
        return source.choice(SINGLE)
    first = made(source, depth - 1)
    if kind == 1:
        return first + made(source, depth - 1)
    if kind == 2:
        return f"({first}|{made(source, depth - 1)})"
    if kind == 3:
        return source.choice(["(?=", "(?!", "(?<=", "(?<!", "(?:"]) + first + ")"
    return f"(?:{first}){source.choice(AGAIN)}"


def test_the_same_as_python_for_random_expressions() -> None:
    source, compared = random.Random(0), 0
    while compared < 5000:
        expression, text = made(source, 4), "".join(source.choices("ab.1{", k=source.randrange(8)))
        try:
            expected = re.compile(expression)
        except re.error:  # lookbehind of no fixed length
            continue
        found, compared = ends(expression, text), compared + 1
        assert (len(text) in found) == (expected.fullmatch(text) is not None), (expression, text)
        assert bool(found) == (expected.match(text) is not None), (expression, text)


@pytest.mark.parametrize(
    "expression",
    [
        "(([a-z_.0-9])*)*X",
        "(a|a|.)*X",
        ".?" * 60 + "." * 60 + "X" * 9,
        ".*" * 20 + "X",
        "(" * 15 + ".?" + "){9}" * 15 + "X",
        "(?<=" + "(a|.)" * 40 + ")X",
    ],
)
def test_no_expression_takes_long(expression: str) -> None:
    """`re` needs longer than anyone waits for most of them; here each takes a small part of the limit."""
    began = time.process_time()
    assert not ends(expression, NAME * 4)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "expression", [r"(a)\1", "(?>a)", "a*+", "(?i)a", "(a)?(?(1)b)", "a{1001}", "(" * 30 + ")" * 30]
)
def test_what_is_not_matched_here(expression: str) -> None:
    with pytest.raises(ValueError, match=r"has (what nexus-edge does not match in bounded time|more than 20 groups)"):
        parsed(expression)
