"""What can be said about the Swift package and the iOS app without Swift: names, files, keys of property lists."""

import json
import plistlib
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import openstep
import pytest

from nexus_edge.bundle import Bundle, GraphInfo, Manifest, ProgramInfo
from nexus_edge.models.phi3_v.host import SEPARATORS_GLOBAL_FIRST

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
APP, RUNTIME = ROOT / "apps" / "ios", ROOT / "runtimes" / "swift"
FIXTURES = RUNTIME / "Tests" / "NexusEdgeTests" / "Fixtures"
MAX_LINES = 400
CONSTANT = re.compile(r'static let \w+ = "([^"]+)"')
REFERENCE = re.compile(r"[0-9A-F]{24}")


def swift_files() -> list[Path]:
    return [path for folder in (APP, RUNTIME) for path in folder.rglob("*.swift") if ".build" not in path.parts]


def constants(enumeration: str) -> set[str]:
    """The strings of an enum in Names.swift."""
    source = (RUNTIME / "Sources/NexusEdge/Names.swift").read_text("utf-8")
    body = source.partition(f"enum {enumeration} {{")[2].partition("\n}")[0]
    found = set(CONSTANT.findall(body))
    assert found, f"Names.swift has no constants in {enumeration}"
    return found


def test_no_swift_file_is_longer_than_anybody_reads() -> None:
    assert len(swift_files()) > 50
    assert [path.name for path in swift_files() if len(path.read_text("utf-8").splitlines()) > MAX_LINES] == []


def programs(bundle: Bundle) -> list[tuple[GraphInfo, ProgramInfo]]:
    graphs = bundle.manifest.graphs["coreml"].values()
    return [(graph, graph.program) for graph in graphs if graph.program is not None]


def test_names_in_swift_are_those_of_exported_packages(coreml_vlm: Bundle, coreml_dual: Bundle) -> None:
    both = programs(coreml_vlm) + programs(coreml_dual)
    assert constants("Roles") == {program.role for _, program in both}
    assert constants("Functions") <= {program.function for _, program in both}
    assert constants("Inputs") == {tensor.name for graph, _ in both for tensor in graph.inputs}
    # A checkpoint of the other HD order names its separators so.
    outputs = {tensor.name for graph, _ in both for tensor in graph.outputs}
    assert constants("Outputs") == outputs | {SEPARATORS_GLOBAL_FIRST}


def test_the_key_that_ties_a_package_to_its_bundle_is_written(coreml_vlm: Bundle) -> None:
    spec = (coreml_vlm.root / "coreml/head.mlpackage/Data/com.apple.CoreML/model.mlmodel").read_bytes()
    (key,) = constants("Keys")
    assert key.encode() in spec and programs(coreml_vlm)[0][1].identity.encode() in spec


@pytest.mark.parametrize("name", ["biomedclip", "phi3-vision"])
def test_recorded_calls_are_of_packages_as_they_are_exported_today(
    name: str, coreml_vlm: Bundle, coreml_dual: Bundle
) -> None:
    today = (coreml_dual if name == "biomedclip" else coreml_vlm).manifest
    path = FIXTURES / name / "manifest.json"
    recorded = Manifest.from_json(path.read_text("utf-8"), str(path))
    assert recorded.facts == today.facts and _without_identity(recorded) == _without_identity(today), (
        "record again: tests/runtimes/coreml_calls.py"
    )


def _without_identity(manifest: Manifest) -> dict[str, GraphInfo]:
    """What apps are told of packages but which bundle they are of, which follows the files of the checkpoint."""
    graphs = manifest.graphs["coreml"]
    return {
        name: replace(graph, program=graph.program and replace(graph.program, identity=""))
        for name, graph in graphs.items()
    }


def test_the_app_asks_for_what_it_uses() -> None:
    info = plistlib.loads((APP / "Info.plist").read_bytes())
    for key in ("NSCameraUsageDescription", "NSPhotoLibraryUsageDescription"):
        assert "stays on this device" in info[key]
    assert info["UIFileSharingEnabled"] and info["LSSupportsOpeningDocumentsInPlace"]
    rights = plistlib.loads((APP / "NexusEdgeDemo.entitlements").read_bytes())
    assert rights == {"com.apple.developer.kernel.increased-memory-limit": True}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """The Xcode project."""
    return openstep.parse((APP / "NexusEdgeDemo.xcodeproj/project.pbxproj").read_text("utf-8"))


def test_each_object_of_the_project_is_there_and_used(project: dict[str, Any]) -> None:
    objects = project["objects"]
    mentioned = set(REFERENCE.findall(json.dumps([project["rootObject"], list(objects.values())])))
    assert mentioned == set(objects)
    assert {"PBXProject", "PBXNativeTarget", "PBXFileSystemSynchronizedRootGroup"} <= {
        item["isa"] for item in objects.values()
    }


def test_files_of_the_project_exist(project: dict[str, Any]) -> None:
    for item in project["objects"].values():
        if item.get("sourceTree") == "<group>" and "path" in item:
            assert (APP / item["path"]).exists(), item["path"]
        if item["isa"] == "XCLocalSwiftPackageReference":
            assert (APP / item["relativePath"] / "Package.swift").is_file()
        if item["isa"] == "XCBuildConfiguration":
            for key in ("INFOPLIST_FILE", "CODE_SIGN_ENTITLEMENTS"):
                assert (APP / item["buildSettings"].get(key, "Info.plist")).is_file()


def test_models_and_images_get_into_the_app(tmp_path: Path) -> None:
    bundle = tmp_path / "out/ios/tiny"
    for name in ("coreml/head.mlpackage/Manifest.json", "coreml/head.safetensors", "processor/tokenizer.json",
                 "onnx/decoder.onnx", "parity/report.json"):  # fmt: skip
        (bundle / name).parent.mkdir(parents=True, exist_ok=True)
        (bundle / name).write_text("{}", "utf-8")
    source = {"source": {"checkpoint": "/home/somebody/customer/mine", "revision": None}}
    (bundle / "manifest.json").write_text(json.dumps(source, indent=2), "utf-8")
    (tmp_path / "out/ios/unfinished").mkdir()
    (tmp_path / "nexus_edge").symlink_to(ROOT / "nexus_edge")
    resources = tmp_path / "app"
    subprocess.run([APP / "copy_models.sh", tmp_path, resources], check=True)
    there = {path.relative_to(resources / "Models").as_posix() for path in (resources / "Models").rglob("*.*")}
    assert {name for name in there if not name.endswith(".mlpackage")} == {
        "tiny/manifest.json", "tiny/coreml/head.mlpackage/Manifest.json", "tiny/processor/tokenizer.json"
    }  # fmt: skip
    shipped = json.loads((resources / "Models/tiny/manifest.json").read_text("utf-8"))
    assert shipped["source"]["checkpoint"] == "mine", "where it lies on this computer is nobody else's business"
    assert {path.suffix for path in (resources / "Samples").iterdir()} == {".png", ".jpg"}
