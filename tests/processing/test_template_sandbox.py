"""Templates that attack: each ends in one line that names the file, soon and in little memory."""

import json
import re
import subprocess
import sys
import time

import pytest

from nexus_edge.errors import CheckpointError
from nexus_edge.processing.templates import budget
from nexus_edge.processing.templates.budget import SECONDS, Budget
from nexus_edge.processing.templates.sandbox import FailedError, RefusedError, Sandbox
from nexus_edge.processing.templates.source import TemplateSource

MESSAGES = [{"role": "user", "content": "Hi"}]


def render(template: str) -> str:
    return Sandbox(TemplateSource(template, "template.jinja")).render({"messages": MESSAGES}, Budget())


LOOP = "{% for i in range(90000) %}"
DOUBLING = "{% set ns = namespace(x=X) %}" + LOOP + "{% set ns.x = Y %}{% endfor %}{{ ns.x }}"
TOO_MUCH = {
    "loops in loops": LOOP * 6 + "x" + "{% endfor %}" * 6,
    "loops that write nothing": LOOP * 6 + "{% endfor %}" * 6,
    "a text doubled": DOUBLING.replace("X", "'a'").replace("Y", "ns.x + ns.x"),
    "a text doubled by ~": DOUBLING.replace("X", "'a'").replace("Y", "ns.x ~ ns.x"),
    "a text doubled by replace": DOUBLING.replace("X", "'aa'").replace("Y", "ns.x.replace('a', 'aa')"),
    "a text doubled by the filter replace": DOUBLING.replace("X", "'aa'").replace("Y", "ns.x | replace('a', 'aa')"),
    "a text doubled by join": DOUBLING.replace("X", "'aa'").replace("Y", "[ns.x, ns.x] | join"),
    "a text doubled by its method join": DOUBLING.replace("X", "'aa'").replace("Y", "ns.x.join([ns.x, ns.x])"),
    "a text doubled by escapes": DOUBLING.replace("X", "'<'").replace("Y", "ns.x | string | tojson | tojson"),
    "a text doubled in a block": "{% set ns = namespace(x='a') %}" + LOOP
    + "{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = y %}{% endfor %}",
    "a list doubled": DOUBLING.replace("X", "[1]").replace("Y", "ns.x + ns.x"),
    "a list of itself": DOUBLING.replace("X", "[1]").replace("Y", "[ns.x, ns.x]"),
    "an object of itself": DOUBLING.replace("X", "{}").replace("Y", "{'a': ns.x, 'b': ns.x}"),
    "an object of itself by dict": DOUBLING.replace("X", "{}").replace("Y", "dict(a=ns.x, b=ns.x)"),
    "a long text": "{{ 'a' * 10**9 }}",
    "a long list": "{{ [1] * 1000000000 }}",
    "many characters": "{{ ('abc' * 60000) * 90000 }}",
    "a large number": DOUBLING.replace("X", "10").replace("Y", "ns.x * ns.x"),
    "static text in a loop": LOOP + "y" * 5000 + "{% endfor %}",
    "static text in a macro": "{% macro m() %}" + "y" * 9000 + "{% endmacro %}" + LOOP
    + "{% set x = m() %}{% endfor %}",
    "macros that call each other": "{% macro m(n) %}{{ m(n + 1) ~ m(n + 1) }}{% endmacro %}{{ m(0) }}",
    "macros that call often": "{% macro m(n) %}{% if n < 40 %}{{ m(n + 1) }}{{ m(n + 1) }}{% endif %}{% endmacro %}"
    "{{ m(0) }}",
    "a wide indent": "{{ 'a\nb' | indent(2000000000) }}",
    "split and list": "{% set x = 'a ' * 90000 %}{% set y = x * 2 ~ x * 2 %}{{ y.split(' ') }}",
}  # fmt: skip


@pytest.mark.parametrize("name", TOO_MUCH)
def test_a_template_that_takes_too_much_ends(name: str) -> None:
    started = time.monotonic()
    with pytest.raises(CheckpointError, match=r"^template.jinja (takes (more than \d|a |an )|calls itself)") as caught:
        render(TOO_MUCH[name])
    assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 2 * SECONDS  # one operation may be under way when the time is over


