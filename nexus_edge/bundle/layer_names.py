"""Where a layer ends in a bundle's graphs: the exporter names the value that leaves it, and the ladder finds it again.

A layer is a module whose name ends in `.layers.N`, `.blocks.N`, `.layer.N` or `.resblocks.N`: the spellings of Phi-3
and transformers' CLIP, of timm, of BERT, and of OpenAI's CLIP. Needs nothing but names, so that a device can ask too.
"""

import re

ENDING = ".output"
_LIST = r"\.(?:layers|blocks|layer|resblocks)\.(\d+)"
_LAYER = re.compile(rf"{_LIST}$")
_OUTPUT = re.compile(rf"{_LIST}{re.escape(ENDING)}$")
_INSIDE = re.compile(rf"{_LIST}(?:\.|$)")


def is_layer(module: str) -> bool:
    """True for `visual.trunk.blocks.3`, not for anything inside of it."""
    return _LAYER.search(module) is not None


def output_of(layer: str) -> str:
    """The name of the value that leaves the layer: `visual.trunk.blocks.3.output`."""
    return layer + ENDING


def layer_of_output(value: str) -> int | None:
    """3 for `visual.trunk.blocks.3.output`; None for a value that leaves no layer."""
    match = _OUTPUT.search(value)
    return None if match is None else int(match.group(1))


def layer_around(name: str) -> int | None:
    """3 for `visual.trunk.blocks.3` and whatever lies in it; None for what lies in no layer."""
    match = _INSIDE.search(name)
    return None if match is None else int(match.group(1))


def part_of(parameter: str) -> str:
    """`visual.trunk.blocks.3` for whatever lies in that layer; the module's name for what lies in no layer."""
    match = _INSIDE.search(parameter)
    return parameter.rpartition(".")[0] if match is None else parameter[: match.end()].rstrip(".")
