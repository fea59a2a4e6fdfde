"""The two towers of BiomedCLIP as graphs: together they are the model, apart they need nothing of each other."""

import golden_biomedclip
import pytest
import torch

from nexus_edge.families import family_named
from nexus_edge.interfaces.graph import GraphSpec
from nexus_edge.targets.tracing import dynamic_shapes, example

NOISE = 5e-6  # of a unit vector's length: float32 sums in another order, see tests/models/test_biomedclip_stages.py
SPLIT = family_named("biomedclip").split()


@pytest.fixture(scope="module")
def specs() -> dict[str, GraphSpec]:
    return {spec.name: spec for spec in SPLIT.graphs(golden_biomedclip.model())}


def test_the_cosines_of_both_outputs_are_the_model(specs: dict[str, GraphSpec]) -> None:
    model, pixels, ids = golden_biomedclip.model(), golden_biomedclip.pixel_values()[:3], golden_biomedclip.text_ids()
    with torch.inference_mode():
        images, texts = specs["image_encoder"].module(pixels), specs["text_encoder"].module(ids)
        expected = model(pixels, ids)
    for vectors in (images, texts):
        assert (vectors.norm(dim=-1) - 1).abs().max() <= NOISE
    assert (images @ texts.T * model.logit_scale.exp() - expected).abs().max() <= NOISE * model.logit_scale.exp()


def test_names_and_shapes(specs: dict[str, GraphSpec]) -> None:
    image, text = specs["image_encoder"], specs["text_encoder"]
    assert SPLIT.names == tuple(specs) == ("image_encoder", "text_encoder")
    described = [
        [(tensor.name, tensor.dtype, tensor.shape) for tensor in tensors]
        for tensors in (image.inputs, image.outputs, text.inputs, text.outputs)
    ]
    assert described == [
        [("pixel_values", "float32", ("batch", 3, 224, 224))],
        [("image_embeds", "float32", ("batch", 48))],
        [("input_ids", "int64", ("batch", "tokens"))],
        [("text_embeds", "float32", ("batch", 48))],
    ]


def test_each_weight_belongs_to_the_tower_that_uses_it(exported: dict[str, torch.export.ExportedProgram]) -> None:
    every = dict(golden_biomedclip.model().named_parameters())
    owned: set[str] = set()
    for name, program in exported.items():
        used = used_parameters(program)
        assert used == {key for key in every if key != "logit_scale" and SPLIT.owner(key) == name}
        owned |= used
    assert every.keys() - owned == {"logit_scale"}  # of which the manifest keeps the exponential


def used_parameters(program: torch.export.ExportedProgram) -> set[str]:
    """The parameters that the graph computes with, by their names in the model."""
    names = program.graph_signature.inputs_to_parameters
    nodes = [node for node in program.graph.nodes if node.op == "placeholder" and node.users]
    return {names[node.name].removeprefix("root.") for node in nodes if node.name in names}


@pytest.mark.parametrize(("count", "tokens"), [(1, 1), (2, 11), (13, 256), (1, 512)])
def test_one_exported_text_tower_takes_any_number_of_texts_and_tokens(
    count: int, tokens: int, specs: dict[str, GraphSpec], exported: dict[str, torch.export.ExportedProgram]
) -> None:
    ids = golden_biomedclip.text_ids().repeat(1, 2)[:count, :tokens]
    with torch.inference_mode():
        actual, expected = exported["text_encoder"].module()(ids), specs["text_encoder"].module(ids)
    assert (actual - expected).abs().max() <= NOISE


def test_one_exported_image_tower_takes_any_number_of_images(
    specs: dict[str, GraphSpec], exported: dict[str, torch.export.ExportedProgram]
) -> None:
    for count in (1, 2, 5):
        pixels = golden_biomedclip.pixel_values()[:count]
        with torch.inference_mode():
            actual, expected = exported["image_encoder"].module()(pixels), specs["image_encoder"].module(pixels)
        assert (actual - expected).abs().max() <= NOISE


@pytest.fixture(scope="module")
def exported(specs: dict[str, GraphSpec]) -> dict[str, torch.export.ExportedProgram]:
    """Both graphs through torch.export, from an example of two rows of five tokens."""
    sizes = {"batch": 2, "tokens": 5}
    return {
        name: torch.export.export(
            spec.module,
            tuple(torch.zeros(value.shape, dtype=value.dtype) for value in example(spec, sizes)),
            dynamic_shapes=dynamic_shapes(spec),
        )
        for name, spec in specs.items()
    }
