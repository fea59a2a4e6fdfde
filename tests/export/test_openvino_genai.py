"""OpenVINO GenAI, the real package, runs the `openvino/` folder of a bundle as it is."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino as ov
import openvino_genai as genai
import pytest
from PIL import Image

from nexus_edge.assets.heldout import held_out_questions
from nexus_edge.bundle import Bundle
from nexus_edge.runtimes import VLM, EngineOptions, load

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

    def make(prompt: str, *pictures: np.ndarray) -> str:
        images = [ov.Tensor(picture[None]) for picture in pictures]
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


def test_pictures_in_their_own_size(answer: Callable[..., str], ours: VLM) -> None:
    """The held-out pictures fit one crop, where only the global view's scaling differs from the original's."""
    for item in held_out_questions(8):
        picture = np.asarray(Image.open(item.picture).convert("RGB"))
        assert answer(item.question, picture) == "".join(
            ours.generate(item.question, [item.picture], max_new_tokens=STEPS)
        )


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
