"""The rule of the layout: what Python imports lies in nexus_edge/, everything else beside it; both ways of installing.

The wheel is built with hatchling directly: pip's build isolation would fetch hatchling from an index.
"""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAX_LINES = 400
RUNTIME_WHEEL_BYTES = 6_000_000  # what an app downloads
# What a family adds to the wheel of the assets: checkpoint and held-out set. The first two answer what a real
# model is asked; those to come are there to be exported.
FAMILY_BYTES = {"tiny_phi3_v": 4_000_000, "tiny_biomedclip": 6_000_000}
NEXT_FAMILY_BYTES = 1_500_000
# What `pip install nexus-edge` brings does not include these.
EXPORT_ONLY = (
    "torch", "onnx", "onnx_ir", "onnxscript", "safetensors", "ml_dtypes", "huggingface_hub", "matplotlib",
    "transformers", "openvino", "coremltools",
)  # fmt: skip
RUNTIME_MODULES = (
    "nexus_edge", "nexus_edge.bundle", "nexus_edge.checkpoints", "nexus_edge.cli", "nexus_edge.errors",
    "nexus_edge.processing", "nexus_edge.quant.schemes", "nexus_edge.recipe", "nexus_edge.runtimes",
)  # fmt: skip
BLOCKED_IMPORTS = """
import importlib, importlib.abc, json, sys
blocked = set(json.loads(sys.argv[1]))
class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ImportError(f"{name} is not part of the runtime install")
sys.meta_path.insert(0, Blocker())
for name in json.loads(sys.argv[2]):
    importlib.import_module(name)
from nexus_edge.cli.commands import Commands
list(Commands().values())
"""
HELP = """
from nexus_edge.cli import main
import sys
sys.argv[1:] = ["--help"]
try:
    main()
except SystemExit:
    pass
"""
# Finds every kind of data file that travels with the package; prints where.
FIND_DATA = """
import json
import nexus_edge
from nexus_edge._resources import goldens_dir, recipes_dir, schemes_dir
from nexus_edge.checkpoints import open_checkpoint, tiny_folder
from nexus_edge.quant.schemes import available_schemes, load_scheme
from nexus_edge.recipe import find_recipe
recipe = find_recipe("phi3.5-vision", "int4")
for graph in recipe.graphs.values():
    load_scheme(graph.scheme)
assert len(available_schemes()) >= 8
assert all((goldens_dir() / name / "outputs.safetensors").is_file() for name in ("phi3_vision_tiny", "biomedclip_tiny"))
assert open_checkpoint("synthetic", recipe.checkpoint).config["model_type"] == recipe.model_type
assert open_checkpoint("tiny", recipe.checkpoint).config["model_type"] == recipe.model_type
print(json.dumps([nexus_edge.__file__, str(recipes_dir()), str(schemes_dir()), str(tiny_folder())]))
"""


