"""Calibration: which channels are large, and a bundle that can still be compared with its checkpoint."""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nexus_edge._resources import calibration_dir
from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import FolderCheckpoint, load_tensors, open_checkpoint
from nexus_edge.errors import RecipeError
from nexus_edge.interfaces.weights import WeightSource
from nexus_edge.models import from_checkpoint
from nexus_edge.models.loading import build_empty, weights_of
from nexus_edge.parity import ladder
from nexus_edge.pipeline.calibration import (
    FILE,
    TOKENS,
    as_quantized,
    decoder_linears,
    measure,
    prepare,
    token_ids,
)
from nexus_edge.pipeline.export import export
from nexus_edge.recipe import Recipe, find_recipe

pytestmark = pytest.mark.slow


def silent(step: str, share: float) -> None: ...


@pytest.fixture(scope="module")
def tiny() -> FolderCheckpoint:
    checkpoint = open_checkpoint("tiny", find_recipe("phi3-vision", "int4").checkpoint)
    assert isinstance(checkpoint, FolderCheckpoint)
    return checkpoint


@pytest.fixture(scope="module")
def weights(tiny: FolderCheckpoint) -> WeightSource:
    return weights_of(tiny)


def test_the_activations_are_those_of_the_whole_model(
    tiny: FolderCheckpoint, weights: WeightSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, inputs = from_checkpoint(tiny.folder), dict[str, Tensor]()

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor]], None]:
        return lambda _module, given: inputs.update({name: given[0][0]})

    for name in decoder_linears(model):
        model.get_submodule(name).register_forward_pre_hook(hook(name))
    ids = torch.arange(40)[None] % 30 + 3
    monkeypatch.setattr("nexus_edge.pipeline.calibration.token_ids", lambda checkpoint, text: ids)
    found = measure(weights, "general", silent)
    with torch.inference_mode():
        model(ids)
    layers = tiny.config["num_hidden_layers"]
    assert len(found) == 4 * layers and found.keys() == inputs.keys()
    for name, x in inputs.items():
        assert torch.allclose(found[name].mean, x.abs().mean(0), rtol=1e-5), name  # sums in another order
        assert torch.allclose(found[name].square, (x**2).mean(0), rtol=1e-5), name


def test_importance_is_that_of_what_reaches_the_equalized_weight(
    tiny: FolderCheckpoint, weights: WeightSource, tmp_path: Path
) -> None:
    recipe, found = find_recipe("phi3-vision", "int4"), measure(weights, "general", silent)
    prepared = prepare(weights, build_empty(tiny), recipe, tmp_path, silent)
    exponents = load_tensors(tmp_path / FILE)
    assert len(prepared.importance) == len(found) and len(exponents) == 3 * tiny.config["num_hidden_layers"]
    for name, seen in found.items():
        divided = seen.square
        if f"{name}.weight" in exponents:
            divided = seen.square / 4.0 ** torch.from_numpy(exponents[f"{name}.weight"].astype("float32"))
        assert torch.equal(prepared.importance[f"{name}.weight"], divided), name


def test_a_text_gives_many_different_tokens(tiny: FolderCheckpoint) -> None:
    ids = token_ids(tiny, "general")
    assert ids.shape[0] == 1 and 200 < ids.shape[1] <= TOKENS
    assert len(ids.unique()) > 50


def test_stored_weights_are_compared_with_what_was_rounded(tiny_bundle: Bundle) -> None:
    assert ladder.run(ladder.prepare(tiny_bundle), ["P4"]).verdict == "passed"
    files = {name: info for name, info in tiny_bundle.manifest.files.items() if name != FILE}
    forgotten = replace(tiny_bundle, manifest=replace(tiny_bundle.manifest, files=files))
    # Wrong weights are told where no layer fits into memory; right ones alone do not pass.
    report = ladder.run(ladder.prepare(forgotten, max_memory=1), ["P4"])
    assert report.verdict == "rejected"
    (rung,) = report.rungs
    assert rung.first_failure is not None and rung.first_failure.stage == "decoder weights"
    assert rung.notes[-1].startswith("only weights: one layer in float32")
    assert ladder.run(ladder.prepare(tiny_bundle, max_memory=1), ["P4"]).verdict == "not run"


def test_only_a_calibrated_bundle_has_exponents(
    weights: WeightSource, tiny_bundle: Bundle, golden_bundle: Callable[..., Bundle]
) -> None:
    assert any(exponents.any() for exponents in load_tensors(tiny_bundle.file(FILE)).values())
    plain = golden_bundle("int8")
    assert FILE not in plain.manifest.files
    assert as_quantized(plain, weights) is weights


def test_graphs_without_decoder_layers_cannot_be_calibrated(tiny: FolderCheckpoint, tmp_path: Path) -> None:
    recipe = find_recipe("phi3-vision", "int4")
    vision = replace(recipe.graphs["vision_encoder"], calibration="general")
    wrong: Recipe = replace(recipe, graphs={**recipe.graphs, "vision_encoder": vision})
    with pytest.raises(RecipeError, match="vision_encoder: has no decoder layers"):
        export(tiny, wrong, tmp_path / "out", parity=False)
    assert not (tmp_path / "out").exists()


def test_each_text_has_a_source_and_a_licence() -> None:
    rows = (calibration_dir() / "README.md").read_text("utf-8").splitlines()
    for text in calibration_dir().glob("*.txt"):
        (row,) = (row for row in rows if row.startswith(f"| `{text.stem}` |"))
        *_, source, licence, digest = (cell.strip() for cell in row.strip("|").split("|"))
        assert source and licence and digest == f"`{sha256(text.read_bytes()).hexdigest()}`"
