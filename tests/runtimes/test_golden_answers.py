"""The exported model gives the answers that were recorded of the original, pictures and LongRoPE included."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import golden_phi3
import numpy as np
import pytest
import toy_vlm
from golden_phi3 import CASES, Case

from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import FolderCheckpoint
from nexus_edge.pipeline import export
from nexus_edge.recipe import find_recipe
from nexus_edge.runtimes import VLM, EngineOptions, load
from nexus_edge.runtimes.context import Context, Tokens
from nexus_edge.runtimes.pictures import PictureCache

NOISE = 1e-5  # of the largest logit: float32 sums in another order, as in tests/models/test_phi3_v_stages.py
GREEDY = [
    name
    for name, case in CASES.items()
    if case["config"] == "config.json" and name != "text_bf16" and "decode_ids" in Case(name).stages
]


@pytest.fixture(scope="module")
def golden_vlm(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], VLM]:
    """Golden config file -> the golden weights, exported in float32 and loaded."""
    done: dict[str, VLM] = {}

    def make(config: str) -> VLM:
        if config not in done:
            folder = tmp_path_factory.mktemp("golden")
            checkpoint = _checkpoint(folder / "checkpoint", config)
            export(checkpoint, find_recipe("phi3-vision", "fp32"), folder / "bundle", parity=False)
            done[config] = load(Bundle.open(folder / "bundle"), EngineOptions(threads=1))
        return done[config]

    return make


def _checkpoint(folder: Path, config: str) -> FolderCheckpoint:
    """With the toy tokenizer, because the goldens' own is not this project's; ids come from the goldens."""
    folder.mkdir()
    shutil.copy(golden_phi3.FOLDER / "model.safetensors", folder)
    toy_vlm.tokenizer().save(str(folder / "tokenizer.json"))
    for name, content in {
        "config.json": golden_phi3.config(config) | {"_nexus_edge_weights": "synthetic"},
        "tokenizer_config.json": {"bos_token": "<s>", "tokenizer_class": "LlamaTokenizer"},
        "preprocessor_config.json": {"num_crops": 16, "num_img_tokens": 144},
    }.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return FolderCheckpoint(folder)


def prompt_of(vlm: VLM, case: Case) -> Tokens:
    pixels, sizes = case.pixel_values, case.image_sizes
    if pixels is None or sizes is None:
        return Tokens.of_prompt(case.input_ids[0].numpy(), ())
    pictures = PictureCache(vlm.engine).encode(pixels.numpy(), sizes.numpy())
    return Tokens.of_prompt(case.input_ids[0].numpy(), pictures)


def assert_follows(context: Context, prompt: Tokens, ids: np.ndarray, recorded: np.ndarray) -> None:
    """Logits after the prompt, and after each of `ids` but the last, are the recorded ones."""
    logits = [context.load(prompt)[0].copy(), *(context.append(int(id_)).copy() for id_ in ids[:-1])]
    np.testing.assert_allclose(logits, recorded, rtol=0, atol=NOISE * np.abs(recorded).max())


@pytest.mark.parametrize("name", GREEDY)
def test_greedy_steps(golden_vlm: Callable[[str], VLM], name: str) -> None:
    case = Case(name)
    vlm = golden_vlm("config.json")
    recorded = case.stages
    context = Context(vlm.engine, vlm.limits.rope_limit)
    prompt = prompt_of(vlm, case)
    assert_follows(context, prompt, recorded["decode_ids"].numpy(), recorded["decode_logits"].numpy())


def test_crossing_the_rope_limit_equals_a_full_recompute(golden_vlm: Callable[[str], VLM]) -> None:
    case, vlm = Case("text_cross"), golden_vlm("config_omp64.json")
    assert vlm.limits.rope_limit == 64
    ids = case.stages["full_recompute_greedy_ids"].numpy()
    assert case.input_ids.shape[1] <= 64 < case.input_ids.shape[1] + len(ids) - 1
    context = Context(vlm.engine, vlm.limits.rope_limit)
    recorded = case.stages["full_recompute_greedy_logits"].numpy()
    assert_follows(context, prompt_of(vlm, case), ids, recorded)
