"""BiomedCLIP's towers in OpenVINO: in our runtime, and in the five lines of somebody who has openvino alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
import torch
from openvino_graphs import dequantized, weights_of_products
from PIL import Image
from safetensors.numpy import load_file
from torch.nn import Linear

from nexus_edge.bundle import Bundle, BundleWeights
from nexus_edge.checkpoints import open_checkpoint
from nexus_edge.engines.openvino.probe.variants import formats_of
from nexus_edge.engines.openvino.settings import OpenVinoSettings
from nexus_edge.parity.metrics import compare
from nexus_edge.parity.rounding import effect
from nexus_edge.parity.sources import load_dequantized
from nexus_edge.quant.linear import QuantLinear
from nexus_edge.recipe import find_recipe, read_recipe
from nexus_edge.runtimes import DualEncoder, EngineOptions, load_dual_encoder

GOLDEN = Path(__file__).parents[1] / "golden" / "biomedclip_tiny"
BOTH = ("onnx", "openvino")
NOISE = 1e-5  # of a unit vector's length, as in test_dual_golden.py
CASES = json.loads((GOLDEN / "cases.json").read_text("utf-8"))
IMAGES = [GOLDEN / name for name in CASES["images"]]
TWO_LEVELS = """
extends = "biomedclip/int4.toml"
name = "two-levels"
[graphs.image_encoder]
scheme = "int4-g32-int8"
[graphs.text_encoder]
scheme = "int4-g16-int8"
"""
# The last recorded texts are longer than the context; open_clip cuts them without a word.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::nexus_edge.runtimes.TruncatedTextWarning")]


def exported(out: Path, recipe: str | Path, targets: tuple[str, ...]) -> Bundle:
    from nexus_edge.pipeline.export import export  # heavy

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
    model = load_dual_encoder(bundle, EngineOptions(threads=1, openvino=OpenVinoSettings("f32", 0, "f32")))
    assert np.abs(model.embed_images(IMAGES) - recorded["image_features_normalized"]).max() <= NOISE
    assert np.abs(model.embed_texts(CASES["texts"]) - recorded["text_features_normalized"]).max() <= NOISE


def test_plain_openvino(bundle: Bundle, recorded: dict[str, np.ndarray]) -> None:
    pixels = load_dual_encoder(bundle, EngineOptions(threads=1)).processor.images(IMAGES)
    compiled = ov.Core().compile_model(
        bundle.root / "openvino" / "image_encoder.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    embeds = compiled({"pixel_values": pixels})["image_embeds"]
    assert np.abs(embeds - recorded["image_features_normalized"]).max() <= NOISE


@pytest.fixture(scope="module", params=["int4", "int8", "fp16", "two-levels"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Bundle]:
    """A recipe, and its bundle for both targets."""
    folder = tmp_path_factory.mktemp("both")
    path = folder / "two-levels.toml"
    path.write_text(TWO_LEVELS)
    recipe = path if request.param == "two-levels" else request.param
    return request.param, exported(folder / "bundle", recipe, BOTH)


def test_both_targets_hold_the_same_bytes_once(both: tuple[str, Bundle]) -> None:
    _, bundle = both
    onnx, openvino = (BundleWeights(bundle, target) for target in BOTH)
    own = {name for name in openvino.infos if name.endswith(".constants")}
    assert openvino.infos.keys() - own == onnx.infos.keys() - own
    assert all(openvino.read(name).tobytes() == onnx.read(name).tobytes() for name in openvino.infos.keys() - own)


def test_openvino_reads_the_numbers_that_torch_reads(both: tuple[str, Bundle]) -> None:
    """Exactly, but for 4 bits on two levels, where a code meets the product of its two factors, rounded once more."""
    recipe, bundle = both
    model = load_dequantized(bundle)
    tolerance = 2**-22 if recipe in ("int4", "two-levels") else 0.0
    found = {
        name.rpartition(".")[0]: matrix
        for graph in bundle.manifest.graphs["openvino"]
        for name, matrix in dequantized(ov.Core().read_model(bundle.graph("openvino", graph))).items()
    }
    layers = {name for name, layer in model.named_modules() if isinstance(layer, Linear | QuantLinear)}
    assert layers <= found.keys()
    for name in layers:
        weight = model.get_submodule(name).weight.float()
        torch.testing.assert_close(torch.from_numpy(found[name])[:, : weight.shape[1]], weight, rtol=tolerance, atol=0)


def test_weights_stay_in_their_bits(both: tuple[str, Bundle]) -> None:
    """Every product takes its weight as it is stored; float16 is widened while a graph is loaded."""
    recipe, bundle = both
    for graph in ("image_encoder", "text_encoder"):
        types = set(weights_of_products(bundle.graph("openvino", graph)))
        assert types == {{"int8": "i8", "fp16": "f32"}.get(recipe, "u4")}
        stored = {info.dtype for name, info in BundleWeights(bundle, "openvino").infos.items() if "weight" in name}
        assert ("float16" in stored) == (recipe == "fp16")


def test_as_far_from_full_precision_as_the_other_engine(
    both: tuple[str, Bundle], recorded: dict[str, np.ndarray]
) -> None:
    """Sums in bfloat16, which some CPUs take by default, would be farther than float16 weights are."""
    recipe, bundle = both
    errors = {}
    for engine in BOTH:
        settings = OpenVinoSettings("f32")
        model = load_dual_encoder(bundle, EngineOptions(threads=1, engine=engine, openvino=settings))
        assert isinstance(model, DualEncoder)
        found = np.concatenate([model.embed_images(IMAGES), model.embed_texts(CASES["texts"])])
        names = ("image_features_normalized", "text_features_normalized")
        errors[engine] = np.sqrt(np.mean((found - np.concatenate([recorded[name] for name in names])) ** 2))
    # The same weights; one rounds activations to int8 per token, the other in groups or not at all.
    assert errors["openvino"] <= 1.25 * errors["onnx"]
    assert recipe == "fp16" or errors["openvino"] > NOISE


def test_the_lines_of_the_page(both: tuple[str, Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`export/biomedclip/README.md` shows how plain OpenVINO runs the towers; it finds what our runtime finds."""
    _, bundle = both
    page = (Path(__file__).parents[2] / "export" / "biomedclip" / "README.md").read_text("utf-8")
    _, _, section = page.partition("## With plain OpenVINO")
    code = section.split("```python\n")[1].split("```")[0]
    image = tmp_path / "square.png"
    Image.open(IMAGES[0]).convert("RGB").resize((300, 300)).save(image)
    for shown, here in (("out/biomedclip-int8", str(bundle.root)), ("cell.png", str(image))):
        assert code.count(shown) == 1
        code = code.replace(shown, here)
    names: dict[str, Any] = {}
    exec(code, names)
    group = names["images"].get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE")
    precision = names["images"].get_property("INFERENCE_PRECISION_HINT").get_type_name()
    settings = OpenVinoSettings(precision, group)
    model = load_dual_encoder(bundle, EngineOptions(engine="openvino", openvino=settings))
    # The page divides and subtracts in float64: pixels differ in their last bit, and where a CPU rounds inputs to int8
    # or computes in bfloat16, that decides about whole steps of what lies between two of them.
    limits = dict(
        zip(("image", "embeds"), as_far_as_rounding_goes(bundle, settings, model, image, names["labels"]), strict=True)
    )
    for name, found in (("image", model.embed_images([image])), ("embeds", model.embed_texts(names["labels"]))):
        assert compare(names[name], found)["relative_l2"] <= limits[name], name
    assert capsys.readouterr().out.strip() == model.classify(image, names["labels"], templates=["{}"]).best


def as_far_as_rounding_goes(
    bundle: Bundle, settings: OpenVinoSettings, runtime: DualEncoder, image: Path, labels: list[str]
) -> tuple[float, float]:
    """Relative L2 between two runs with these settings: four times what it does to one, as in tolerances.toml."""
    model: Any = load_dequantized(bundle)
    pixels = torch.from_numpy(runtime.processor.images([image]))
    ids = torch.from_numpy(runtime.processor.texts(labels))

    def run() -> dict[str, np.ndarray]:
        with torch.inference_mode():
            return {"image": model.encode_image(pixels).numpy(), "text": model.encode_text(ids).numpy()}

    moved = effect(run, run(), formats_of(settings))
    image, text = (max(NOISE, 4 * moved[name]["relative_l2"]) for name in ("image", "text"))
    return image, text
