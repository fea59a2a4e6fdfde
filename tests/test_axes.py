"""The axes of growth: a third quantizer, target or engine is one folder or file, found by scanning with no edit."""

import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from code_strings import strings

from nexus_edge import axes
from nexus_edge.bundle import Bundle, BundleWeights
from nexus_edge.checkpoints import open_checkpoint
from nexus_edge.errors import RecipeError
from nexus_edge.families import family_named
from nexus_edge.parity.ladder import prepare
from nexus_edge.parity.rungs.p4_scheme import check_weights
from nexus_edge.pipeline.export import export
from nexus_edge.pipeline.preflight import check
from nexus_edge.quant import schemes
from nexus_edge.quant.registry import methods
from nexus_edge.recipe import find_recipe, read_recipe
from nexus_edge.runtimes import EngineOptions, load_vlm

pytestmark = pytest.mark.slow

PACKAGE = Path(__file__).parents[1] / "nexus_edge"
# Strings outside that are such a name and mean something else.
NAMED = {
    "engines/base.py": 1,  # the name of a public option, in its message
    "models/biomedclip/__init__.py": 1,  # clients of other projects, by the folder that they read
    "models/phi3_v/__init__.py": 3,
    "parity/sources.py": 2,  # packages whose versions a report states
    "runtimes/tuned.py": 1,  # a key of tuning.json
}
TARGET = """
from nexus_edge.interfaces.target import TargetInfo

HELD = frozenset({"float32", "int8-row", "int8-group"})
TARGET = TargetInfo(name="third", title="Third", extra="export", flavour="dynamic", encodings=HELD, kv="io")
"""
WRITER = """
from dataclasses import dataclass
from nexus_edge.bundle import GraphInfo
from nexus_edge.interfaces.target import WeightsFile
from nexus_edge.targets.onnx.emit import tensor_names, translate

@dataclass(frozen=True)
class Names:
    spec: object
    files: tuple

    @property
    def graph(self):
        return self.spec.name

class Third:
    companions = ()

    def weight_files(self, spec):
        return 1

    def translate(self, spec):
        names = frozenset(tensor_names(translate(spec)))
        return Names(spec, (WeightsFile(f"third/{spec.name}.weights", names, {}),))

    def write(self, root, graphs, weights, exported):
        infos = {}
        for graph in graphs:
            (file,), path = graph.files, root / f"third/{graph.graph}.txt"
            path.write_text("".join(f"{name} {weights.tensors[name].offset}\\n" for name in sorted(file.tensors)))
            scheme = weights.schemes[graph.graph]
            infos[graph.graph] = GraphInfo(
                path.relative_to(root).as_posix(), graph.spec.inputs, graph.spec.outputs, scheme, file.file
            )
        return infos

def make(recipe, specs):
    return Third()
"""
ENGINE = """
from nexus_edge.interfaces.engine_info import EngineInfo

ENGINE = EngineInfo(name="third", title="Third", target="onnx", extra="", modules={"vlm": "chat"})
"""
CHAT = """
from nexus_edge.engines.onnx.engine import OnnxEngine

class ThirdEngine(OnnxEngine):
    pass

def open_engine(bundle, options):
    return ThirdEngine(bundle, options)
"""
QUANTIZER = """
import torch
from nexus_edge.interfaces.quantizer import Quantizer
from nexus_edge.quant.rounding import in_chunks

def threes(weight, scheme, importance=None):
    def rows(chunk, scheme):
        groups = chunk.shape[1] // scheme.group_size
        codes = torch.full((len(chunk), groups, scheme.group_size // 2), 0x33, dtype=torch.uint8)
        return {"qweight": codes, "scales": torch.ones(len(chunk), groups, dtype=torch.float16)}
    return in_chunks(weight, scheme, rows)

QUANTIZER = Quantizer(threes, frozenset({"int4-group"}), nearest=False)
"""
SCHEME = """
description = "all codes are 3"
method = "third-one"
bits = 4
group_size = 32
scale_dtype = "float16"
activation = "int8-block"
"""
RECIPE = """
extends = "biomedclip/int8.toml"
name = "third"
targets = ["onnx"]
[graphs.text_encoder.overrides]
"*attention.self.query" = "third-g32"
"""


def forget() -> None:
    axes.targets.cache_clear()
    axes.engines.cache_clear()


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose modules are found as if they were in the rooms that are scanned."""
    rooms = ("nexus_edge.quant.methods", "nexus_edge.targets", "nexus_edge.engines")
    for name in rooms:
        package = import_module(name)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / name)])
        (tmp_path / name).mkdir()
    forget()
    yield tmp_path
    monkeypatch.undo()
    forget()
    for name in [name for name in sys.modules if any(name.startswith(f"{room}.third") for room in rooms)]:
        del sys.modules[name]


def write_target(room: Path) -> None:
    folder = room / "nexus_edge.targets" / "third"
    folder.mkdir()
    (folder / "__init__.py").write_text(TARGET, "utf-8")
    (folder / "target.py").write_text(WRITER, "utf-8")


def test_a_third_target_is_one_folder(room: Path) -> None:
    """Its weights are the first target's: the same file, on the disk once."""
    write_target(room)
    recipe = find_recipe("biomedclip", "int8").with_targets(("onnx", "third"))
    export(open_checkpoint("tiny", recipe.checkpoint), recipe, room / "out", parity=False)

    bundle = Bundle.open(room / "out", check="sha256")
    assert list(bundle.manifest.graphs["third"]) == ["image_encoder", "text_encoder"]
    for graph in ("image_encoder", "text_encoder"):
        shared = [bundle.root / f"onnx/{graph}.safetensors", bundle.root / f"third/{graph}.weights"]
        assert len({path.stat().st_ino for path in shared}) == 1


