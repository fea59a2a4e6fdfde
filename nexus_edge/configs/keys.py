"""The rules that a key of a configuration can follow, and the walk that refuses keys which follow none.

A family lists every key of its files once, as data; a key that is on no list was written by a library or a fine-tune
that means something by it, so it stops the export by name instead of being ignored.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nexus_edge._typed import suggest
from nexus_edge.errors import CheckpointError

OPTION = "--ignore-config-key"
SHOWN = 6  # keys in one message


@dataclass(frozen=True)
class Read:
    """A key whose value is used.

    Attributes:
        by: what uses it, for whoever reads the list
        required: whether its absence would mean something that is not computed here
        instead: what is used where somebody leaves it out on purpose; None: leaving it out is refused
    """

    by: str
    required: bool = False
    instead: str | None = None


@dataclass(frozen=True)
class Inert:
    """A key that changes nothing that is computed here, whatever its value.

    Attributes:
        because: why
    """

    because: str


@dataclass(frozen=True)
class Only:
    """A key that would change something, and the values of it that are computed here.

    Attributes:
        allowed: these values
        because: what another value would mean, or what to do about it; ends the message
        absent: what the authors' code takes when the key is absent, where that is none of `allowed`
        same_as: another spelling of the key, beside which it has the same value
    """

    allowed: tuple[object, ...]
    because: str
    absent: object = None
    same_as: str | None = None


@dataclass(frozen=True)
class Compared:
    """A key that says what is built in, which is checked where that is known.

    Attributes:
        to: what it is compared with
    """

    to: str


@dataclass(frozen=True)
class Table:
    """A key that holds an object, whose keys follow rules of their own.

    Attributes:
        keys: these rules
        required: as for `Read`
    """

    keys: Mapping[str, "Rule"]
    required: bool = False


@dataclass(frozen=True)
class Each:
    """A key that holds objects under names that are free, each of them by the same rules."""

    keys: Mapping[str, "Rule"]


Rule = Read | Inert | Only | Compared | Table | Each
Rules = Mapping[str, Rule]


def check_keys_of(config: Mapping[str, Any], rules: Rules, where: str) -> None:
    """Refuse the keys of a parsed file that no rule covers, and values that a rule does not allow.

    A null says nothing, as everywhere in these formats, so an unknown key may be null.

    Args:
        config: the file's object
        rules: for each of its keys
        where: the file, for messages

    Raises:
        CheckpointError: one line that names the key by its full path, and says what to do.
    """
    unknown = list(_unknown(config, rules, ""))
    if unknown:
        path, hint = unknown[0]
        named = f"key {path!r}{hint}" if len(unknown) == 1 else f"keys {_listed(name for name, _ in unknown)}"
        raise CheckpointError(
            f"{where}: nexus-edge does not know the {named}; they may change what the model computes: "
            f"correct or remove them, or pass {OPTION} {path} for one that is certain to change nothing"
            if len(unknown) > 1
            else f"{where}: nexus-edge does not know the {named}; it may change what the model computes: "
            f"correct or remove it, or pass {OPTION} {path} if it is certain to change nothing"
        )
    check_values_of(config, rules, where)


def check_values_of(config: Mapping[str, Any], rules: Rules, where: str) -> None:
    """The second half of `check_keys_of`, for a reader of some of the keys: unknown ones may be there."""
    for complaint in _disallowed(config, rules, ""):
        raise CheckpointError(f"{where}: {complaint}")


def without(config: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The object without the key at a dotted path; unchanged where there is none."""
    first, _, rest = path.partition(".")
    if first not in config:
        return dict(config)
    if not rest:
        return {key: value for key, value in config.items() if key != first}
    inner = config[first]
    return {**config, first: without(inner, rest)} if isinstance(inner, dict) else dict(config)


def has(config: Mapping[str, Any], path: str) -> bool:
    """Whether the object has a key at a dotted path."""
    first, _, rest = path.partition(".")
    if first not in config or not rest:
        return first in config
    return isinstance(config[first], dict) and has(config[first], rest)


def rule_of(rules: Rules, path: str) -> Rule | None:
    """The rule for the key at a dotted path, if there is one."""
    first, _, rest = path.partition(".")
    rule = rules.get(first)
    if not rest:
        return rule
    if isinstance(rule, Table):
        return rule_of(rule.keys, rest)
    return rule_of(rule.keys, rest.partition(".")[2]) if isinstance(rule, Each) else None


def paths_of(rules: Rules, prefix: str = "") -> Iterator[tuple[str, Rule]]:
    """Every key that has a rule of its own, by its dotted path."""
    for key, rule in rules.items():
        if isinstance(rule, Table):
            yield from paths_of(rule.keys, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", rule


def _unknown(config: Mapping[str, Any], rules: Rules, prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in config.items():
        rule = rules.get(key)
        if rule is None:
            if value is not None:
                yield f"{prefix}{key}", _hint(key, rules)
            continue
        for name, table, inner in _tables(rule, key, value):
            yield from _unknown(table, inner, f"{prefix}{name}.")


def _disallowed(config: Mapping[str, Any], rules: Rules, prefix: str) -> Iterator[str]:
    for key, rule in rules.items():
        path = f"{prefix}{key}"
        if isinstance(rule, Only):
            value = config.get(key)
            if value is None and rule.absent is not None:
                yield f"{path} is absent, which means {rule.absent!r}; {_known(rule.allowed)}; {rule.because}"
            elif value is not None and not any(_same(value, allowed) for allowed in rule.allowed):
                yield f"{path} is {value!r:.60}; {_known(rule.allowed)}; {rule.because}"
            elif value is not None and rule.same_as and config.get(rule.same_as) not in (None, value):
                yield f"{path} is {value!r:.60} and {prefix}{rule.same_as} {config[rule.same_as]!r:.60}; {rule.because}"
        elif config.get(key) is None:
            if isinstance(rule, Read | Table) and rule.required:
                yield f"missing key {path!r}"
        elif isinstance(rule, Table | Each) and not isinstance(config[key], dict):
            yield f"{path} is {config[key]!r:.40}, expected an object"
        for name, table, inner in _tables(rule, key, config.get(key)):
            yield from _disallowed(table, inner, f"{prefix}{name}.")


def _tables(rule: Rule, key: str, value: object) -> Iterator[tuple[str, Mapping[str, Any], Rules]]:
    """The objects inside a value that have rules: name, object, rules."""
    if isinstance(rule, Table) and isinstance(value, dict):
        yield key, value, rule.keys
    if isinstance(rule, Each) and isinstance(value, dict):
        for name, item in value.items():
            if isinstance(item, dict):
                yield f"{key}.{name}", item, rule.keys


def _same(value: object, allowed: object) -> bool:
    """Equal, and of the same kind: in JSON, 1 is not true."""
    return value == allowed and isinstance(value, bool) == isinstance(allowed, bool)


def _known(allowed: Collection[object]) -> str:
    return "known is " + " or ".join(map(repr, allowed)) if allowed else "it must be absent"


def _hint(key: str, rules: Rules) -> str:
    hint = suggest(key, rules)
    return f" ({hint.removeprefix('; ').removesuffix('?')}?)" if hint.startswith("; did you") else ""


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more
