"""torch.onnx lists the operators of ONNX anew for each graph that it exports: a second, and there are nine hundred."""

from functools import cache
from typing import Any

import pytest
from torch.onnx._internal.exporter._registration import ONNXRegistry


def list_once(patch: pytest.MonkeyPatch) -> None:
    """Have every export take a copy of the same list; an export adds its own operators to it."""
    listed = cache(ONNXRegistry.from_torchlib)

    def copy(*arguments: Any, **options: Any) -> ONNXRegistry:
        whole, registry = listed(*arguments, **options), ONNXRegistry()
        registry._opset_version = whole._opset_version
        registry.functions = {name: list(forms) for name, forms in whole.functions.items()}
        return registry

    patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(copy))