MEASURED = """
import json, resource, sys
from nexus_edge.errors import CheckpointError
from nexus_edge.processing.templates import budget
from nexus_edge.processing.templates.budget import Budget
from nexus_edge.processing.templates.sandbox import Sandbox
from nexus_edge.processing.templates.source import TemplateSource
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for template in json.load(sys.stdin):
    try:
        Sandbox(TemplateSource(template, "")).render({"messages": []}, Budget())
    except CheckpointError:
        continue
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_template_that_takes_too_much_takes_little_memory() -> None:
    """All but those that only take long."""
    large = [template for name, template in TOO_MUCH.items() if not name.startswith(("loops", "macros"))]
    run = [sys.executable, "-c", MEASURED]
    ended = subprocess.run(run, input=json.dumps(large), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    # 64 million characters are 64 MB as long as they are ASCII, as here, and are copied once when they are joined.
    assert int(ended.stdout) < 200_000


def test_time_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "SECONDS", 0.05)
    with pytest.raises(CheckpointError, match=r"template.jinja takes more than 0.05 seconds"):
        render("{% for i in range(90000) %}{{ i }}{% endfor %}")


FORBIDDEN = {
    "classes": "{{ ''.__class__.__mro__ }}",
    "classes by item": "{{ ''['__class__'] }}",
    "classes by a made name": "{{ messages['__cl' ~ 'ass__'].__init__ }}",
    "classes by map": "{{ [''] | map(attribute='__class__') | list }}",
    "globals of a function": "{{ raise_exception.__globals__ }}",
    "globals by item": "{{ range['__globals__'] }}",
    "attr": "{{ '' | attr('__class__') }}",
    "format": "{{ '{0.__class__}'.format('') }}",
    "a width in format": "{{ '{:>2000000000}'.format(1) }}",
    "format_map": "{{ '{x:>2000000000}'.format_map({'x': 1}) }}",
    "a width in %": "{{ '%2000000000d' % 1 }}",
    "a width in a filter": "{{ '%2000000000d' | format(1) }}",
    "center": "{{ 'a'.center(2000000000) }}",
    "the filter center": "{{ 'a' | center(2000000000) }}",
    "ljust": "{{ 'a'.ljust(2000000000) }}",
    "zfill": "{{ 'a'.zfill(2000000000) }}",
    "a width in strftime": "{{ strftime_now('%2000000000d') }}",
    "append": "{% set x = messages.append(1) %}",
    "pop": "{{ messages[0].pop('role') }}",
    "update": "{{ messages[0].update(role='x') }}",
    "a frame": "{{ (messages | map('upper')).gi_frame }}",
    "an environment": "{{ self._TemplateReference__context.environment }}",
    "a macro's function": "{% macro m() %}{% endmacro %}{{ m._func }}",
    "self": "{{ self }}",
    "a namespace written out": "{{ namespace(a=1) }}",
    "a namespace in a filter": "{{ namespace(a=1) | upper }}",
    "a namespace in a list": "{{ [namespace(a=1)] }}",
    "a namespace of internals": "{{ namespace(__class__=1) }}",
    "an internal set": "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
    "include": "{% include '/etc/passwd' %}",
    "import": "{% import '/etc/passwd' as x %}",
    "from": "{% from '/etc/passwd' import x %}",
    "extends": "{% extends '/etc/passwd' %}",
    "a recursive loop": "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "autoescape": "{% autoescape true %}{% endautoescape %}",
    "lipsum": "{{ lipsum(n=100000) }}",
    "cycler": "{{ cycler('a').next.__globals__ }}",
    "a power": "{{ 9 ** 9 ** 9 }}",
    "round": "{{ 1.5 | round(2000000000, 'ceil') }}",
    "batch": "{{ [1] | batch(2000000000, 0) | list }}",
    "sum": "{{ [[1], [2]] | sum(start=[]) }}",
    "a JSON indent": "{{ [1] | tojson(indent=2000000000) }}",
    "a trans block": "{% trans %}x{% endtrans %}",
    "an import of Python": "{{ __import__('os') }}",
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_reaches_out_is_refused(name: str) -> None:
    """In an error of one line, or it is as if it were not there, as Jinja has it for what it calls unsafe."""
    try:
        text = render(FORBIDDEN[name])
    except (CheckpointError, FailedError) as error:
        assert "\n" not in str(error)
        assert str(error).startswith("template.jinja") or "is undefined" in str(error)
    else:
        assert text in ("", "[Undefined]")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for m in messages %}\n{{ m.content }", r"template.jinja, line 2: "),
        ("\n\n{{ x | shout }}", r"template.jinja, line 3: No filter named 'shout'"),
        ("\n{% include 'x' %}", r"template.jinja, line 2: include is not for chat templates"),
        ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "nests too deep"),
        ("{{ " + " + ".join(["1"] * 5000) + " }}", "nests too deep"),
        ("{% if 1 %}" * 3000 + "{% endif %}" * 3000, "nests too deep"),
        ("{{ " + "9" * 5000 + " }}", "number too large"),
        ("x" * 100_001, "has more than 100,000 characters"),
        ("{% break %}", "cannot be compiled"),
    ],
)
def test_what_is_no_template_is_refused_with_its_line(template: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        render(template)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ strftime_now('%Y-%m-%d') }}", r"20\d\d-\d\d-\d\d"),
        ("{{ [{'a': '<é\"'}] | tojson }}", r'\[{"a": "<é\\""}\]'),
        ("{{ {'a': 1} | tojson(indent=2) }}", r'{\n  "a": 1\n}'),
        ("{% if 1 %}\n  x\n{% endif %}\n", "  x\n"),
        ("{% generation %}a{% endgeneration %}{% set ns = namespace(n=1) %}{{ ns.n + 1 }}", "a2"),
        ("{% for m in messages %}{% continue %}x{% endfor %}{{ messages | length }}", "1"),
        ("{{ '%s: %d' % ('a', 2) }}{{ 'a' ~ 1 ~ none }}{{ nothing }}", "a: 2a1None"),
        ("{% for x in 'ab' %}{{ loop.index }}{{ loop.last }}{{ loop.length }};{% endfor %}", "1False2;2True2;"),
        ("{{ 'a,b'.split(',') | map('upper') | join('-') }}{{ '\n' | replace('\n', 'n') }}", "A-Bn"),
        ("{{ [{'k': 1}, {'k': 2}] | selectattr('k', '>', 1) | map(attribute='k') | list }}", r"\[2\]"),
        ("{{ messages[0] | items | list }}", r"\[\('role', 'user'\), \('content', 'Hi'\)\]"),
        ("{% macro m(x, y='z') %}{{ x }}{{ y }}{{ caller() if caller else '' }}{% endmacro %}{{ m(1) }}"
         "{% call m(2) %}c{% endcall %}", "1z2zc"),
        ("{{ [1, 2] + [3] }}{{ messages[1:] }}{{ messages[-1].role }}{{ messages[0].get('x', 'y') }}",
         r"\[1, 2, 3\]\[\]usery"),
        ("{{ 'a\nb' | indent(2) }}|{{ '<' | e }}{{ '=' * 3 }}", r"a\n  b\|&lt;==="),
    ],
)  # fmt: skip
def test_what_templates_use_is_there(template: str, text: str) -> None:
    assert re.fullmatch(text, render(template))


def test_a_template_refuses_in_its_own_words() -> None:
    with pytest.raises(RefusedError, match=r"^only me$"):
        render("{{ raise_exception('only me') }}")


def test_messages_are_not_changed_by_a_template() -> None:
    render("{% set messages = messages + [1] %}{% for m in messages %}{% set m = 2 %}{% endfor %}")
    assert MESSAGES == [{"role": "user", "content": "Hi"}]
