"""BiomedCLIP's towers in OpenVINO: in our runtime, and in the five lines of somebody who has openvino alone."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from safetensors.numpy import load_file

from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import open_checkpoint
from nexus_edge.recipe import find_recipe, read_recipe
from nexus_edge.runtimes import DualEncoder, EngineOptions, load_dual_encoder

GOLDEN = Path(__file__).parents[1] / "golden" / "biomedclip_tiny"
NOISE = 1e-5  # of a unit vector's length, as in test_dual_golden.py
CASES = json.loads((GOLDEN / "cases.json").read_text("utf-8"))
PICTURES = [GOLDEN / name for name in CASES["images"]]
TWO_LEVELS = """
extends = "biomedclip/int4.toml"
name = "two-levels"
[graphs.image_encoder]
scheme = "int4-g32-int8"
[graphs.text_encoder]
scheme = "int4-g16-int8"
"""
# The last recorded texts are longer than the context; open_clip cuts them without a word.
pytestmark = pytest.mark.filterwarnings("ignore::nexus_edge.runtimes.TruncatedTextWarning")


def exported(out: Path, recipe: str | Path, targets: tuple[str, ...]) -> Bundle:
    from nexus_edge.pipeline import export  # heavy

    chosen = read_recipe(recipe) if isinstance(recipe, Path) else find_recipe("biomedclip", recipe)
    export(open_checkpoint(str(GOLDEN), chosen.checkpoint), chosen.with_targets(targets), out, parity=False)
    return Bundle.open(out)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return exported(tmp_path_factory.mktemp("golden") / "fp32", "fp32", ("openvino",))


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    return load_file(GOLDEN / "outputs.safetensors")


def test_embeddings_of_open_clip(bundle: Bundle, recorded: dict[str, np.ndarray]) -> None:
    model = load_dual_encoder(bundle, EngineOptions(threads=1))
    assert np.abs(model.embed_images(PICTURES) - recorded["image_features_normalized"]).max() <= NOISE
    assert np.abs(model.embed_texts(CASES["texts"]) - recorded["text_features_normalized"]).max() <= NOISE


def test_plain_openvino(bundle: Bundle, recorded: dict[str, np.ndarray]) -> None:
    pixels = load_dual_encoder(bundle, EngineOptions(threads=1)).processor.images(PICTURES)
    compiled = ov.Core().compile_model(
        bundle.root / "openvino" / "image_encoder.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    embeds = compiled({"pixel_values": pixels})["image_embeds"]
    assert np.abs(embeds - recorded["image_features_normalized"]).max() <= NOISE


@pytest.mark.parametrize("recipe", ["int4", "int8", "two-levels"])
def test_quantized_towers(recipe: str, tmp_path: Path, recorded: dict[str, np.ndarray]) -> None:
    """Every product takes its weight in its bits, and both engines are about as far from full precision."""
    path = tmp_path / "two-levels.toml"
    path.write_text(TWO_LEVELS)
    bundle = exported(tmp_path / "bundle", path if recipe == "two-levels" else recipe, ("onnx", "openvino"))
    for graph in ("image_encoder", "text_encoder"):
        compiled = ov.Core().compile_model(bundle.graph("openvino", graph), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        nodes = compiled.get_runtime_model().get_ordered_ops()
        products = [node for node in nodes if node.get_rt_info()["layerType"].astype(str) == "FullyConnected"]
        weights = Counter(node.input(1).get_element_type().get_type_name() for node in products)
        assert weights.keys() == {"i8" if recipe == "int8" else "u4"}
    errors = {}
    for engine in ("onnx", "openvino"):
        model = load_dual_encoder(bundle, EngineOptions(threads=1, engine=engine))
        assert isinstance(model, DualEncoder)
        found = np.concatenate([model.embed_images(PICTURES), model.embed_texts(CASES["texts"])])
        names = ("image_features_normalized", "text_features_normalized")
        errors[engine] = np.sqrt(np.mean((found - np.concatenate([recorded[name] for name in names])) ** 2))
    # The same weights; one rounds activations to int8 per token, the other in groups of 32 or not at all.
    assert errors["openvino"] <= 1.25 * errors["onnx"]
