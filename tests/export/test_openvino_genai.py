"""OpenVINO GenAI, the real package, runs the `openvino/` folder of a bundle as it is."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino as ov
import openvino_genai as genai
import pytest
from PIL import Image

from nexus_edge.assets.heldout import held_out_questions
from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import open_checkpoint, tiny_folder
from nexus_edge.pipeline.export import export
from nexus_edge.recipe import find_recipe
from nexus_edge.runtimes import VLM, EngineOptions, load

pytestmark = pytest.mark.slow

STEPS = 40


@pytest.fixture(scope="module", params=["PA", "SDPA"])
def answer(request: pytest.FixtureRequest, tiny_openvino: Bundle) -> Callable[..., str]:
    """GenAI's greedy answer with each of its attention backends, paged and stateful."""
    pipeline = genai.VLMPipeline(
        tiny_openvino.root / "openvino",
        "CPU",
        ATTENTION_BACKEND=request.param,
        INFERENCE_PRECISION_HINT="f32",
        KV_CACHE_PRECISION="f32",
    )
    config = pipeline.get_generation_config()
    config.max_new_tokens = STEPS

    def make(prompt: str, *pixels: np.ndarray) -> str:
        images = [ov.Tensor(image[None]) for image in pixels]
        text: str = pipeline.generate(prompt, images=images, generation_config=config).texts[0]
        return text

    return make


@pytest.fixture(scope="module")
def ours(tiny_openvino: Bundle) -> VLM:
    """ONNX Runtime with the same numbers."""
    return load(tiny_openvino, EngineOptions(threads=1, engine="onnx"))


def test_text_alone(answer: Callable[..., str], ours: VLM) -> None:
    for question in ("What is shown in this picture?", "Where is the red circle?"):
        assert answer(question) == "".join(ours.generate(question, max_new_tokens=STEPS))


def test_images_in_their_own_size(answer: Callable[..., str], ours: VLM) -> None:
    """The held-out images fit one crop, where only the global view's scaling differs from the original's."""
    for item in held_out_questions(8):
        image = np.asarray(Image.open(item.image).convert("RGB"))
        assert answer(item.question, image) == "".join(ours.generate(item.question, [item.image], max_new_tokens=STEPS))


def test_ids_of_its_tokenizer(tiny_openvino: Bundle, ours: VLM) -> None:
    tokenizer = genai.Tokenizer(tiny_openvino.root / "openvino")
    for text in ("<|user|>\nWhat is shown?<|end|>\n<|assistant|>\n", " two  spaces", "é 字 🙂", "<s>bos"):
        ids = tokenizer.encode(text).input_ids.data[0].tolist()
        assert ids == ours.processor.encode(text)
        plain = [id_ for id_ in ids if id_ < 600]
        assert tokenizer.decode(plain) == ours.processor.decode(plain)


def test_config_names_the_stop_tokens(tiny_openvino: Bundle, ours: VLM) -> None:
    config = genai.GenerationConfig(Path(tiny_openvino.root) / "openvino" / "generation_config.json")
    assert config.stop_token_ids == set(ours.processor.stop_ids)


@pytest.fixture(scope="module")
def global_view_first(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The embedded checkpoint with the other order of the HD layout, and at most two crops; without parity."""
    folder = tmp_path_factory.mktemp("glb_sub")
    shutil.copytree(tiny_folder(), folder / "checkpoint", ignore=lambda _, names: [n for n in names if n == "heldout"])
    for name, change in {
        "config.json": lambda it: it["embd_layer"].update(hd_transform_order="glb_sub"),
        "preprocessor_config.json": lambda it: it.update(num_crops=2),
    }.items():
        config = json.loads((folder / "checkpoint" / name).read_text("utf-8"))
        change(config)
        (folder / "checkpoint" / name).write_text(json.dumps(config), "utf-8")
    recipe = find_recipe("phi3-vision", "int4").with_targets(("openvino", "onnx"))
    export(open_checkpoint(str(folder / "checkpoint"), recipe.checkpoint), recipe, folder / "bundle", parity=False)
    return Bundle.open(folder / "bundle")


def test_the_global_view_first(global_view_first: Bundle) -> None:
    """VLMPipeline lays crops out first; two images side by side, 672 x 336, are two crops that nobody resizes."""
    pipeline = genai.VLMPipeline(
        global_view_first.root / "openvino", "CPU", INFERENCE_PRECISION_HINT="f32", KV_CACHE_PRECISION="f32"
    )
    config = pipeline.get_generation_config()
    config.max_new_tokens = STEPS
    ours = load(global_view_first, EngineOptions(threads=1, engine="onnx"))
    items, question = held_out_questions(24), "What is shown in this picture?"
    for start in (5, 7, 20, 22):  # in the other order the answers to these are different ones
        halves = [np.asarray(Image.open(item.image).convert("RGB").resize((336, 336))) for item in items[start:][:2]]
        image = np.concatenate(halves, axis=1)
        found = pipeline.generate(question, images=[ov.Tensor(image[None])], generation_config=config).texts[0]
        assert found == "".join(ours.generate(question, [Image.fromarray(image)], max_new_tokens=STEPS))
