"""runtimes/schema/manifest.schema.json: made from the types, and what manifests are."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from nexus_edge.bundle import Bundle, Manifest
from nexus_edge.bundle.schema import manifest_schema
from nexus_edge.errors import BundleError
from nexus_edge.families import families

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "runtimes/schema/manifest.schema.json"


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json.loads(SCHEMA.read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def described(manifest: Manifest) -> dict[str, Any]:
    """A manifest with the facts of an embedded checkpoint."""
    folder = ROOT / "nexus_edge/assets/tiny_phi3_v"
    facts = families()["phi3_v"].facts(json.loads((folder / "config.json").read_text("utf-8")), folder)
    table: dict[str, Any] = json.loads(replace(manifest, facts=facts).to_json())
    return table


def test_it_is_current() -> None:
    assert json.loads(SCHEMA.read_text("utf-8")) == manifest_schema(), "make it again; bundle/schema.py says how"


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a primitive of no runtime": (lambda facts: facts["images"].update(kind="hd_crop"), "images: kind = 'hd_crop'"),
    "no primitive": (lambda facts: facts["images"].pop("kind"), "facts: images: kind is missing"),
    "another primitive's number": (lambda facts: facts["images"].update(grids=[]), "images: unknown key 'grids'"),
    "a deviation of zero": (lambda facts: facts["images"].update(std=[0, 1, 1]), r"std\[0\] must be a number > 0"),
    "two means": (lambda facts: facts["images"].update(mean=[0.5, 0.5]), "images: mean must be 3 numbers"),
    "a mean that is none": (lambda facts: facts["images"].update(mean=[0, 0, float("nan")]), r"mean\[2\] must be"),
    "a level above 255": (lambda facts: facts["images"].update(padding=256), "padding must be a whole number >= 0 and"),
    "a part of no layout": (lambda facts: facts["layout"].update(order=["tiles"]), r"order\[0\] = 'tiles'; known"),
    "a merge of no runtime": (lambda facts: facts.update(merge="mul"), "facts: merge = 'mul'; known: add, replace"),
    "a negative stop": (lambda facts: facts.update(stop_ids=[-1]), r"stop_ids\[0\] must be a whole number >= 0"),
    "a role of no template": (lambda facts: facts["chat"]["frames"].update(tool={}), "frames = 'tool'; known"),
    "positions without limit": (lambda facts: facts["positions"].pop("limit"), "positions: limit is missing"),
    "a kind of no model": (lambda facts: facts.update(kind="vllm"), "facts: kind = 'vllm'; did you mean 'vlm'"),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGES)
def test_facts_outside_the_vocabulary_are_refused_here_and_by_the_schema(
    case: str, manifest: Manifest, validator: Draft202012Validator
) -> None:
    change, message = CHANGES[case]
    table = described(replace(manifest, graphs={}, targets=()))
    change(table["facts"])
    with pytest.raises(BundleError, match=message):
        Manifest.from_json(json.dumps(table))
    # JSON has no NaN; a validator of Python values takes it for a number.
    assert case == "a mean that is none" or not validator.is_valid(table)


def test_a_bundle_of_format_2_is_read(bundle: Path) -> None:
    """As the release before wrote it: no facts, and graphs without programs."""
    path = bundle / "manifest.json"
    table = json.loads(path.read_text("utf-8"))
    table["format_version"] = 2
    del table["facts"]
    for graph in table["graphs"]["onnx"].values():
        del graph["program"]
    path.write_text(json.dumps(table), "utf-8")
    opened = Bundle.open(bundle)
    assert opened.manifest.facts is None
    opened.with_parity({"verdict": "passed"})
    assert json.loads(path.read_text("utf-8"))["format_version"] == 2, "one of format 3 has facts"
