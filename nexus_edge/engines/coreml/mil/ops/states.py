"""Tensors that live from call to call."""

from dataclasses import dataclass

from nexus_edge.engines.coreml.mil.registry import Array, operator


@dataclass
class Slot:
    """A state while a function runs."""

    value: Array


@operator("read_state")
def read_state(input: Slot) -> Array:
    return input.value


@operator("write_state")
def write_state(input: Slot, data: Array) -> None:
    if data.shape != input.value.shape:
        raise ValueError(f"{list(data.shape)} written to a state of {list(input.value.shape)}")
    input.value = data
