"""Where the data files live: beside the package in a checkout, inside it in an installed wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def recipes_dir() -> Path:
    """The folder with <model>/<recipe>.toml."""
    return _find("export")


def schemes_dir() -> Path:
    """The folder with <scheme>.toml."""
    return _find("quant") / "schemes"


def calibration_dir() -> Path:
    """The folder with <text>.txt."""
    return _find("quant") / "calibration"


def goldens_dir() -> Path:
    """The folder with what the authors' code computed, one folder for each family."""
    return _find("tests/golden")


def _find(folder: str) -> Path:
    installed = _PACKAGE / "_data" / folder
    return installed if installed.is_dir() else _PACKAGE.parent / folder
