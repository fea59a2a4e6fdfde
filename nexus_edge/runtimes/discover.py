"""The bundle of a dual encoder that is meant where a command names none."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nexus_edge.bundle import Bundle
from nexus_edge.bundle.reader import MANIFEST
from nexus_edge.errors import BundleError, InputError

VARIABLE = "NEXUS_EDGE_BUNDLE"
OUT = Path("out")  # where nexus-edge export puts bundles, unless it is told otherwise


@dataclass(frozen=True)
class Found:
    """A bundle, and in words why it was taken."""

    bundle: Bundle
    why: str


def find_bundle(
    fits: Callable[[Bundle], bool] = lambda bundle: True,
    noted: Path | None = None,
    *,
    out: Path = OUT,
    environment: Mapping[str, str] = os.environ,
) -> Found:
    """The bundle that `NEXUS_EDGE_BUNDLE` names, else the `noted` one, else the newest dual encoder below `out`.

    Args:
        fits: whether a bundle can do what is asked; one that can goes before newer ones that cannot
        noted: a folder that an index names; taken if it is a bundle that fits
        out: folder with bundles
        environment: of the process

    Raises:
        InputError: there is none
        BundleError: the variable names a folder that is not a bundle
    """
    if named := environment.get(VARIABLE):
        return Found(Bundle.open(named), f"named by {VARIABLE}")
    if noted is not None:
        for bundle in _dual_encoders([noted], []):
            if fits(bundle):
                return Found(bundle, "noted in the index")
    broken: list[BundleError] = []
    folders = sorted(path.parent for path in out.glob(f"*/{MANIFEST}"))
    found = sorted(_dual_encoders(folders, broken), key=lambda bundle: (bundle.root / MANIFEST).stat().st_mtime_ns)
    if not found:
        reason = f" ({broken[0]})" if broken else ""
        raise InputError(
            f"no bundle of a dual encoder below {out}/{reason}; make one with nexus-edge export biomedclip, "
            f"or name one with --bundle or {VARIABLE}"
        )
    fitting = [bundle for bundle in found if fits(bundle)]
    why = "the only one that fits" if len(fitting) == 1 else "the newest"
    return Found((fitting or found)[-1], f"{why} below {out}/" if len(found) > 1 else f"the only one below {out}/")


def _dual_encoders(folders: Iterable[Path], broken: list[BundleError]) -> list[Bundle]:
    """Those folders that hold a bundle of a dual encoder; why others are no bundle goes to `broken`."""
    bundles = []
    for folder in folders:
        try:
            bundle = Bundle.open(folder)
        except BundleError as error:
            broken.append(error)
            continue
        if bundle.manifest.dual_encoder is not None:
            bundles.append(bundle)
    return bundles