def test_a_target_that_cannot_hold_a_scheme_is_refused_before_anything_is_made(room: Path) -> None:
    write_target(room)
    recipe = find_recipe("biomedclip", "int4").with_targets(("third",))
    with pytest.raises(
        RecipeError,
        match=r"target third: image_encoder: \S+ has the scheme int4-\S+, whose int4-\S+ weights Third cannot hold "
        r"\(float32, int8-group, int8-row\)",
    ):
        check(open_checkpoint("tiny", recipe.checkpoint), recipe, room / "out")
    assert not (room / "out").exists()


def test_a_family_without_graphs_of_fixed_sizes_is_refused(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything of the format is imported."""
    monkeypatch.setattr(type(family_named("biomedclip")), "flavours", frozenset({"dynamic"}))
    monkeypatch.setitem(sys.modules, "coremltools", None)
    recipe = find_recipe("biomedclip", "int8").with_targets(("coreml",))
    with pytest.raises(RecipeError, match="target coreml: BiomedCLIP has no graphs of fixed sizes yet"):
        check(open_checkpoint("tiny", recipe.checkpoint), recipe, room / "out")


def test_finding_what_there_is_imports_no_torch_and_no_runtime() -> None:
    code = (
        "import sys; from nexus_edge import axes, recipe; from nexus_edge.quant.registry import methods; "
        "axes.targets(), axes.engines(), methods(); "
        "print({'torch', 'onnx', 'onnxruntime', 'openvino', 'coremltools'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_third_engine_for_a_target_is_one_folder(room: Path, toy_bundle: Bundle) -> None:
    folder = room / "nexus_edge.engines" / "third"
    folder.mkdir()
    (folder / "__init__.py").write_text(ENGINE, "utf-8")
    (folder / "chat.py").write_text(CHAT, "utf-8")

    def opened(name: str | None) -> str:
        with load_vlm(toy_bundle, EngineOptions(threads=1, engine=name)) as vlm:
            return type(vlm.engine).__name__

    assert (opened("third"), opened("onnx"), opened(None)) == ("ThirdEngine", "OnnxEngine", "OnnxEngine")


def test_an_engine_is_named_after_its_folder_and_runs_a_target() -> None:
    assert {name: info.name for name, info in axes.engines().items()} == {name: name for name in axes.engines()}
    assert {info.target for info in axes.engines().values()} <= axes.targets().keys()


def test_every_module_that_a_record_names_is_there() -> None:
    for info in axes.engines().values():
        names = (*info.modules.values(), info.state, info.variants, info.tuning, info.probe, info.piecewise)
        for name in filter(None, names):
            assert find_spec(f"nexus_edge.engines.{info.name}.{name}"), (info.name, name)
    for name in axes.targets():
        assert find_spec(f"nexus_edge.targets.{name}.target"), name


def test_no_string_outside_its_folder_names_a_target_or_an_engine() -> None:
    """What is said of one belongs into its record."""
    names = {*axes.targets(), *axes.engines()}
    found: dict[str, int] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        where = path.relative_to(PACKAGE)
        if where.parts[0] in ("targets", "engines") and where.parts[1] in names:
            continue
        count = sum(1 for text in strings(path) if text.strip("rfb").strip("\"'") in names)
        if count:
            found[where.as_posix()] = count
    assert found == NAMED


def test_a_target_is_named_after_its_folder() -> None:
    assert {name: info.name for name, info in axes.targets().items()} == {name: name for name in axes.targets()}


def test_a_third_quantizer_is_one_file_and_a_scheme(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (room / "nexus_edge.quant.methods" / "third_one.py").write_text(QUANTIZER, "utf-8")
    assert "third-one" in methods()
    shipped = schemes.schemes_dir()
    (room / "schemes").mkdir()
    for path in shipped.iterdir():
        (room / "schemes" / path.name).write_bytes(path.read_bytes())
    (room / "schemes" / "third-g32.toml").write_text(SCHEME, "utf-8")
    monkeypatch.setattr(schemes, "schemes_dir", lambda: room / "schemes")
    (room / "third.toml").write_text(RECIPE, "utf-8")

    recipe = read_recipe(room / "third.toml")
    checkpoint = open_checkpoint("tiny", recipe.checkpoint)
    export(checkpoint, recipe, room / "out", parity=False)

    bundle = Bundle.open(room / "out")
    weights = BundleWeights(bundle)
    queries = [name for name in weights.infos if name.endswith("attention.self.query.qweight")]
    assert queries
    assert all((weights.read(name) == 0x33).all() for name in queries)
    # The ladder does not count steps of codes that need not be near their weights, and still sees that these are wrong.
    failed = [check for check in check_weights(prepare(bundle, checkpoint)) if check.status == "failed"]
    assert {check.tensor for check in failed} == {f"{name.removesuffix('.qweight')}.weight" for name in queries}
    assert {check.gate.metric for check in failed if check.gate} == {"relative_l2"}
