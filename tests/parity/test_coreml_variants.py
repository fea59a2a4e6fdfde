"""What an app runs instead of a tower's first function: images, short texts, and the packages for iOS 17."""

from collections.abc import Callable

import numpy as np
import pytest
from mutations import rehash
from PIL import Image

from nexus_edge import processing
from nexus_edge.bundle import Bundle
from nexus_edge.engines.coreml.mil import MilModel
from nexus_edge.engines.coreml.probe.images import ImageStage
from nexus_edge.engines.probes import runner_of
from nexus_edge.errors import ParityError
from nexus_edge.parity import ladder
from nexus_edge.parity.ladder import prepare
from nexus_edge.parity.report.report import CARRIED, Rung

pytestmark = pytest.mark.slow

Copy = Callable[[Bundle], Bundle]
LAYERS = {"image_encoder": 6, "text_encoder": 3}


def p3(bundle: Bundle) -> Rung:
    (rung,) = ladder.run(prepare(bundle, "tiny"), ("P3",)).rungs
    return rung


def test_every_function_of_every_package_is_judged_layer_by_layer(coreml_dual: Bundle) -> None:
    rung = p3(coreml_dual)
    assert rung.status == "passed"
    judged = {(check.stage, check.layer) for check in rung.checks if check.gate is not None}
    graphs = coreml_dual.manifest.graphs["coreml"]
    assert {"image_encoder.image", "image_encoder_ios17", "text_encoder.tokens_32", "text_encoder_ios17"} <= set(graphs)
    for graph in graphs:
        kind = next(name for name in LAYERS if graph.startswith(name))
        assert {(graph, layer) for layer in (*range(LAYERS[kind]), None)} <= judged
    # What the short function has no room for is said, and is not its failure.
    assert any(note.startswith("text_encoder.tokens_32, a text that is cut: not run") for note in rung.notes)


def test_a_normalization_of_another_model_is_seen(coreml_dual: Bundle, copy_of: Copy) -> None:
    from coremltools.proto import Model_pb2

    bundle = copy_of(coreml_dual)
    path = bundle.graph("coreml", "image_encoder_ios17")
    model = Model_pb2.Model()
    model.ParseFromString(path.read_bytes())
    (block,) = model.mlProgram.functions["main"].block_specializations.values()
    scaled = next(operation for operation in block.operations if operation.type == "mul")
    scaled.type = "add"
    path.write_bytes(model.SerializeToString())
    failed = {check.stage.removesuffix(CARRIED) for check in p3(rehash(bundle)).checks if check.status == "failed"}
    assert failed == {"image_encoder_ios17"}


def test_pixels_become_the_image_that_they_were_made_of(coreml_dual: Bundle) -> None:
    folder, size = coreml_dual.root / "coreml", processing.dual_from_checkpoint(coreml_dual.root).image_size
    image = np.random.default_rng(3).integers(0, 256, (size, size, 3), np.uint8)
    image[0, : 256 // 3, 0] = np.arange(256)[: 256 // 3]
    pixels = processing.dual_from_checkpoint(coreml_dual.root).images([Image.fromarray(image)])
    stage = runner_of("coreml").open(coreml_dual.graph("coreml", "image_encoder"), "image_encoder.image")
    found = ImageStage(stage, coreml_dual).run({"pixel_values": pixels})["image_embeds"]
    function = MilModel.open(folder / "image_encoder.mlpackage").functions["image"]
    np.testing.assert_array_equal(found, function.run({"image": image}, precision="fp16")["image_embeds"])
    with pytest.raises(ParityError, match="the pixels are not those of an image with the bundle's mean and deviation"):
        ImageStage(stage, coreml_dual).run({"pixel_values": pixels + np.float32(0.005)})
