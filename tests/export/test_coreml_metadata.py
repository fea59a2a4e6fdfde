"""What metadata.json and the packages of the embedded checkpoints say, and that they are of one bundle."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import json_schema
import pytest

pytest.importorskip("coremltools", reason="needs the extra `coreml`")

from nexus_edge.bundle import Bundle
from nexus_edge.bundle.identity import identity
from nexus_edge.engines.coreml.mil import MilModel
from nexus_edge.engines.coreml.probe.provenance import foreign_packages
from nexus_edge.models.phi3_v.processing import Phi3VProcessor
from nexus_edge.parity.ladder import prepare, run

BOTH = ("coreml_dual", "coreml_vlm")
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(params=BOTH)
def bundle(request: pytest.FixtureRequest) -> Bundle:
    found: Bundle = request.getfixturevalue(request.param)
    return found


def described(bundle: Bundle) -> dict[str, Any]:
    table: dict[str, Any] = json.loads((bundle.root / "coreml/metadata.json").read_text())
    return table


def test_it_is_what_the_schema_describes(bundle: Bundle) -> None:
    assert not json_schema.problems(described(bundle), "coreml-metadata")


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda table: table.pop("pictures"), "$"),
        (lambda table: table["model"].update(weights="mine"), "$.model.weights"),
        (lambda table: table["model"].update(manifest_sha256="12"), "$.model.manifest_sha256"),
        (lambda table: table["pictures"].update(mean=[0.5]), "$.pictures.mean"),
        (lambda table: table["packages"][0]["functions"][0]["inputs"][0].pop("kind"), "$.packages[0].functions[0]"),
        (lambda table: table["zero_shot"].update(logit_scale=0), "$.zero_shot.logit_scale"),
    ],
)
def test_the_schema_refuses_what_would_mislead(coreml_dual: Bundle, change: Change, place: str) -> None:
    table = described(coreml_dual)
    change(table)
    assert any(problem.startswith(place) for problem in json_schema.problems(table, "coreml-metadata"))


def test_every_file_that_ships_is_listed_with_its_hash(bundle: Bundle) -> None:
    folder, table = bundle.root / "coreml", described(bundle)
    there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    listed = {file["path"]: file for file in table["files"]}
    assert there.keys() - listed.keys() == {"metadata.json", *(name for name in there if name.endswith(".safetensors"))}
    for name, file in listed.items():
        content = there[name].read_bytes()
        assert (file["size"], file["sha256"]) == (len(content), sha256(content).hexdigest())
    for package in table["packages"]:
        files = (folder / package["file"]).rglob("*")
        assert package["bytes"] == sum(path.stat().st_size for path in files if path.is_file())


def test_chunks_are_in_their_order_and_complete(coreml_vlm: Bundle) -> None:
    table = described(coreml_vlm)
    roles = [package["role"] for package in table["packages"]]
    chunks = [package["layers"] for package in table["packages"] if package["role"] == "decoder"]
    assert roles == ["vision", "embedding", *["decoder"] * len(chunks), "head"]
    assert chunks[0][0] == 0 and all(left[1] == right[0] for left, right in pairwise(chunks))
    states = [state for package in table["packages"] for state in package["functions"][0]["states"]]
    assert len(states) == 2 * chunks[-1][1]
    sizes = [2 * state["shape"][1] * state["shape"][2] * state["shape"][3] for state in states]
    assert table["generation"]["cache_bytes"] == sum(sizes)


def test_prompts_and_limits_are_those_of_the_runtime(coreml_vlm: Bundle) -> None:
    table, processor = described(coreml_vlm), Phi3VProcessor.from_folder(coreml_vlm.root / "processor")
    chat, limits = table["generation"]["chat"], table["generation"]
    turn = chat["picture"].format(number=1) + "What is shown?"
    written = chat["turn"].format(role="user", text=turn) + chat["reply"]
    messages: Any = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is shown?"}]}]
    assert written == str(processor.apply_chat_template(messages))
    assert tuple(limits["stop_ids"]) == processor.stop_ids
    assert table["tokenizer"]["special"]["<|user|>"] == processor.tokenizer.token_id("<|user|>")
    config = json.loads((coreml_vlm.root / "processor/config.json").read_text())
    assert limits["rope_limit"] == config["original_max_position_embeddings"]


def test_what_zero_shot_needs_is_the_manifests(coreml_dual: Bundle) -> None:
    table, info = described(coreml_dual), coreml_dual.manifest.dual_encoder
    assert info is not None
    assert (table["zero_shot"]["logit_scale"], table["zero_shot"]["embed_dim"]) == (info.logit_scale, info.embed_dim)
    lengths = table["zero_shot"]["text_lengths"]
    (text,) = (package for package in table["packages"] if package["name"] == "text_encoder")
    assert lengths == sorted(int(function["name"].removeprefix("tokens_")) for function in text["functions"])


def test_a_package_says_whose_it_is(bundle: Bundle) -> None:
    expected = identity(bundle.manifest, "coreml")
    for path in (bundle.root / "coreml").glob("*.mlpackage"):
        said = MilModel.open(path).metadata
        assert said["license"] == "mit" and said["author"] == "tiny, exported by nexus-edge"
        assert said["version"] == said["nexus_edge.version"] == bundle.manifest.toolkit_version
        assert said["nexus_edge.weights"] == "trained-tiny" and said["nexus_edge.source"] == "tiny"
        graph = said["nexus_edge.graph"]
        assert said["nexus_edge.manifest_sha256"] == expected
        assert said["nexus_edge.scheme"] == next(
            info.scheme for name, info in bundle.manifest.graphs["coreml"].items() if path.name in info.file
        )
        weights = (bundle.root / f"coreml/{graph}.safetensors").read_bytes()
        together = sha256(sha256(weights).hexdigest().encode()).hexdigest()
        assert said["nexus_edge.weights_sha256"] == together
    assert described(bundle)["model"]["manifest_sha256"] == expected


def test_a_package_of_another_bundle_is_found(coreml_dual: Bundle, tmp_path: Path) -> None:
    assert not foreign_packages(coreml_dual)
    shutil.copytree(coreml_dual.root, tmp_path / "copy")
    manifest = replace(coreml_dual.manifest, name="another")
    (tmp_path / "copy/manifest.json").write_text(manifest.to_json())
    other = Bundle.open(tmp_path / "copy", check="sha256")  # every file is the manifest's, and yet
    (check,) = (check for check in run(prepare(other, "tiny"), ("P0",)).rungs[0].checks if check.stage == "packages")
    assert check.status == "failed"
    names = [path.name for path in (other.root / "coreml").glob("*.mlpackage")]
    assert all(f"{name} belongs to another bundle" in str(check.problem) for name in [*names, "metadata.json"])
