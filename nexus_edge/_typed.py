"""Typed values out of parsed JSON or TOML; every complaint names the file, the place in it and the field.

msgspec converts. Its own messages know neither keys of tables (`$.graphs[...].file`) nor misspelt words, so a value is
held against its type here first. Types are dataclasses and msgspec structs; a key that they do not have is refused.
"""

import difflib
import re
import sys
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar, cast

import msgspec
from msgspec import inspect

from nexus_edge.errors import NexusEdgeError

T = TypeVar("T")
LARGEST = 2**63  # what msgspec and numpy take of an integer
_PLAIN_KEY = re.compile(r"[\w-]+")


def suggest(word: str, known: Iterable[str]) -> str:
    """The end of an error message: the nearest known word, or all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(names)}"


def read(value: Any, kind: type[T], where: str, error: type[NexusEdgeError]) -> T:
    """The value as a dataclass or struct.

    Args:
        value: of a JSON or TOML text
        kind: the class; constraints are `msgspec.Meta`, whose description ends the sentence "x is not ..."
        where: the file, or the place in it that the value comes from
        error: what to raise

    Raises:
        error: one line that names the first field that is missing, unknown or wrong.
    """
    _check(value, _info(cast(Hashable, kind)), _Field(where, "", error))
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as reason:  # of a class's own `__post_init__`
        raise error(f"{where}: {reason}") from reason


def choose(word: str, known: Iterable[str], where: str, error: type[NexusEdgeError]) -> str:
    """The word, if it is a known one; raises `error` with the nearest."""
    names = tuple(known)
    if word not in names:
        raise error(f"{where} = {word!r}{suggest(word, names)}")
    return word


@dataclass(frozen=True)
class _Field:
    """A field: `name` in the table at `table`; the name of a whole file is empty."""

    table: str
    name: str
    error: type[NexusEdgeError]

    @property
    def path(self) -> str:
        return f"{self.table}: {self.name}" if self.name else self.table

    def inner(self, name: str) -> "_Field":
        """A field of the table that this one is."""
        return _Field(self.path, name, self.error)

    def entry(self, key: Any) -> "_Field":
        """An item of the list that this field is, or an entry of its mapping."""
        plain = isinstance(key, str) and _PLAIN_KEY.fullmatch(key) is not None
        return _Field(self.table, f"{self.name}.{key}" if plain else f"{self.name}[{key!r:.80}]", self.error)

    def wrong(self, expected: str, value: Any) -> NexusEdgeError:
        return self.error(f"{self.path} must be {expected}, not {_kind(value)} {value!r:.60}")

    def no_table(self, value: Any) -> NexusEdgeError:
        return self.error(f"{self.path}: must be a table, not {_kind(value)}")


@cache
def _info(kind: Any) -> inspect.Type:
    return inspect.type_info(kind)


def _check(value: Any, kind: inspect.Type, field: _Field) -> None:
    """Raise the field's error unless the value is of this type."""
    match kind:
        case inspect.AnyType():
            return
        case inspect.Metadata(type=inner, extra_json_schema=schema):
            _check_described(value, inner, schema or {}, field)
        case inspect.UnionType(types=types):
            _check_union(value, types, field)
        case inspect.StructType() | inspect.DataclassType():
            _check_fields(value, kind, field)
        case inspect.DictType(key_type=key_type, value_type=value_type):
            if not isinstance(value, dict):
                raise field.no_table(value)
            for key, item in value.items():
                _check(key, key_type, field)
                _check(item, value_type, field.entry(key))
        case inspect.VarTupleType(item_type=item_type, min_length=least):
            plain = isinstance(item_type, inspect.StrType | inspect.FloatType)
            if not isinstance(value, list | tuple) or (plain and not all(_is(item, item_type) for item in value)):
                raise field.wrong(_words(kind), value)
            if least is not None and len(value) < least:
                raise field.error(f"{field.path}: has {len(value)} items; it must have at least {least}")
            for index, item in enumerate(value):
                _check(item, item_type, field.entry(index))
        case inspect.TupleType(item_types=item_types):
            if not isinstance(value, list | tuple) or len(value) != len(item_types):
                raise field.wrong(_words(kind), value)
            for index, (item, item_type) in enumerate(zip(value, item_types, strict=True)):
                _check(item, item_type, field.entry(index))
        case inspect.LiteralType(values=values):
            if not isinstance(value, str):
                raise field.wrong("a string", value)
            choose(value, map(str, values), field.path, field.error)
        case _:
            if not _is(value, kind):
                raise field.wrong(_words(kind), value)


def _check_described(value: Any, kind: inspect.Type, schema: Mapping[str, Any], field: _Field) -> None:
    if isinstance(kind, inspect.StrType) and kind.pattern and isinstance(value, str) and not _is(value, kind):
        raise field.error(f"{field.path} {value!r:.80} is not {schema['description']}")
    _check(value, kind, field)
    if "enum" in schema:
        choose(value, schema["enum"], field.path, field.error)


