"""The names of activations are read where torch is not installed, and every one has its function."""

from nexus_edge.layers.activations import ACTIVATIONS
from nexus_edge.layers.params import ACTIVATION_NAMES


def test_every_name_has_a_function() -> None:
    assert set(ACTIVATION_NAMES) == set(ACTIVATIONS)
