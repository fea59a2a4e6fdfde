"""Every family, recipe and target: the bundle is whole, the ladder holds, and every engine runs it."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bundles import REFUSED, ROWS, Bundles, Row, every_row
from jsonschema import Draft202012Validator
from PIL import Image
from tiny_families import ROOT, Tiny

import nexus_edge
from nexus_edge.axes import targets
from nexus_edge.errors import NexusEdgeError
from nexus_edge.families import families
from nexus_edge.parity import ladder
from nexus_edge.parity.rungs.p4_scheme import check_weights
from nexus_edge.pipeline.export import export
from nexus_edge.pipeline.support import recipes_of
from nexus_edge.runtimes import VLM, EngineOptions

SCHEMA = json.loads((ROOT / "runtimes/schema/manifest.schema.json").read_text("utf-8"))
PAGE = (ROOT / "docs/support.md").read_text("utf-8")
RUNS = [(row, engine) for row in ROWS for engine in row.engines]
QUESTION, TOKENS = "What is shown?", 3
UNIT = 2.0**-10  # of length 1, where an engine computes in float16, which has 11 bits
NOISE = 1e-6  # of a unit vector: between two calls of one kernel nothing changes but, at most, how work is divided


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (224, 448, 3), np.uint8))


@pytest.mark.slow
@every_row
def test_the_bundle_is_whole_and_its_manifest_what_the_schema_says(row: Row, bundle_of: Bundles) -> None:
    bundle = bundle_of(row)
    table = json.loads((bundle.root / "manifest.json").read_text("utf-8"))
    assert [error.message for error in Draft202012Validator(SCHEMA).iter_errors(table)] == []
    written = {path.relative_to(bundle.root).as_posix() for path in bundle.root.rglob("*") if path.is_file()}
    assert written == {*bundle.manifest.files, "manifest.json"}
    assert (bundle.manifest.model_type, bundle.manifest.targets) == (row.model_type, (row.target,))
    assert bundle.manifest.source.weights == "synthetic"


@pytest.mark.slow
@every_row
def test_the_ladder_holds(row: Row, bundle_of: Bundles, tiny_of: Callable[[str], Tiny]) -> None:
    """P0: files and graphs. P3: each layer of the artefact is that of the quantized model. P4: its stored weights."""
    run = ladder.prepare(bundle_of(row), tiny_of(row.model_type).checkpoint)
    rungs, weights = ladder.run(run, ("P0", "P3")).rungs, check_weights(run)
    checks = [*(check for rung in rungs for check in rung.checks), *weights]
    assert [check.finding for check in checks if check.status == "failed"] == []
    assert [rung.reason for rung in rungs] == [None, None] and all(rung.checks for rung in rungs) and weights


@pytest.mark.slow
@pytest.mark.parametrize(("row", "engine"), RUNS, ids=lambda part: getattr(part, "name", part))
def test_every_engine_gives_the_same_twice(row: Row, engine: str, bundle_of: Bundles) -> None:
    with nexus_edge.load(bundle_of(row), EngineOptions(threads=1, engine=engine)) as model:
        if isinstance(model, VLM):
            first, second = (answer(model) for _ in range(2))
            assert first == second and len(first[0]) >= 1
        else:
            for rows in (model.embed_images([picture(0), picture(1)]), model.embed_texts(["one", "and two"])):
                assert np.isfinite(rows).all() and rows.shape[0] == 2
                np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=0, atol=UNIT)
            again = model.embed_images([picture(0), picture(1)])
            np.testing.assert_allclose(again, model.embed_images([picture(0), picture(1)]), rtol=0, atol=NOISE)


def answer(model: VLM) -> tuple[list[int], str]:
    """With a cache of its own."""
    with model.session() as session:
        said = session.answer(QUESTION, [picture(0)], max_new_tokens=TOKENS, logprobs=1)
    assert said.finish in ("stop", "length") and 1 <= said.new_tokens <= TOKENS
    assert said.logprobs and all(math.isfinite(one.logprob) for one in said.logprobs)
    return [one.id for one in said.logprobs], said.text


@pytest.mark.fast
def test_each_family_and_target_is_a_row_or_refused_in_words_of_the_page() -> None:
    for name, family in families().items():
        for target, info in targets().items():
            said = f"no: {REFUSED[name, target]}" if (name, target) in REFUSED else "yes"
            assert any(
                line.startswith(f"| {family.title} |") and f"| {info.title} | {said} |" in line
                for line in PAGE.splitlines()
            ), (name, target)


@pytest.mark.fast
@pytest.mark.parametrize(("model_type", "target"), REFUSED, ids=lambda name: name)
def test_what_is_refused_is_refused_before_work_begins(
    tiny: Tiny, model_type: str, target: str, tmp_path: Path
) -> None:
    why = REFUSED[model_type, target]
    for recipe in recipes_of(tiny.family).values():
        with pytest.raises(NexusEdgeError) as caught:
            export(tiny.checkpoint, recipe.with_targets((target,)), tmp_path / "out", parity=False)
        assert why in str(caught.value) and "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    assert recipes_of(tiny.family) or why == "there is no recipe for it yet"
