"""A manifest that says something else than the bundle's files is refused when the model is loaded, in one line."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import toy_dual
import toy_vlm

import nexus_edge
from nexus_edge.bundle import Bundle
from nexus_edge.errors import BundleError, CheckpointError
from nexus_edge.families import families
from nexus_edge.interfaces.facts import VlmFacts
from nexus_edge.parity.manifest_facts import tower_problems
from nexus_edge.processing.turns import turns_of
from nexus_edge.runtimes import EngineOptions

ONE = EngineOptions(threads=1)


def refusal(bundle: Bundle, kind: type[Exception] = BundleError) -> str:
    """Said by each way to load it."""
    by_kind = nexus_edge.load_vlm if bundle.manifest.dual_encoder is None else nexus_edge.load_dual_encoder
    said = set()
    for load in (nexus_edge.load, by_kind):
        with pytest.raises(kind) as caught:
            load(bundle, ONE)
        said.add(str(caught.value))
    (message,) = said
    assert "\n" not in message
    return message


def with_manifest(bundle: Bundle, **changes: Any) -> Bundle:
    return replace(bundle, manifest=replace(bundle.manifest, **changes))


@pytest.fixture
def vlm(toy_bundle: Bundle, tmp_path: Path) -> Bundle:
    return Bundle.open(shutil.copytree(toy_bundle.root, tmp_path / "vlm"))


@pytest.fixture
def dual(dual_bundle: Bundle, tmp_path: Path) -> Bundle:
    return Bundle.open(shutil.copytree(dual_bundle.root, tmp_path / "dual"))


def with_config(bundle: Bundle, edit: Callable[[dict[str, Any]], Any]) -> Bundle:
    """With another config.json, of which the manifest has no hash."""
    path = bundle.root / "processor" / "config.json"
    config = json.loads(path.read_text("utf-8"))
    edit(config)
    path.write_text(json.dumps(config), "utf-8")
    return bundle


@pytest.mark.parametrize("length", [1, toy_vlm.CONTEXT + 1, 10**9])
def test_another_context_than_the_vlms(toy_bundle: Bundle, length: int) -> None:
    message = refusal(with_manifest(toy_bundle, context_length=length))
    assert message.startswith(f"{toy_bundle.root / 'manifest.json'}: context_length is {length}, by the files ")
    assert f"by the files {toy_vlm.CONTEXT};" in message


def test_another_context_than_the_text_towers(dual_bundle: Bundle) -> None:
    message = refusal(with_manifest(dual_bundle, context_length=64))
    assert f"context_length is 64, by the files {toy_dual.CONTEXT}" in message


def test_a_configuration_without_a_context_is_named(vlm: Bundle) -> None:
    broken = with_config(vlm, lambda config: config.update(max_position_embeddings="many"))
    assert f"{vlm.root / 'processor' / 'config.json'}: " in refusal(broken, CheckpointError)


@pytest.mark.parametrize("kind", ["synthetic", "trained-tiny"])
def test_a_stand_in_that_is_called_real(vlm: Bundle, dual: Bundle, kind: str) -> None:
    for bundle in (vlm, dual):
        bundle = with_config(bundle, lambda config: config.update(_nexus_edge_weights=kind))
        real = with_manifest(bundle, source=replace(bundle.manifest.source, weights="real"))
        assert f"weights are 'real', by the files '{kind}'" in refusal(real)
        nexus_edge.load(with_manifest(bundle, source=replace(bundle.manifest.source, weights=kind)), ONE).close()


def test_synthetic_weights_have_the_configuration_of_real_ones(toy_bundle: Bundle, dual_bundle: Bundle) -> None:
    """Which says nothing of itself."""
    for bundle in (toy_bundle, dual_bundle):
        assert bundle.manifest.source.weights == "synthetic"
        nexus_edge.load(bundle, ONE).close()


def test_another_family_than_the_files(toy_bundle: Bundle) -> None:
    other = next(name for name, family in families().items() if family.kind == "vlm" and name != "phi3_v")
    assert f"model_type is '{other}', by the files 'phi3_v'" in refusal(with_manifest(toy_bundle, model_type=other))


def test_towers_that_changed_places(dual_bundle: Bundle) -> None:
    image, text = dual_bundle.manifest.graphs["onnx"].values()
    info = dual_bundle.manifest.dual_encoder
    assert info is not None
    swapped = with_manifest(
        dual_bundle,
        graphs={"onnx": {"image_encoder": text, "text_encoder": image}},
        dual_encoder=replace(info, image_tower=info.text_tower, text_tower=info.image_tower),
    )
    message = refusal(swapped)
    assert "image_encoder takes [['batch', 'tokens']], by the files images of 3 x 16 x 16, and 1 more" in message


@pytest.mark.parametrize("tower", ["image_tower", "text_tower"])
def test_a_towers_hash_that_is_of_other_files(dual_bundle: Bundle, tower: str) -> None:
    info = dual_bundle.manifest.dual_encoder
    assert info is not None
    other = with_manifest(dual_bundle, dual_encoder=replace(info, **{tower: "0" * 64}))
    assert f"the hash of {tower.removesuffix('_tower')}_encoder is not the manifest's" in refusal(other)


def test_images_of_another_size(dual: Bundle) -> None:
    other = with_config(dual, lambda config: config["model_cfg"]["vision_cfg"].update(image_size=32))
    assert "image_encoder takes [['batch', 3, 16, 16]], by the files images of 3 x 32 x 32" in refusal(other)


def test_a_role_that_is_the_other_towers(coreml_dual: Bundle) -> None:
    graphs = dict(coreml_dual.manifest.graphs["coreml"])
    name = next(name for name, graph in graphs.items() if graph.program and graph.program.part_of == "text_encoder")
    program = graphs[name].program
    assert program is not None
    graphs[name] = replace(graphs[name], program=replace(program, role="image"))
    message = refusal(with_manifest(coreml_dual, graphs={"coreml": graphs}))
    assert f"{name} is a part of text_encoder, and its role is 'image'" in message


def with_facts(bundle: Bundle, kind: str) -> Bundle:
    """With those that an export writes."""
    folder = bundle.root / "processor"
    config = json.loads((folder / "config.json").read_text("utf-8"))
    return with_manifest(bundle, facts=families()[kind].facts(config, folder))


def test_images_that_an_app_would_prepare_otherwise(dual_bundle: Bundle) -> None:
    bundle = with_facts(dual_bundle, "biomedclip")
    nexus_edge.load(bundle, ONE).close()
    facts = bundle.manifest.facts
    assert facts is not None
    wrong = msgspec.structs.replace(facts.images, mean=(0.5, 0.5, 0.5))
    message = refusal(with_manifest(bundle, facts=msgspec.structs.replace(facts, images=wrong)))
    assert "images are " in message
    assert "0.5" in message


@pytest.mark.parametrize("change", ["stop_ids", "special", "merge", "most_crops"])
def test_facts_of_a_vlm(tiny_bundle: Bundle, change: str) -> None:
    facts = tiny_bundle.manifest.facts
    assert isinstance(facts, VlmFacts)
    new = {
        "stop_ids": {"stop_ids": (1,)},
        "special": {"tokenizer": msgspec.structs.replace(facts.tokenizer, special={"<|end|>": 5})},
        "merge": {"merge": "add"},
        "most_crops": {"images": msgspec.structs.replace(facts.images, most_crops=2)},
    }[change]
    edited = msgspec.structs.replace(facts, **new)
    assert f"{next(iter(new))} are " in refusal(with_manifest(tiny_bundle, facts=edited))


def test_frames_of_a_chat_template_are_left_to_verify(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """They take a dozen renders; a load takes the manifest's, and renders prompts by the template itself."""

    def refuse(*_: object) -> None:
        raise AssertionError("rendered")

    monkeypatch.setattr(f"nexus_edge.processing.turns.{turns_of.__name__}", refuse)
    nexus_edge.load(tiny_bundle, ONE).close()


