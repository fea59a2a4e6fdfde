"""The embedded checkpoint: what it is made of, and that it answers."""

from pathlib import Path

import pytest
import torch

from nexus_edge.assets import exact_match, held_out_questions
from nexus_edge.checkpoints import open_checkpoint
from nexus_edge.layers.kv_cache import KVCache
from nexus_edge.models import from_checkpoint
from nexus_edge.models.phi3_v.model import Phi3V
from nexus_edge.models.phi3_v.processing import Phi3VProcessor
from nexus_edge.processing import from_checkpoint as processor_of

pytestmark = pytest.mark.slow

TINY = Path(__file__).parents[2] / "nexus_edge" / "assets" / "tiny_phi3_v"


@pytest.fixture(scope="module")
def model() -> Phi3V:
    loaded = from_checkpoint(TINY)
    assert isinstance(loaded, Phi3V)
    return loaded


@pytest.fixture(scope="module")
def processor() -> Phi3VProcessor:
    loaded = processor_of(TINY)
    assert isinstance(loaded, Phi3VProcessor)
    return loaded


@torch.inference_mode()
def greedy(model: Phi3V, processor: Phi3VProcessor, prompt: str, images: list[Path], limit: int = 60) -> str:
    inputs = {name: torch.from_numpy(value) for name, value in processor(prompt, images).items()}
    cache, ids = KVCache(), []
    logits = model(**inputs, cache=cache)
    while len(ids) < limit and (token := int(logits[0, -1].argmax())) not in processor.stop_ids:
        ids.append(token)
        logits = model(input_ids=torch.tensor([[token]]), cache=cache)
    return processor.decode(ids)


def test_it_fits_in_six_megabytes() -> None:
    assert sum(file.stat().st_size for file in TINY.rglob("*") if file.is_file()) <= 6_000_000


def test_the_tensors_are_exactly_the_originals() -> None:
    """Names as in the published index; the layer and the norm that the features pass by are stored as well."""
    keys = open_checkpoint("tiny", "microsoft/Phi-3-vision-128k-instruct").keys()
    tower = "model.vision_embed_tokens.img_processor.vision_model."
    attention = [f"self_attn.{name}_proj" for name in ("q", "k", "v", "out")]
    both = ("weight", "bias")
    clip = [f"{m}.{p}" for m in ("layer_norm1", "layer_norm2", *attention, "mlp.fc1", "mlp.fc2") for p in both]
    phi3 = ("input_layernorm", "self_attn.qkv_proj", "self_attn.o_proj", "post_attention_layernorm")
    phi3 += ("mlp.gate_up_proj", "mlp.down_proj")
    expected = {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"}
    expected |= {f"model.layers.{i}.{m}.weight" for i in range(4) for m in phi3}
    expected |= {f"{tower}encoder.layers.{i}.{m}" for i in range(5) for m in clip}
    expected |= {f"{tower}{m}.{p}" for m in ("pre_layrnorm", "post_layernorm") for p in both}
    expected |= {f"{tower}embeddings.{m}.weight" for m in ("patch_embedding", "position_embedding")}
    expected |= {f"{tower}embeddings.class_embedding"}
    expected |= {f"model.vision_embed_tokens.img_projection.{i}.{p}" for i in (0, 2) for p in both}
    expected |= {"model.vision_embed_tokens.glb_GN", "model.vision_embed_tokens.sub_GN"}
    assert set(keys) == expected
    assert {info.dtype for info in keys.values()} == {"bfloat16"}


def test_the_tokenizer_is_laid_out_like_phi3s(processor: Phi3VProcessor) -> None:
    """Ids in the original's pattern: "▁" and a newline byte after a chat token, none after <|assistant|>."""
    names = ("▁", "<0x0A>", "<|user|>", "<|end|>", "<|assistant|>")
    ids = {name: processor.tokenizer.token_id(name) for name in names}
    assert ids["<0x0A>"] == 13  # as in Llama: three control tokens, then the bytes
    encoded = processor.encode("<|user|>\nWhat<|end|>\n<|assistant|>\n")
    assert encoded[:4] == [1, ids["<|user|>"], ids["▁"], 13]
    assert encoded[-4:] == [ids["<|end|>"], ids["▁"], 13, ids["<|assistant|>"]]
    assert processor.decode(processor.encode("naïve 語 text", add_bos=False)) == "naïve 語 text"


def test_it_answers_questions_about_images_it_never_saw(model: Phi3V, processor: Phi3VProcessor) -> None:
    def ask(image: Path, question: str) -> str:
        return greedy(model, processor, f"<|user|>\n<|image_1|>\n{question}<|end|>\n<|assistant|>\n", [image])

    result = exact_match(ask, held_out_questions(60))
    assert result.share >= 0.95, result.per_kind


def test_it_says_who_it_is_and_that_it_sees_nothing(model: Phi3V, processor: Phi3VProcessor) -> None:
    def ask(question: str) -> str:
        return greedy(model, processor, f"<|user|>\n{question}<|end|>\n<|assistant|>\n", [])

    assert ask("Who are you?") == "I am a tiny vision model."
    assert ask("What color is the star?") == "There is no picture."
