"""Where the data files live: beside the package in a checkout, inside it in an installed wheel."""

from pathlib import Path

from nexus_edge.errors import MissingExtraError

_PACKAGE = Path(__file__).resolve().parent
_ASSETS = "in a package of their own: pip install nexus-edge-assets"


def recipes_dir() -> Path:
    """The folder with <model>/<recipe>.toml."""
    return _find("export")


def recipe_names() -> dict[str, list[str]]:
    """Model -> names of its recipes, both in the order of the alphabet."""
    folders = sorted(path for path in recipes_dir().iterdir() if path.is_dir())
    return {folder.name: sorted(path.stem for path in folder.glob("*.toml")) for folder in folders}


def schemes_dir() -> Path:
    """The folder with <scheme>.toml."""
    return _find("quant") / "schemes"


def calibration_dir() -> Path:
    """The folder with <text>.txt."""
    return _find("quant") / "calibration"


def goldens_dir() -> Path:
    """The folder with what the authors' code computed, one folder for each family."""
    return _find("tests/golden")


def embedded_checkpoint(model_type: str) -> Path:
    """The folder with the checkpoint that is trained in this repository.

    Raises:
        MissingExtraError: they are not installed; the wheel of the runtime leaves them out
    """
    folder = _PACKAGE / "assets" / f"tiny_{model_type}"
    if not folder.is_dir() and not goldens_dir().is_dir():
        raise MissingExtraError(f"the embedded checkpoints are {_ASSETS}")
    return folder


def require_recordings() -> None:
    """Raise MissingExtraError where what P1 compares with is not installed: the wheel of the runtime leaves it out."""
    if not goldens_dir().is_dir():
        raise MissingExtraError(f"P1 compares with recordings of the original, which are {_ASSETS}")


def _find(folder: str) -> Path:
    installed = _PACKAGE / "_data" / folder
    return installed if installed.is_dir() else _PACKAGE.parent / folder
