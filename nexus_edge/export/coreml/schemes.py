"""Which systems can load a model's weights as compressed constants."""

from torch import nn

from nexus_edge.quant.linear import QuantEmbedding, QuantLinear

IOS_BLOCKS = 18
"""Constants in blocks, states, several functions in a package, attention as one op."""

IOS_ROWS = 17
"""The oldest system that anything here is written for; it has one scale per output channel."""


def oldest_ios(root: nn.Module) -> int:
    """The oldest major version that can hold every quantized layer of a module."""
    return max((_oldest(module) for module in root.modules()), default=IOS_ROWS)


def _oldest(module: nn.Module) -> int:
    if isinstance(module, QuantLinear):
        return IOS_ROWS if module.scheme.is_float or module.scheme.per_channel else IOS_BLOCKS
    if isinstance(module, QuantEmbedding):
        return IOS_ROWS if module.scheme.bits >= 8 else IOS_BLOCKS
    return IOS_ROWS
