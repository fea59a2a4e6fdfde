"""The names by which exporter and ladder find the same layer."""

import pytest

from nexus_edge.bundle.layer_names import is_layer, layer_around, layer_of_output, output_of

BERT = "text.transformer.encoder.layer"


@pytest.mark.parametrize(
    "layer",
    ["model.layers.11", "visual.trunk.blocks.11", f"{BERT}.11", "a.vision_model.encoder.layers.11", "a.resblocks.11"],
)
def test_a_layer_and_what_leaves_it(layer: str) -> None:
    assert is_layer(layer)
    assert layer_of_output(output_of(layer)) == 11
    assert layer_around(layer) == layer_around(f"{layer}.attn.qkv.weight") == layer_around(output_of(layer)) == 11


@pytest.mark.parametrize("name", [f"{BERT}.3.attention.output", f"{BERT}.3.output.dense", "visual.trunk.norm", BERT])
def test_what_is_inside_or_outside_is_no_layer(name: str) -> None:
    """BERT calls modules inside of a layer `output`, too."""
    assert not is_layer(name)
    assert layer_of_output(name) is None


def test_what_lies_in_no_layer() -> None:
    assert layer_around("visual.trunk.norm.weight") is None
    assert layer_around("text.proj.0.weight") is None
