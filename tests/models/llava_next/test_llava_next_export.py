"""LLaVA-NeXT as a bundle: the runtime answers as transformers did, and the ladder proves what was exported."""

import json
from pathlib import Path

import numpy as np
import pytest

from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import FolderCheckpoint, SafetensorsFile
from nexus_edge.errors import RecipeError
from nexus_edge.models.llava_next.host import LlavaNextHost
from nexus_edge.pipeline.export import export
from nexus_edge.recipe import find_recipe
from nexus_edge.runtimes import VLM, EngineOptions, load_vlm
from nexus_edge.runtimes.vlm.context import Context, Tokens
from nexus_edge.runtimes.vlm.image_cache import ImageCache

pytestmark = pytest.mark.slow

TINY = Path(__file__).parents[2] / "golden" / "llava_next_tiny"
CASES = {case["name"]: case for case in json.loads((TINY / "cases.json").read_text())["cases"]}
NOISE = 1e-5  # of the largest logit: float32 sums in another order, as for the other families; 1.2e-6 was measured


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> VLM:
    """The recorded weights in float32, exported and loaded."""
    out = tmp_path_factory.mktemp("llava") / "fp32"
    export(FolderCheckpoint(TINY), find_recipe("llava-next", "fp32"), out, parity=False)
    return load_vlm(out, EngineOptions(threads=1))


def prompt_of(vlm: VLM, name: str, images: list[str] | None = None) -> Tokens:
    files = [TINY / image for image in images or CASES[name]["images"]]
    prompt = vlm.host.prompt(vlm.processor(CASES[name]["text"], files))
    return Tokens.of_prompt(prompt, ImageCache(vlm.engine, vlm.host).encode(prompt.images), vlm.host.positions)


@pytest.mark.parametrize("name", CASES)
def test_greedy_steps_of_the_original(vlm: VLM, name: str) -> None:
    outputs = SafetensorsFile(TINY / "outputs.safetensors")
    recorded, ids = (np.asarray(outputs.read(f"{name}.decode_{what}"))[0] for what in ("logits", "ids"))
    context = Context(vlm.engine.decoder(), vlm.host)
    found = [context.load(prompt_of(vlm, name))[0].copy(), *(context.append(int(id_)).copy() for id_ in ids[:-1])]
    np.testing.assert_allclose(found, recorded, rtol=0, atol=NOISE * np.abs(recorded).max())
    assert np.argmax(found, axis=-1).tolist() == ids.tolist()


def test_another_image_of_the_same_size_is_not_taken_for_the_first(vlm: VLM, tmp_path: Path) -> None:
    """All image tokens have one id; only the images' content tells the prompts apart."""
    from PIL import Image, ImageOps

    with Image.open(TINY / CASES["square"]["images"][0]) as image:
        ImageOps.invert(image.convert("RGB")).save(tmp_path / "other.png")
    first, second = prompt_of(vlm, "square"), prompt_of(vlm, "square", [str(tmp_path / "other.png")])
    np.testing.assert_array_equal(first.ids, second.ids)
    used, fresh = (Context(vlm.engine.decoder(), vlm.host) for _ in range(2))
    used.load(first)
    logits, reused = used.load(second)
    assert reused == int(np.flatnonzero(first.is_image)[0])
    np.testing.assert_allclose(logits, fresh.load(second)[0], rtol=0, atol=NOISE * np.abs(logits).max())


def test_an_image_token_in_an_answer_is_text(vlm: VLM) -> None:
    """No training keeps a model from saying it; transformers embeds it as any other."""
    host = vlm.host
    assert isinstance(host, LlavaNextHost)
    found = vlm.engine.decoder().embed(np.array([host.image_token]))
    table = SafetensorsFile(TINY / "model.safetensors").read("language_model.model.embed_tokens.weight")
    np.testing.assert_array_equal(found[0], np.asarray(table)[host.image_token])


@pytest.mark.parametrize("scheme", ["int4", "fp32"])
def test_the_ladder_holds(scheme: str, tmp_path: Path) -> None:
    manifest = export(FolderCheckpoint(TINY), find_recipe("llava-next", scheme), tmp_path / "out")
    assert manifest.parity is not None and manifest.parity["verdict"] == "passed"
    assert manifest.parity["rungs"].keys() == {f"P{number}" for number in range(6)}, "none was left out"
    assert Bundle.open(tmp_path / "out", check="sha256").manifest.rejection is None


@pytest.mark.parametrize(("target", "message"), [("coreml", "Core ML"), ("openvino", "openvino")])
def test_targets_that_it_lacks_are_refused_before_anything_is_written(
    target: str, message: str, tmp_path: Path
) -> None:
    recipe = find_recipe("llava-next", "int4").with_targets((target,))
    with pytest.raises(RecipeError, match=f"LLaVA-NeXT has no .*{message}"):
        export(FolderCheckpoint(TINY), recipe, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
