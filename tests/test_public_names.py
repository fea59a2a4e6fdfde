"""What other people's code may rely on: the names of `nexus_edge`, and the console script."""

import inspect
import pkgutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import nexus_edge
from nexus_edge import errors
from nexus_edge.errors import BundleError, RecipeError

ROOT = Path(__file__).parents[1]


def in_new_python(script: str) -> str:
    """What `script` prints in a process that has imported nothing yet."""
    return subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_the_public_names_are_these() -> None:
    functions = ["__version__", "errors", "export", "load", "load_dual_encoder", "load_vlm", "verify"]
    classes = ["VLM", "Answer", "AnswerStream", "AsyncAnswerStream", "ChatSession", "Classification", "DualEncoder"]
    options = ["EngineOptions", "GenerationOptions"]
    tree = [name for name, kind in vars(errors).items() if inspect.isclass(kind)]
    assert sorted(nexus_edge.__all__) == sorted([*functions, *classes, *options, *tree])
    assert all(getattr(nexus_edge, name) is not None for name in nexus_edge.__all__)
    assert set(nexus_edge.__all__) <= set(dir(nexus_edge))
    assert list(inspect.signature(nexus_edge.load).parameters)[:1] == ["bundle"]
    assert list(inspect.signature(nexus_edge.verify).parameters)[:1] == ["bundle"]
    with pytest.raises(AttributeError, match="no attribute 'exprot'"):
        _ = nexus_edge.exprot


def test_importing_the_package_imports_nothing_heavy() -> None:
    script = "import sys, nexus_edge; print(sorted({'torch', 'onnx', 'onnxruntime', 'numpy'} & sys.modules.keys()))"
    assert in_new_python(script) == "[]"


@pytest.mark.parametrize("first", ["nexus_edge", "nexus_edge.targets.onnx", "nexus_edge.pipeline.export"])
def test_export_is_a_function_whatever_was_imported_before(first: str) -> None:
    script = f"import {first}, nexus_edge; print(callable(nexus_edge.export), nexus_edge.export.__name__)"
    assert in_new_python(script) == "True export"


def test_the_functions_refuse_what_they_cannot_use(tmp_path: Path) -> None:
    for function in (nexus_edge.load, nexus_edge.verify):
        with pytest.raises(BundleError, match="is not a bundle"):
            function(tmp_path)
    with pytest.raises(RecipeError, match="did you mean 'phi3-vision'"):
        nexus_edge.export("phi3-vison")


def test_old_names_work_and_say_the_new_one() -> None:
    for module, old, new in (
        ("nexus_edge.runtimes", "PictureIndex", "ImageIndex"),
        ("nexus_edge.runtimes", "find_pictures", "find_images"),
        ("nexus_edge.processing.images", "Picture", "ImageInput"),
    ):
        home = import_module(module)
        with pytest.warns(DeprecationWarning, match=f"{module}.{old} is now {module}.{new}"):
            assert getattr(home, old) is getattr(home, new)
        with pytest.raises(AttributeError, match="no attribute 'Pictures'"):
            _ = home.Pictures


def test_every_console_script_loads() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    assert set(scripts) == {"nexus-edge"}
    for place in scripts.values():
        assert callable(pkgutil.resolve_name(place))


def test_without_the_extra_an_export_names_it(tmp_path: Path) -> None:
    script = (
        "import sys, nexus_edge\n"
        "sys.modules['torch'] = None\n"  # Python's way to say: not installed
        "try:\n"
        f"    nexus_edge.export('phi3-vision', checkpoint='tiny', out={str(tmp_path / 'bundle')!r})\n"
        "except nexus_edge.errors.MissingExtraError as error:\n"
        "    print(error)"
    )
    assert in_new_python(script) == "export needs torch: pip install 'nexus-edge[export]'"
    assert not (tmp_path / "bundle").exists()


def test_a_missing_module_of_our_own_is_no_missing_extra() -> None:
    from nexus_edge._extras import needs_extra

    with pytest.raises(ModuleNotFoundError), needs_extra("export"):
        import nexus_edge.absent  # noqa: F401
