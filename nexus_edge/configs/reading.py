"""From a parsed configuration to the numbers of a family: what all families ask first, and how they refuse."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from nexus_edge.configs.keys import Rules, check_keys_of
from nexus_edge.configs.values import check_multiple, count
from nexus_edge.errors import CheckpointError

Params = TypeVar("Params")


def read_params(
    config: Mapping[str, Any],
    model_type: str,
    rules: Rules,
    read: Callable[[Mapping[str, Any]], Params],
    source: str = "config.json",
) -> Params:
    """The numbers of a family.

    Args:
        config: the parsed file
        model_type: that it must have
        rules: of its keys
        read: from the file to the numbers; KeyError, TypeError and ValueError say what is wrong with it
        source: the file, for messages

    Raises:
        CheckpointError: a key is missing, or not known, or holds what this model cannot be built from
    """
    if config.get("model_type") != model_type:
        raise CheckpointError(f"config.json: model_type is {config.get('model_type')!r}, expected {model_type!r}")
    check_keys_of(config, rules, source)
    try:
        return read(config)
    except KeyError as error:
        raise CheckpointError(f"{source}: missing key {error.args[0]!r}") from error
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{source}: {error}") from error


def read_heads(
    values: Mapping[str, Any], hidden_size: int | None = None, num_heads: int | None = None
) -> tuple[int, int, int]:
    """Width of a decoder, its heads, and its heads of keys and values, in transformers' spelling.

    Args:
        values: the parsed object
        hidden_size, num_heads: where the keys are absent; None: they must be there

    Raises:
        KeyError, ValueError: one is missing, or they do not divide each other
    """
    hidden = count(values, "hidden_size", hidden_size)
    heads = count(values, "num_attention_heads", num_heads)
    kv_heads = count(values, "num_key_value_heads", heads)
    check_multiple("hidden_size", hidden, "num_attention_heads", heads)
    check_multiple("num_attention_heads", heads, "num_key_value_heads", kv_heads)
    return hidden, heads, kv_heads
