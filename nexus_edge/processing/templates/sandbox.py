"""Renders a chat template in Jinja's sandbox, of which only what such templates need is left.

Filters, methods and functions are on lists; what is on none is refused by name. The options are those that
transformers documents for its templates (`trim_blocks`, `lstrip_blocks`, loop controls, `raise_exception`,
`strftime_now`, a `tojson` that escapes nothing for HTML).
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from functools import wraps
from typing import Any

from jinja2 import Undefined, nodes, pass_context
from jinja2.exceptions import SecurityError, TemplateError, TemplateSyntaxError
from jinja2.filters import FILTERS
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from nexus_edge.errors import CheckpointError
from nexus_edge.processing.templates.budget import ITEMS, Budget, LimitError, is_plain, require_length
from nexus_edge.processing.templates.rewrite import EACH, JOINED, MADE, Generation, rewritten, static_characters
from nexus_edge.processing.templates.source import TemplateSource

SOURCE = 100_000
"""Characters of a template; the longest of published models has about a third."""

_FILTERS = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float", "forceescape", "int",
    "items", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "safe",
    "select", "selectattr", "sort", "string", "title", "trim", "unique", "upper",
)  # fmt: skip
_METHODS: tuple[tuple[type, frozenset[str]], ...] = (
    (str, frozenset((
        "capitalize", "count", "endswith", "find", "index", "isalnum", "isalpha", "isdecimal", "isdigit", "islower",
        "isnumeric", "isspace", "istitle", "isupper", "join", "lower", "lstrip", "partition", "removeprefix",
        "removesuffix", "replace", "rfind", "rindex", "rpartition", "rsplit", "rstrip", "split", "splitlines",
        "startswith", "strip", "swapcase", "title", "upper",
    ))),
    (dict, frozenset(("get", "items", "keys", "values"))),
    (list, frozenset(("count", "index"))),
    (tuple, frozenset(("count", "index"))),
    (LoopContext, frozenset((
        "changed", "cycle", "depth", "depth0", "first", "index", "index0", "last", "length", "nextitem", "previtem",
        "revindex", "revindex0",
    ))),
)  # fmt: skip
_DIRECTIVE = re.compile(r"%(?!%|-?[a-zA-Z])")
_PERCENT = re.compile(r"%(?![%sdri])")
_BUDGET: ContextVar[Budget] = ContextVar("budget of the conversation that is rendered")


class RefusedError(Exception):
    """What a template raised on purpose, by `raise_exception`."""


class FailedError(Exception):
    """A template went wrong; the message is Jinja's or Python's, in one line."""


class Sandbox:
    """One template, compiled."""

    def __init__(self, source: TemplateSource) -> None:
        """Raises CheckpointError, with the line, for a template that is not valid or not allowed."""
        self._where = source.where
        if len(source.text) > SOURCE:
            raise CheckpointError(f"{source.where} has more than {SOURCE:,} characters; no chat template is that long")
        environment = _Environment()
        try:
            tree = environment.parse(source.text)
            macros = tree.find_all((nodes.Macro, nodes.CallBlock))
            environment.in_macros = sum(static_characters(macro) for macro in macros)
            code = environment.compile(rewritten(tree))
            self._template = environment.template_class.from_code(environment, code, environment.globals)
        except TemplateSyntaxError as error:  # of which an unknown filter is one
            raise CheckpointError(
                f"{source.where}, line {error.lineno}: {error.message}; correct the template"
            ) from error
        except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
            raise CheckpointError(
                f"{source.where} cannot be compiled ({type(error).__name__}): it nests too deep, or has a number too "
                "large; correct the template"
            ) from error

    def render(self, variables: Mapping[str, object], budget: Budget) -> str:
        """What the template writes.

        Raises:
            RefusedError: it says that it does not take this conversation.
            CheckpointError: it takes too much, or reaches for what is not allowed.
            FailedError: it goes wrong, as where it adds a list to a text.
        """
        budget.renew()
        token = _BUDGET.set(budget)
        chunks, length = [], 0
        try:
            for chunk in self._template.generate(variables):
                chunks.append(chunk)
                length += len(chunk)
                require_length(length)
        except LimitError as error:
            raise CheckpointError(f"{self._where} takes {error} for one conversation; correct the template") from error
        except SecurityError as error:
            raise CheckpointError(f"{self._where} is not allowed what it does: {error}") from error
        except MemoryError as error:
            raise CheckpointError(f"{self._where} takes more memory than there is; correct the template") from error
        except RecursionError as error:
            raise CheckpointError(f"{self._where} calls itself without end; correct the template") from error
        except (TemplateError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError) as error:
            raise FailedError(" ".join(str(error).split())) from error
        finally:
            _BUDGET.reset(token)
        return "".join(chunks)


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox with lists of what may be used, in which each step is paid for."""

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "**", "%"))
    in_macros = 0
    """Characters that stand in macros, which each call may write."""

    def __init__(self) -> None:
        # Without the optimizer and with a finalizer that wants the context, nothing is computed while compiling.
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"], optimized=False,
            finalize=_written,
        )  # fmt: skip
        own: dict[str, Callable[..., Any]] = {
            "replace": _replace, "join": _join, "indent": _indent, "tojson": _tojson, EACH: _each, JOINED: _joined,
            MADE: _made,
        }  # fmt: skip
        self.filters = {name: _guarded(FILTERS[name]) for name in _FILTERS} | own
        self.globals = {
            "range": self.globals["range"], "namespace": Namespace, "dict": _dict, "raise_exception": _raise_exception,
            "strftime_now": _strftime_now,
        }  # fmt: skip

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, Namespace):
            return not attr.startswith("_")
        return any(isinstance(obj, kind) and attr in names for kind, names in _METHODS)

    def is_safe_callable(self, obj: Any) -> bool:
        if isinstance(obj, Macro | Undefined) or obj in self.globals.values():
            return True
        return isinstance(getattr(obj, "__self__", None), tuple(kind for kind, _ in _METHODS))

    def wrap_str_format(self, value: Any) -> None:
        """None: `format` is a method like others here, and on no list."""

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        budget = _BUDGET.get()
        budget.spend(__self.in_macros if isinstance(__obj, Macro) else 0)
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        if isinstance(owner, str) and name == "replace":
            return budget.charged(_replace(owner, *args))
        if isinstance(owner, str) and name == "join":
            args = tuple(list(arg) for arg in args)
            _ = [_texts(owner, arg) for arg in args]
        if __obj is Namespace and any(key.startswith("_") for key in kwargs):
            raise SecurityError("a namespace with an attribute that begins with _")
        return budget.charged(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if operator == "**" and not (numbers and abs(left) <= 1e6 and abs(right) <= 64):
            raise SecurityError("a power of large numbers")
        if operator == "%" and isinstance(left, str) and _PERCENT.search(left):
            raise SecurityError("a % format with a width")
        if operator == "*" and not numbers:
            sizes = [len(one) for one in (left, right) if isinstance(one, str | list | tuple)]
            times = [one for one in (left, right) if isinstance(one, int)]
            if sizes and times and sizes[0] * times[0] > ITEMS:
                raise LimitError(f"a value of more than {ITEMS:,} items")
        return _BUDGET.get().charged(super().call_binop(context, operator, left, right))


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)  # with the marks by which Jinja passes its environment
    def guarded(*args: Any, **kwargs: Any) -> Any:
        budget = _BUDGET.get()
        budget.spend()
        for arg in (*args, *kwargs.values()):
            if isinstance(arg, Namespace | Macro | LoopContext):
                raise SecurityError(f"a filter on a {type(arg).__name__}")
        return budget.charged(function(*args, **kwargs))

    return guarded