def _check_union(value: Any, types: tuple[inspect.Type, ...], field: _Field) -> None:
    if value is None and any(isinstance(kind, inspect.NoneType) for kind in types):
        return
    kinds = [kind for kind in types if not isinstance(kind, inspect.NoneType)]
    structs = {kind.tag: kind for kind in kinds if isinstance(kind, inspect.StructType)}
    if len(kinds) == 1:
        _check(value, kinds[0], field)
    elif structs:
        tag_field = str(next(iter(structs.values())).tag_field)
        if not isinstance(value, dict):
            raise field.no_table(value)
        if tag_field not in value:
            raise field.error(f"{field.path}: {tag_field} is missing")
        choose(str(value[tag_field]), map(str, structs), field.inner(tag_field).path, field.error)
        _check_fields(value, structs[value[tag_field]], field)
    elif isinstance(value, list) and (lists := [kind for kind in kinds if isinstance(kind, inspect.VarTupleType)]):
        _check(value, lists[0], field)
    elif not any(_is(value, kind) for kind in kinds if not isinstance(kind, inspect.VarTupleType)):
        raise field.wrong(_words(inspect.UnionType(tuple(kinds))), value)


def _check_fields(value: Any, kind: inspect.StructType | inspect.DataclassType, field: _Field) -> None:
    if not isinstance(value, dict):
        raise field.no_table(value)
    tagged = {kind.tag_field: kind.tag} if isinstance(kind, inspect.StructType) and kind.tag_field else {}
    fields = {item.encode_name: item for item in kind.fields}
    for key in value:
        if key not in fields and key not in tagged:
            raise field.error(f"{field.path}: unknown key {key!r}{suggest(str(key), fields)}")
    for name, tag in tagged.items():
        if value.get(name) != tag:
            raise field.error(f"{field.path}: {name} must be {tag!r}, not {value.get(name)!r:.60}")
    for name, item in fields.items():
        if name in value:
            _check(value[name], item.type, field.inner(name))
        elif item.required:
            raise field.error(f"{field.path}: {name} is missing")


def _is(value: Any, kind: inspect.Type) -> bool:
    """Whether a value is of a type without parts; true and false are no numbers, none is infinite or beyond 64 bits."""
    match kind:
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.StrType(pattern=pattern, max_length=most):
            fits = isinstance(value, str) and (most is None or len(value) <= most)
            return fits and (pattern is None or re.search(pattern, value) is not None)
        case inspect.IntType():
            return type(value) is int and abs(value) < LARGEST and _in_range(value, kind)
        case inspect.FloatType():
            return type(value) in (int, float) and abs(value) <= sys.float_info.max and _in_range(value, kind)
        case inspect.Metadata(type=inner):
            return _is(value, inner)
    raise AssertionError(f"this does not know {kind}")


def _in_range(value: float, kind: inspect.IntType | inspect.FloatType) -> bool:
    high_enough = (kind.ge is None or value >= kind.ge) and (kind.gt is None or value > kind.gt)
    return high_enough and (kind.le is None or value <= kind.le)


def _words(kind: inspect.Type) -> str:
    """A type as the end of "must be ..."."""
    match kind:
        case inspect.BoolType():
            return "true or false"
        case inspect.StrType() | inspect.LiteralType():
            return "a string"
        case inspect.IntType() | inspect.FloatType():
            return f"a{' whole' if isinstance(kind, inspect.IntType) else ''} number{_limits(kind)}"
        case inspect.Metadata(type=inner):
            return _words(inner)
        case inspect.UnionType(types=types):
            return " or ".join(map(_words, types))
        case inspect.VarTupleType(item_type=item_type):
            return f"a list of {_plural(item_type)}"
        case inspect.TupleType(item_types=item_types):
            return f"{len(item_types)} {_plural(item_types[0])}"
    return "a table"


def _limits(kind: inspect.IntType | inspect.FloatType) -> str:
    signs = ((">=", kind.ge), (">", kind.gt), ("<=", kind.le))
    limits = [f"{sign} {value:g}" for sign, value in signs if value is not None]
    return f" {' and '.join(limits)}" if limits else ""


def _plural(kind: inspect.Type) -> str:
    match kind:
        case inspect.Metadata(type=inner):
            return _plural(inner)
        case inspect.StrType() | inspect.LiteralType():
            return "strings"
        case inspect.IntType() | inspect.FloatType():
            return f"{'whole ' if isinstance(kind, inspect.IntType) else ''}numbers{_limits(kind)}"
        case inspect.UnionType(types=types):
            return " or ".join(map(_plural, types))
        case inspect.VarTupleType() | inspect.TupleType():
            return "lists"
    return "tables"


def _kind(value: Any) -> str:
    return "null" if value is None else f"a {type(value).__name__}"
