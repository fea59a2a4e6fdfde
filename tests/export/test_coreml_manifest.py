"""What the manifest and the packages of the embedded checkpoints say to an app, and that they are of one bundle."""

import json
import shutil
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

pytest.importorskip("coremltools", reason="needs the extra `coreml`")

from nexus_edge.bundle import Bundle, GraphInfo, ProgramInfo
from nexus_edge.bundle.identity import identity
from nexus_edge.engines.coreml.advice import compute_units, mean_and_std
from nexus_edge.engines.coreml.mil import MilModel
from nexus_edge.engines.coreml.probe.provenance import foreign_packages
from nexus_edge.errors import BundleError
from nexus_edge.parity.ladder import prepare, run

pytestmark = pytest.mark.slow

BOTH = ("coreml_dual", "coreml_vlm")
SCHEMA = Path(__file__).parents[2] / "runtimes/schema/manifest.schema.json"


@pytest.fixture(params=BOTH)
def bundle(request: pytest.FixtureRequest) -> Bundle:
    found: Bundle = request.getfixturevalue(request.param)
    return found


def programs(bundle: Bundle) -> list[tuple[GraphInfo, ProgramInfo]]:
    """Graphs with their programs, in the order in which data goes through them."""
    graphs = bundle.manifest.graphs["coreml"].values()
    return [(graph, graph.program) for graph in graphs if graph.program is not None]


def test_it_is_what_the_schema_describes(bundle: Bundle) -> None:
    validator = Draft202012Validator(json.loads(SCHEMA.read_text("utf-8")))
    table = json.loads((bundle.root / "manifest.json").read_text("utf-8"))
    assert [error.message for error in validator.iter_errors(table)] == []


def test_an_app_ships_nothing_twice(bundle: Bundle) -> None:
    folder = bundle.root / "coreml"
    kinds = {path.suffix for path in folder.iterdir()}
    assert kinds == {".mlpackage", ".safetensors"}
    facts = bundle.manifest.facts
    assert facts is not None and (bundle.root / facts.tokenizer.file).is_file()


def test_chunks_are_in_their_order_and_complete(coreml_vlm: Bundle) -> None:
    packages = {program.package: program for _, program in programs(coreml_vlm)}.values()
    chunks = [program.layers for program in packages if program.role == "decoder"]
    assert [program.role for program in packages] == ["vision", "embedding", *["decoder"] * len(chunks), "head"]
    assert chunks[0] is not None and chunks[-1] is not None and chunks[0][0] == 0
    assert all(left and right and left[1] == right[0] for left, right in pairwise(chunks))
    states = [state for program in packages for state in program.states]
    assert len(states) == 2 * chunks[-1][1]


def test_texts_have_functions_of_two_lengths(coreml_dual: Bundle) -> None:
    sizes = [graph.inputs[0].shape[1] for graph, program in programs(coreml_dual) if program.role == "text"]
    assert sorted(sizes)[-1] == coreml_dual.manifest.context_length and len(set(sizes)) == 2


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
    assert {program.identity for _, program in programs(bundle)} == {expected}


def test_a_package_of_another_bundle_is_found(coreml_dual: Bundle, tmp_path: Path) -> None:
    assert not foreign_packages(coreml_dual)
    shutil.copytree(coreml_dual.root, tmp_path / "copy")
    manifest = replace(coreml_dual.manifest, name="another")
    (tmp_path / "copy/manifest.json").write_text(manifest.to_json())
    other = Bundle.open(tmp_path / "copy", check="sha256")  # every file is the manifest's, and yet
    (check,) = (check for check in run(prepare(other, "tiny"), ("P0",)).rungs[0].checks if check.stage == "packages")
    assert check.status == "failed"
    names = [path.name for path in (other.root / "coreml").glob("*.mlpackage")]
    names.append("image_encoder in the manifest")
    assert all(f"{name} belongs to another bundle" in str(check.problem) for name in names)


def of_format_2(bundle: Bundle, folder: Path, metadata: str) -> Bundle:
    """The bundle as the release before wrote it: what apps are told is in a file of its own."""
    shutil.copytree(bundle.root, folder)
    (folder / "coreml/metadata.json").write_text(metadata, "utf-8")
    graphs = {name: replace(graph, program=None) for name, graph in bundle.manifest.graphs["coreml"].items()}
    manifest = replace(bundle.manifest, facts=None, graphs={"coreml": graphs})
    return replace(bundle, root=folder, manifest=manifest)


def test_a_bundle_of_format_2_gives_the_same_advice(coreml_dual: Bundle, tmp_path: Path) -> None:
    packages = [
        {"file": name, "compute_units": units, "name": name} for name, units in compute_units(coreml_dual).items()
    ]
    mean, std = mean_and_std(coreml_dual)
    table = {"packages": packages, "pictures": {"mean": list(mean), "std": list(std)}}
    older = of_format_2(coreml_dual, tmp_path / "older", json.dumps(table))
    assert packages and compute_units(older) == compute_units(coreml_dual)
    assert mean_and_std(older) == (mean, std)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ('{"packages": [{"file": "../../x", "compute_units": "all"}]}', "not a plain path inside the bundle"),
        ('{"packages": [{"file": "x", "compute_units": "quantum"}]}', "compute_units = 'quantum'; known"),
        ('{"packages": ["x"]}', "packages must be a list of tables"),
        ("[" * 5000, "is not valid JSON"),
        ("[]", "must be a table"),
    ],
)
def test_damaged_advice_is_one_line(coreml_dual: Bundle, tmp_path: Path, metadata: str, message: str) -> None:
    with pytest.raises(BundleError, match=message) as caught:
        compute_units(of_format_2(coreml_dual, tmp_path / "older", metadata))
    assert "\n" not in str(caught.value)