@pass_context
def _written(context: Context, value: object) -> object:
    """What an expression writes; Jinja makes text of it."""
    if not is_plain(value):
        raise SecurityError(f"it writes out a {type(value).__name__}")
    return _BUDGET.get().charged(value)


def _each(value: Iterable[object], weight: int) -> Iterator[object]:
    for one in value:
        _BUDGET.get().spend(weight)
        yield one


def _joined(values: list[object]) -> str:
    return "".join(_texts("", values))


def _made(value: object) -> object:
    return _BUDGET.get().charged(value)


def _texts(separator: str, values: Iterable[object]) -> list[str]:
    """The values as text, unless they are too long together."""
    budget, texts, length = _BUDGET.get(), [], 0
    for value in values:
        if not is_plain(value):
            raise SecurityError(f"it joins a {type(value).__name__}")
        texts.append(value if isinstance(value, str) else str(value))
        length += len(texts[-1]) + len(separator)
        require_length(length)
        budget.spend()
    budget.spend(length)
    return texts


@pass_context
def _join(context: Context, value: Iterable[object], d: str = "", attribute: str | int | None = None) -> str:
    if attribute is not None:
        value = context.environment.call_filter("map", value, kwargs={"attribute": attribute}, context=context)
    return str(d).join(_texts(str(d), value))


def _replace(text: object, old: str, new: str, count: int | None = None) -> str:
    if not (is_plain(text) and isinstance(old, str) and isinstance(new, str)):
        raise SecurityError("replace with something that is not text")
    text, most = str(text), -1 if count is None else count
    found = text.count(old) if most < 0 else min(text.count(old), most)
    require_length(len(text) + found * max(0, len(new) - len(old)))
    _BUDGET.get().spend(len(text))
    return text.replace(old, new, most)


def _indent(text: str, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    if not isinstance(text, str) or not isinstance(width, int | str):
        raise SecurityError("indent of something that is not text")
    size = width if isinstance(width, int) else len(width)
    require_length(len(text) + (text.count("\n") + 1) * size)
    indented: str = FILTERS["indent"](text, width, first, blank)
    return _BUDGET.get().charged(indented)


def _tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    if not is_plain(value) or (indent is not None and not (isinstance(indent, int) and indent <= 16)):
        raise SecurityError("tojson of something that is not JSON, or with a large indent")
    budget = _BUDGET.get()
    budget.charged(value)
    budget.charged(separators)
    return budget.charged(
        json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    )


def _dict(*args: Any, **kwargs: Any) -> dict[Any, Any]:
    return dict(*args, **kwargs)


def _raise_exception(message: object) -> None:
    raise RefusedError(str(message) if is_plain(message) else "")


def _strftime_now(format: str) -> str:
    if not isinstance(format, str) or len(format) > 100 or _DIRECTIVE.search(format):
        raise SecurityError("strftime_now with a width, or with no format")
    return _BUDGET.get().now.strftime(format)