def run(script: str, *arguments: str, path: Path, cwd: Path) -> str:
    """Run `script` with nexus_edge taken from `path` and nothing from the current folder."""
    result = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "PYTHONPATH": str(path), "PYTHONSAFEPATH": "1"},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def sources() -> list[Path]:
    """Everything people wrote and read, as git sees it: files that are tracked or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    names = [name for name in listed.stdout.splitlines() if Path(name).suffix in (".py", ".toml", ".md", ".txt")]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


@pytest.mark.parametrize("folder", ["export", "quant", "runtimes", "apps"])
def test_the_outer_folders_hold_nothing_that_python_imports(folder: str) -> None:
    assert (ROOT / folder / "README.md").is_file(), f"{folder}/README.md should say what lives there"
    assert list((ROOT / folder).rglob("*.py")) == []


def test_the_map_in_the_readme_names_every_folder() -> None:
    tracked = {path.relative_to(ROOT).parts for path in sources()}
    folders = {parts[0] for parts in tracked if len(parts) > 1 and not parts[0].startswith(".")}
    inner = {parts[1] for parts in tracked if len(parts) > 2 and parts[0] == "nexus_edge"}
    readme = (ROOT / "README.md").read_text("utf-8")
    layout = readme[readme.index("## Layout") :].split()
    assert [name for name in sorted(folders | inner) if f"{name}/" not in layout] == []


def test_no_file_is_longer_than_anybody_reads() -> None:
    assert [str(path.relative_to(ROOT)) for path in sources() if _lines(path) > MAX_LINES] == []


def _lines(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines())


def test_the_runtime_imports_nothing_of_the_export_extra() -> None:
    run(BLOCKED_IMPORTS, json.dumps(EXPORT_ONLY), json.dumps(RUNTIME_MODULES), path=ROOT, cwd=ROOT)


@pytest.mark.parametrize("script", ["import nexus_edge", "import nexus_edge.runtimes, nexus_edge.processing", HELP])
def test_jinja_is_imported_for_prompts_alone(script: str) -> None:
    run(f"{script}\nimport sys\nassert 'jinja2' not in sys.modules", path=ROOT, cwd=ROOT)


def test_a_checkout_finds_its_data_beside_the_package(tmp_path: Path) -> None:
    assert not (ROOT / "nexus_edge" / "_data").exists(), "a stale copy would hide export/ and quant/"
    places = json.loads(run(FIND_DATA, path=ROOT, cwd=tmp_path))
    assert [Path(place) for place in places[:3]] == [
        ROOT / "nexus_edge" / "__init__.py", ROOT / "export", ROOT / "quant" / "schemes"
    ]  # fmt: skip


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name of the distribution -> its wheel."""
    found = {}
    for name, project in (("nexus_edge", ROOT), ("nexus_edge_assets", ROOT / "packaging" / "assets")):
        folder = tmp_path_factory.mktemp(name)
        build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
        result = subprocess.run(build, cwd=project, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        (found[name],) = folder.glob("*.whl")
    return found


def unpack(wheels: list[Path], folder: Path) -> Path:
    """What an install of the wheels would lay out."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def installed(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both wheels, as an install for exports has them."""
    return unpack([*wheels.values()], tmp_path_factory.mktemp("both"))


@pytest.fixture(scope="module")
def runtime(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runtime alone, as an app has it."""
    return unpack([wheels["nexus_edge"]], tmp_path_factory.mktemp("runtime"))


def test_an_app_downloads_little(wheels: dict[str, Path], runtime: Path) -> None:
    assert wheels["nexus_edge"].stat().st_size <= RUNTIME_WHEEL_BYTES
    assert list((runtime / "nexus_edge" / "assets").rglob("*.safetensors")) == []


def test_the_runtime_alone_says_where_the_checkpoints_are(runtime: Path, tmp_path: Path) -> None:
    script = (
        "from nexus_edge._resources import require_recordings\n"
        "from nexus_edge.checkpoints import tiny_folder\n"
        "from nexus_edge.errors import MissingExtraError\n"
        "for call in (require_recordings, tiny_folder):\n"
        "    try:\n"
        "        call()\n"
        "    except MissingExtraError as error:\n"
        "        print(error)"
    )
    lines = run(script, path=runtime, cwd=tmp_path).splitlines()
    assert len(lines) == 2
    assert all(line.endswith("pip install nexus-edge-assets") for line in lines)


def test_no_two_wheels_hold_the_same_file(wheels: dict[str, Path]) -> None:
    """Removing one would take the other's."""
    names = [set(zipfile.ZipFile(wheel).namelist()) for wheel in wheels.values()]
    assert names[0] & names[1] == set()


def test_an_installed_wheel_finds_its_data_inside_the_package(installed: Path, tmp_path: Path) -> None:
    places = json.loads(run(FIND_DATA, path=installed, cwd=tmp_path))
    assert all(Path(place).is_relative_to(installed / "nexus_edge") for place in places)


def test_the_wheel_holds_the_package_and_nothing_else(installed: Path) -> None:
    top = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert top == {"nexus_edge"}
    data = installed / "nexus_edge" / "_data"
    for folder in ("export", "quant"):
        shipped = {path.relative_to(data).as_posix() for path in (data / folder).rglob("*") if path.is_file()}
        beside = {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*") if path.is_file()}
        assert shipped == beside


def test_the_embedded_checkpoints_stay_small(installed: Path) -> None:
    for folder in (installed / "nexus_edge" / "assets").glob("tiny_*"):
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert 0 < sum(path.stat().st_size for path in files) <= FAMILY_BYTES.get(folder.name, NEXT_FAMILY_BYTES)