def test_what_the_ladder_would_reject_runs_where_that_is_allowed(toy_bundle: Bundle, dual_bundle: Bundle) -> None:
    for bundle in (toy_bundle, dual_bundle):
        other = with_manifest(bundle, context_length=8)
        assert "--allow-rejected" in refusal(other)
        nexus_edge.load(other, ONE, allow_rejected=True).close()


def test_towers_are_held_by_hashes_that_are_known(dual_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """`verify` has hashed every file by then; a load hashes none."""

    def refuse(*_: object) -> None:
        raise AssertionError("hashed again")

    monkeypatch.setattr("nexus_edge.bundle.hashing.hash_file", refuse)
    assert tower_problems(dual_bundle) == []
    nexus_edge.load(dual_bundle, ONE).close()


def test_a_bundle_shipped_without_its_first_target_is_whole(dual_bundle: Bundle) -> None:
    """The towers' hashes stay those of that target, so that indexes and banks still belong to them."""
    info = dual_bundle.manifest.dual_encoder
    assert info is not None
    other = replace(info, image_tower="1" * 64, text_tower="2" * 64)
    shipped = with_manifest(dual_bundle, recipe={"name": "toy", "targets": ["coreml", "onnx"]}, dual_encoder=other)
    nexus_edge.load(shipped, ONE).close()
    whole = with_manifest(shipped, recipe={"name": "toy", "targets": ["onnx", "coreml"]})
    assert "the hash of image_encoder is not the manifest's" in refusal(whole)
