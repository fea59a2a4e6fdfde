"""manifest.json: every field is checked, and no path in it leads out of the bundle."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nexus_edge.bundle import Bundle, DualEncoderInfo, FileInfo, Manifest
from nexus_edge.errors import BundleError


def edit(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = bundle / "manifest.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def graph(value: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = value["graphs"]["onnx"]["decoder"]
    return result


HASH = "0" * 64
DECODER_FILES = ("onnx/decoder.onnx", "onnx/weights.safetensors")


def towers(**changes: object) -> dict[str, object]:
    return {"logit_scale": 100.0, "embed_dim": 8, "image_tower": HASH, "text_tower": HASH, **changes}


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "field missing": (lambda m: m.pop("name"), "name is missing"),
    "field unknown": (lambda m: m.update(model_typ="x"), "unknown key 'model_typ'; did you mean 'model_type'"),
    "number for text": (lambda m: m.update(name=3), "name must be a string, not a int 3"),
    "newer format": (lambda m: m.update(format_version=4), "format_version is 4, this nexus-edge reads 2 and 3"),
    "format as text": (lambda m: m.update(format_version="3"), "format_version is str '3', this"),
    "format as float": (lambda m: m.update(format_version=3.0), "format_version is float 3.0"),
    "no format": (lambda m: m.pop("format_version"), "format_version is missing"),
    "true for a number": (lambda m: m.update(context_length=True), "context_length must be a whole number"),
    "negative context": (lambda m: m.update(context_length=-1), "context_length must be a whole number"),
    "source is null": (lambda m: m.update(source=None), "source: must be a table, not null"),
    "weights unheard of": (lambda m: m["source"].update(weights="genuine"), "source: weights = 'genuine'"),
    "targets no list": (lambda m: m.update(targets="onnx"), "targets must be a list of strings"),
    "target without graphs": (lambda m: m.update(targets=["onnx", "coreml"]), "targets .* and graphs .* disagree"),
    "graph not listed": (lambda m: graph(m).update(file="onnx/x"), "graphs.onnx.decoder: onnx/x is not listed"),
    "weights not listed": (lambda m: graph(m).update(weights="onnx/x"), "graphs.onnx.decoder: onnx/x is not listed"),
    "weights outside": (lambda m: graph(m).update(weights="../x"), "decoder.*'../x'"),
    "towers without a scale": (lambda m: m.update(dual_encoder=towers(logit_scale=0)), "dual_encoder: logit_scale"),
    "scale is true": (lambda m: m.update(dual_encoder=towers(logit_scale=True)), "logit_scale must be a number"),
    "tower without a hash": (lambda m: m.update(dual_encoder=towers(text_tower="x")), "dual_encoder: text_tower 'x'"),
    "graph lacks inputs": (lambda m: graph(m).pop("inputs"), "graphs.onnx.decoder: inputs is missing"),
    "dtype unheard of": (lambda m: graph(m)["inputs"][0].update(dtype="int65"), r"inputs\[0\]: dtype = 'int65'"),
    "shape of floats": (lambda m: graph(m)["outputs"][0].update(shape=[1.5]), r"outputs\[0\]: shape"),
    "hash too short": (lambda m: m["files"]["onnx/decoder.onnx"].update(sha256="ab"), r"decoder.onnx'\]: sha256 'ab'"),
    "size negative": (lambda m: m["files"]["onnx/decoder.onnx"].update(size=-1), r"decoder.onnx'\]: size must"),
    "recipe no table": (lambda m: m.update(recipe=[]), "recipe: must be a table"),
    "towers of another size": (lambda m: m.update(dual_encoder=towers()), "logits has the shape .* 8 numbers"),
    "scale beyond all": (lambda m: m.update(dual_encoder=towers(logit_scale=1e308)), "dual_encoder: logit_scale"),
    "scale of nothing": (lambda m: m.update(dual_encoder=towers(logit_scale=1e-300)), "dual_encoder: logit_scale"),
    "verdict failed": (lambda m: m.update(parity={"verdict": "failed"}), "verdict must be one of .* not 'failed'"),
    "verdict green": (lambda m: m.update(parity={"verdict": "green"}), "verdict must be one of .* not 'green'"),
    "verdict null": (lambda m: m.update(parity={"verdict": None}), "verdict must be one of .* not None"),
    "verdict 5": (lambda m: m.update(parity={"verdict": 5}), "verdict must be one of .* not 5"),
    "verdict a list": (lambda m: m.update(parity={"verdict": ["passed"]}), "verdict must be one of"),
    "no verdict": (lambda m: m.update(parity={"rungs": {}}), "verdict must be one of"),
    "parity no table": (lambda m: m.update(parity="passed"), "parity: must be a table"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_broken_manifest_names_the_field(case: str, bundle: Path) -> None:
    change, message = BROKEN[case]
    edit(bundle, change)
    with pytest.raises(BundleError, match=message) as caught:
        Bundle.open(bundle)
    assert str(caught.value).startswith(str(bundle / "manifest.json"))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_manifest_that_is_no_object_is_refused(content: bytes, bundle: Path) -> None:
    (bundle / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        Bundle.open(bundle)


OUTSIDE = [
    "../secret", "/etc/passwd", "onnx/../../secret", "..", "", ".", "a//b", "a/", "./a", "..\\secret", "C:\\x", "a\0b"
]  # fmt: skip


@pytest.mark.parametrize("path", OUTSIDE)
def test_paths_in_the_manifest_may_not_leave_the_bundle(path: str, bundle: Path) -> None:
    (bundle.parent / "secret").write_bytes(b"")
    edit(bundle, lambda m: m["files"].update({path: {"size": 0, "sha256": HASH}}))
    with pytest.raises(BundleError, match="is not a plain path inside the bundle"):
        Bundle.open(bundle, check=None)


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_graph_may_not_lie_outside_either(path: str, bundle: Path) -> None:
    edit(bundle, lambda m: graph(m).update(file=path))
    with pytest.raises(BundleError, match="is not a plain path inside the bundle"):
        Bundle.open(bundle, check=None)


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_caller_cannot_leave_the_bundle(path: str, bundle: Path) -> None:
    with pytest.raises(BundleError, match="is not a plain path inside the bundle"):
        Bundle.open(bundle).file(path)


def test_towers_survive_the_way_through_json(manifest: Manifest) -> None:
    info = DualEncoderInfo(85.5, 512, "a" * 64, "b" * 64)
    files = {name: FileInfo(1, HASH) for name in DECODER_FILES}
    text = replace(manifest, dual_encoder=info).with_files(files).to_json()
    assert Manifest.from_json(text).dual_encoder == info
