"""Which bundle is meant where none is named."""

import os
import shutil
from pathlib import Path

import pytest
import toy_dual

from nexus_edge.bundle import Bundle
from nexus_edge.errors import BundleError, InputError
from nexus_edge.runtimes.discover import find_bundle


@pytest.fixture
def out(dual_bundle: Bundle, toy_path: Path, tmp_path: Path) -> Path:
    """A folder with an older and a newer dual encoder, the newest of all a VLM, and what is not a bundle."""
    folder = tmp_path / "out"
    for age, (name, source) in enumerate(
        [("broken", toy_path), ("vlm", toy_path), ("newer", dual_bundle.root), ("older", dual_bundle.root)]
    ):
        shutil.copytree(source, folder / name)
        os.utime(folder / name / "manifest.json", (1e9 - age, 1e9 - age))
    (folder / "broken" / "manifest.json").write_text("{")
    (folder / "file").touch()
    return folder


def found(out: Path, *arguments: object, **options: object) -> tuple[str, str]:
    result = find_bundle(*arguments, out=out, environment=options.pop("environment", {}), **options)
    return result.bundle.root.name, result.why


def test_the_newest_dual_encoder_below_out(out: Path) -> None:
    assert found(out) == ("newer", f"the newest below {out}/")


def test_the_only_one_is_taken_without_choice(out: Path) -> None:
    shutil.rmtree(out / "newer")
    assert found(out) == ("older", f"the only one below {out}/")


def test_one_that_fits_goes_before_a_newer_one(out: Path) -> None:
    fits = lambda bundle: bundle.root.name == "older"  # noqa: E731
    assert found(out, fits) == ("older", f"the only one that fits below {out}/")
    assert found(out, lambda bundle: False)[0] == "newer", "what does not fit is told by who tries it"


def test_the_variable_names_one(out: Path, dual_bundle: Bundle) -> None:
    environment = {"NEXUS_EDGE_BUNDLE": str(dual_bundle.root)}
    assert found(out, environment=environment) == ("toy-dual", "named by NEXUS_EDGE_BUNDLE")
    with pytest.raises(BundleError, match="is not a bundle"):
        found(out, environment={"NEXUS_EDGE_BUNDLE": str(out / "absent")})


def test_the_one_noted_in_the_index_goes_before_out_if_it_fits(out: Path, tmp_path: Path) -> None:
    noted = toy_dual.write_bundle(tmp_path / "noted").root
    assert found(out, noted=noted) == ("noted", "noted in the index")
    assert found(out, lambda bundle: bundle.root.name != "noted", noted)[0] == "newer"
    assert found(out, noted=tmp_path / "moved-away")[0] == "newer"


def test_none_is_an_error_that_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no bundle of a dual encoder below .*export biomedclip.*--bundle"):
        find_bundle(out=tmp_path / "out", environment={})


def test_a_broken_one_is_not_passed_over_in_silence(out: Path) -> None:
    for name in ("newer", "older", "vlm"):
        shutil.rmtree(out / name)
    with pytest.raises(InputError, match=r"no bundle of a dual encoder below .*broken.manifest.json: is not valid"):
        found(out)
