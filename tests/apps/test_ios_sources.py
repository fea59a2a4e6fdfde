"""What can be said about the Swift package and the iOS app without Swift: names, files, keys of property lists."""

import json
import plistlib
import re
import subprocess
from pathlib import Path
from typing import Any

import openstep
import pytest

from nexus_edge.bundle import Bundle
from nexus_edge.engines.coreml.parts import SEPARATORS_GLOBAL_FIRST

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


def test_names_in_swift_are_those_of_exported_packages(coreml_vlm: Bundle, coreml_dual: Bundle) -> None:
    tables = [
        json.loads((bundle.root / "coreml/metadata.json").read_text("utf-8")) for bundle in (coreml_vlm, coreml_dual)
    ]
    packages = [package for table in tables for package in table["packages"]]
    functions = [function for package in packages for function in package["functions"]]

    def names(part: str) -> set[str]:
        return {tensor["name"] for function in functions for tensor in function[part]}

    assert constants("Roles") == {package["role"] for package in packages}
    assert constants("Functions") <= {function["name"] for function in functions}
    assert constants("Inputs") == names("inputs")
    # A checkpoint of the other HD order names its separators so.
    assert constants("Outputs") == names("outputs") | {SEPARATORS_GLOBAL_FIRST}


def test_the_key_that_ties_a_package_to_its_bundle_is_written(coreml_vlm: Bundle) -> None:
    spec = (coreml_vlm.root / "coreml/head.mlpackage/Data/com.apple.CoreML/model.mlmodel").read_bytes()
    manifest = json.loads((coreml_vlm.root / "coreml/metadata.json").read_text("utf-8"))["model"]["manifest_sha256"]
    (key,) = constants("Keys")
    assert key.encode() in spec and manifest.encode() in spec


def test_recorded_calls_are_of_packages_as_they_are_exported_today(coreml_dual: Bundle) -> None:
    today = _without_bytes(coreml_dual.root / "coreml/metadata.json")
    recorded = _without_bytes(FIXTURES / "biomedclip/metadata.json")
    assert recorded == today, "record again: tests/runtimes/coreml_calls.py"


def _without_bytes(path: Path) -> Any:
    table = json.loads(path.read_text("utf-8"))
    packages = [{key: value for key, value in package.items() if key != "bytes"} for package in table["packages"]]
    return table["format"], table["zero_shot"], sorted(table["model"]), packages


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


def test_models_and_pictures_get_into_the_app(tmp_path: Path) -> None:
    coreml = tmp_path / "out/ios/tiny/coreml"
    coreml.mkdir(parents=True)
    for name in ("metadata.json", "head.safetensors"):
        (coreml / name).write_text("{}", "utf-8")
    (tmp_path / "out/ios/unfinished").mkdir()
    (tmp_path / "nexus_edge").symlink_to(ROOT / "nexus_edge")
    resources = tmp_path / "app"
    subprocess.run([APP / "copy_models.sh", tmp_path, resources], check=True)
    assert [path.name for path in resources.rglob("*.json")] == ["metadata.json"]
    assert list(resources.rglob("*.safetensors")) == []
    assert {path.suffix for path in (resources / "Samples").iterdir()} == {".png", ".jpg"}
