"""The device that computes: one that is here, or one line that says which are."""

from pathlib import Path

import pytest
from PIL import Image

from nexus_edge.bundle import Bundle
from nexus_edge.engines.openvino.engine import OpenVinoEngine
from nexus_edge.errors import InputError
from nexus_edge.runtimes import VLM, EngineOptions, load

QUESTION = "What is shown in this picture?"


def test_one_that_is_not_here(tiny_openvino: Bundle) -> None:
    with pytest.raises(InputError, match=r"no device 'NPU' here; it has .*CPU.* and AUTO$"):
        load(tiny_openvino, EngineOptions(device="NPU"))


def test_the_device_that_openvino_chooses(tiny_openvino: Bundle) -> None:
    """For the first target of the bundle it makes no difference that none is asked for; "onnx" would be an error."""
    image = Image.new("RGB", (336, 336), "red")
    answers = []
    for options in (EngineOptions(1), EngineOptions(device="AUTO"), EngineOptions(engine="auto", device="AUTO")):
        vlm = load(tiny_openvino, options)
        assert isinstance(vlm, VLM)
        assert isinstance(vlm.engine, OpenVinoEngine)
        answers.append("".join(vlm.generate(QUESTION, [image], max_new_tokens=8)))
    assert answers[0]
    assert len(set(answers)) == 1


def test_an_engine_that_has_no_devices(tiny_openvino: Bundle) -> None:
    with pytest.raises(InputError, match="device 'AUTO' is OpenVINO's to use; leave it out, or the engine 'onnx'"):
        load(tiny_openvino, EngineOptions(engine="onnx", device="AUTO"))


def test_a_bundle_without_openvino(toy_path: Path) -> None:
    with pytest.raises(InputError, match="was exported for onnx, and device 'AUTO' takes engine 'openvino', which"):
        load(toy_path, EngineOptions(device="AUTO"))
