"""What happens between Phi-3-Vision's graphs, and folders whose separators are damaged."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nexus_edge.bundle import TensorSpec
from nexus_edge.errors import BundleError
from nexus_edge.interfaces.graph import Interface
from nexus_edge.models.phi3_v.host import ClientHost, GraphHost, StaticHost, make_host

WIDTH = 8
PIXELS = TensorSpec("pixel_values", "float32", ("crops", 3, 336, 336))
CLIENT = {
    "vision_embeddings": Interface((PIXELS,), ()),
    "vision_projection": Interface((TensorSpec("input", "float32", ("batch", "tokens", WIDTH)),), ()),
}
SEPARATORS = {"sub_GN": [[[[0.5] * WIDTH]]], "glb_GN": [[[0.25] * WIDTH]]}


def crops(count: int, separators: str) -> Interface:
    outputs = (TensorSpec("features", "float16", (count * 144, 4)), TensorSpec(separators, "float16", (2, 4)))
    return Interface((TensorSpec("pixel_values", "float32", (count, 3, 336, 336)),), outputs)


def test_the_graphs_say_which_host_they_need(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SEPARATORS))
    whole = Interface((PIXELS, TensorSpec("image_sizes", "int64", ("images", 2))), ())
    assert isinstance(make_host({}, {"vision_encoder": whole}, tmp_path), GraphHost)
    assert isinstance(make_host({}, CLIENT, tmp_path), ClientHost)
    static = {"vision_encoder": crops(1, "separators"), "vision_encoder.crops_4": crops(4, "separators")}
    made = make_host({}, static, tmp_path)
    assert isinstance(made, StaticHost)
    assert made.graphs == {1: "vision_encoder", 4: "vision_encoder.crops_4"}


def test_graphs_that_take_no_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="take no images as Phi-3-Vision does"):
        make_host({}, {"decoder": Interface((TensorSpec("inputs_embeds", "float32", (1, 1, 4)),), ())}, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sub_GN": [0.5] * (WIDTH - 1)}, "sub_GN has 7 numbers, and vision_projection takes 8"),
        ({"glb_GN": [0.5] * (WIDTH + 1)}, "glb_GN has 9 numbers"),
        ({"glb_GN": [[0.5] * WIDTH, [0.5]]}, "lacks glb_GN"),
        ({"sub_GN": None}, "sub_GN has 1 numbers"),
        ({"sub_GN": ["x"] * WIDTH}, "lacks sub_GN"),
        ({"sub_GN": [float("nan")] * WIDTH}, "takes 8 finite ones"),
    ],
)
def test_damaged_separators_are_one_line_that_names_the_file(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SEPARATORS | change))
    with pytest.raises(BundleError, match=message) as caught:
        make_host({}, CLIENT, tmp_path)
    assert str(tmp_path / "config.json") in str(caught.value) and "\n" not in str(caught.value)


def test_crops_run_a_few_at_a_time_and_are_laid_out_in_order(tmp_path: Path) -> None:
    """Six crops of one number each: the layout has the crops of a row side by side, a separator after each row, the
    other one between crops and global view."""
    (tmp_path / "config.json").write_text(json.dumps(SEPARATORS))
    host = make_host({}, CLIENT, tmp_path)
    pixels = np.arange(7, dtype=np.float32)[None, :, None, None, None] * np.ones((1, 1, 3, 336, 336), np.float32)
    (image,) = host.images({"pixel_values": np.pad(pixels, ((0, 0), (0, 3), (0, 0), (0, 0), (0, 0))),
                            "image_sizes": np.array([[672, 1008]])})  # fmt: skip
    assert host.views(image) == 7
    sizes: list[int] = []

    def run(graph: str, inputs: Any) -> dict[str, np.ndarray]:
        if graph == "vision_projection":
            return {"last_hidden_state": inputs["input"]}
        sizes.append(len(inputs["pixel_values"]))
        return {"last_hidden_state": np.ones((1, 576, WIDTH // 4), np.float32) * inputs["pixel_values"][:, 0, :1, :1]}

    rows = host.encode(run, image)
    assert sizes == [4, 3]
    first = [1.0] * 12 + [2.0] * 12 + [3.0] * 12 + [0.5]
    last = [0.0] * 12 + [0.5]
    second = [4.0] * 12 + [5.0] * 12 + [6.0] * 12 + [0.5]
    assert rows[:, 0].tolist() == first * 12 + second * 12 + [0.25] + last * 12
