"""A recipe that says on which systems its Core ML packages must load."""

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("coremltools", reason="needs the extra `coreml`")

from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import open_checkpoint
from nexus_edge.engines.coreml.mil import MilModel
from nexus_edge.errors import RecipeError
from nexus_edge.parity import ladder
from nexus_edge.parity.ladder import prepare
from nexus_edge.pipeline.export import export
from nexus_edge.recipe import Recipe, find_recipe

pytestmark = pytest.mark.slow

OF_SYSTEM = {17: 8, 18: 9}  # version of the specification: iOS 17 is Core ML 7, which reads 8


def wanted(model: str, precision: str, deployment: str) -> Recipe:
    return replace(find_recipe(model, precision).with_targets(("coreml",)), deployment=deployment)


def made(recipe: Recipe, folder: Path) -> Bundle:
    export(open_checkpoint("tiny", recipe.checkpoint), recipe, folder / "bundle", parity=False)
    return Bundle.open(folder / "bundle")


def test_ios_17_is_one_package_per_tower_that_passes_the_ladder(tmp_path: Path) -> None:
    bundle = made(wanted("biomedclip", "int8", "iOS17"), tmp_path)
    packages = sorted((bundle.root / "coreml").glob("*.mlpackage"))
    assert [path.stem for path in packages] == ["image_encoder", "text_encoder"]
    assert {MilModel.open(path).specification for path in packages} == {OF_SYSTEM[17]}
    report = ladder.run(prepare(bundle, "tiny"), ("P0", "P3", "P5"))
    assert [rung.status for rung in report.rungs] == ["passed"] * 3


@pytest.mark.parametrize(
    ("model", "precision", "message"),
    [
        ("biomedclip", "int4", r'deployment = "macOS14": \S+ has the scheme int4\S*, whose groups need iOS 18'),
        ("phi3-vision", "int4", r'deployment = "macOS14": phi3_v needs iOS 18 \(macOS 15\) for the decoder\'s caches'),
    ],
)
def test_a_system_too_old_is_said_before_anything_is_quantized(
    model: str, precision: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        made(wanted(model, precision, "macOS14"), tmp_path)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())
