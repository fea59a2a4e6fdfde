"""The Core ML engine: calls of fixed length that cover any prompt, and packages that are believed only as far as they
prove themselves."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from phi3_prompts import extend

from nexus_edge.assets.heldout import held_out_questions
from nexus_edge.bundle import Bundle
from nexus_edge.engines.base import choose_engine
from nexus_edge.engines.coreml.decoder import pieces
from nexus_edge.engines.coreml.engine import CoremlEngine, open_engine
from nexus_edge.engines.coreml.parts import CoremlParts, package_of
from nexus_edge.errors import BundleError, PromptError
from nexus_edge.runtimes import EngineOptions, load_vlm

pytestmark = pytest.mark.slow

WIDTHS = (1, 64)


@pytest.mark.parametrize(
    ("tokens", "past", "calls"),
    [
        (1, 0, [(0, 1, 1, 0)]),
        (5, 0, [(0, 5, 64, 0)]),
        (64, 10, [(0, 64, 64, 10)]),
        (65, 10, [(0, 64, 64, 10), (64, 65, 1, 74)]),
        (130, 0, [(0, 64, 64, 0), (64, 128, 64, 64), (128, 130, 64, 128)]),
        # What a call is filled up with may not go past the end of the caches: from there on token by token.
        (3, 197, [(0, 1, 1, 197), (1, 2, 1, 198), (2, 3, 1, 199)]),
        (66, 134, [(0, 64, 64, 134), (64, 65, 1, 198), (65, 66, 1, 199)]),
        (10, 136, [(0, 10, 64, 136)]),
        (10, 137, [(place, place + 1, 1, 137 + place) for place in range(10)]),
    ],
)
def test_tokens_are_cut_into_calls(tokens: int, past: int, calls: list[tuple[int, int, int, int]]) -> None:
    found = pieces(tokens, past, WIDTHS, context=200)
    assert [(piece.start, piece.stop, piece.width, piece.position) for piece in found] == calls


def test_more_than_the_caches_hold_is_refused() -> None:
    with pytest.raises(PromptError, match="201 tokens do not fit into the 200"):
        list(pieces(4, 197, WIDTHS, context=200))


def test_questions_about_an_image_are_answered(coreml_vlm: Bundle) -> None:
    first, second, *_ = held_out_questions()
    assert first.image == second.image
    vlm = load_vlm(coreml_vlm)
    for asked in (first, second):
        assert "".join(vlm.generate(asked.question, [asked.image], max_new_tokens=30)) == asked.answer
    assert vlm.last_run is not None and vlm.last_run.reused_tokens > 300, "the image's tokens are in the states"


def test_going_back_to_a_prefix_is_as_if_nothing_had_followed(coreml_vlm: Bundle) -> None:
    ids = np.random.default_rng(2).integers(1, 600, 70)
    used, fresh = (open_engine(coreml_vlm, EngineOptions()).decoder() for _ in range(2))
    extend(used, ids[::-1].copy(), 0, 70)
    extend(used, ids[:20], 0, 20)
    extend(fresh, ids[:20], 0, 20)
    for start, stop in ((20, 22), (22, 23)):  # in a call for 64, and in one for a single token
        found, right = (extend(decoder, ids[start:stop], start, stop) for decoder in (used, fresh))
        np.testing.assert_array_equal(found, right)


def test_the_length_decides_about_the_list_of_longrope(coreml_vlm: Bundle) -> None:
    limit = json.loads((coreml_vlm.root / "processor/config.json").read_text())["original_max_position_embeddings"]
    ids = np.arange(5, 9)
    short, same, long = (
        extend(open_engine(coreml_vlm, EngineOptions()).decoder(), ids, 0, length) for length in (4, limit, limit + 1)
    )
    assert np.array_equal(short, same) and not np.allclose(short, long, atol=1e-2)


def test_no_answer_is_longer_than_the_caches(coreml_vlm: Bundle) -> None:
    engine = open_engine(coreml_vlm, EngineOptions())
    assert engine.context_length == 4096 == load_vlm(coreml_vlm).limits.context_length
    with pytest.raises(PromptError, match="4097 tokens do not fit into the 4096"):
        extend(engine.decoder(), np.array([5]), 4096, 4097)


Change = Callable[[Path], object]


@pytest.fixture
def damaged(coreml_vlm: Bundle, tmp_path: Path) -> Callable[[Change], Bundle]:
    """The bundle, with something done to its `coreml/` folder; nobody checks hashes here."""

    def make(change: Change) -> Bundle:
        shutil.copytree(coreml_vlm.root, tmp_path / "bundle")
        change(tmp_path / "bundle" / "coreml")
        return Bundle.open(tmp_path / "bundle", check=None)

    return make


def test_a_damaged_package_is_one_line(damaged: Callable[[Change], Bundle]) -> None:
    with pytest.raises(BundleError, match=r"has no Manifest\.json") as caught:
        CoremlEngine(damaged(lambda folder: (folder / "head.mlpackage/Manifest.json").unlink()), EngineOptions())
    assert "\n" not in str(caught.value)


def test_a_manifest_leads_to_packages_only(coreml_vlm: Bundle) -> None:
    graphs = dict(coreml_vlm.manifest.graphs["coreml"])
    graphs["head"] = replace(graphs["head"], file="manifest.json")
    bundle = replace(coreml_vlm, manifest=replace(coreml_vlm.manifest, graphs={"coreml": graphs}))
    with pytest.raises(BundleError, match=r"head is manifest\.json, which is not a Core ML package"):
        package_of(bundle, "head")


def packages(bundle: Bundle) -> list[Path]:
    return sorted((bundle.root / "coreml").glob("*.mlpackage"))


def test_the_order_of_chunks_is_that_of_their_states(coreml_vlm: Bundle) -> None:
    for order in (packages(coreml_vlm), packages(coreml_vlm)[::-1]):
        chunks = CoremlParts.of(order).chunks
        assert [chunk.layers for chunk in chunks] == [range(2), range(2, 4)]


@pytest.mark.parametrize(
    ("without", "message"),
    [
        ("head", "no package is a head"),
        ("vision_encoder", "no package is a vision encoder"),
        ("decoder_1_of_2", r"hold the layers \[2, 3\]"),
    ],
)
def test_a_package_that_is_missing_is_named(coreml_vlm: Bundle, without: str, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        CoremlParts.of(path for path in packages(coreml_vlm) if path.stem != without)


def test_a_chunk_of_another_decoder_is_refused(coreml_vlm: Bundle, tmp_path: Path) -> None:
    twice = tmp_path / "again.mlpackage"
    shutil.copytree(coreml_vlm.root / "coreml/decoder_1_of_2.mlpackage", twice)
    with pytest.raises(BundleError, match=r"hold the layers \[0, 1, 0, 1, 2, 3\], not each once"):
        CoremlParts.of([*packages(coreml_vlm), twice])


def test_the_evaluator_is_taken_last(coreml_vlm: Bundle) -> None:
    targets = ("coreml", "onnx")
    both = replace(coreml_vlm, manifest=replace(coreml_vlm.manifest, targets=targets))
    assert choose_engine(both, "vlm", EngineOptions()).TARGET == "onnx"
    assert choose_engine(both, "vlm", EngineOptions(engine="coreml")).TARGET == "coreml"
    assert choose_engine(coreml_vlm, "vlm", EngineOptions()).TARGET == "coreml"
