"""Paths written in a manifest, which may come from anywhere: none of them may lead out of the bundle."""

from pathlib import Path, PurePosixPath

from nexus_edge.errors import BundleError

# What separates paths, names devices or is refused in a file name on some platform.
FORBIDDEN = set('\\:*?"<>|') | {chr(code) for code in range(32)}


def check_relative(relative: str, where: str) -> str:
    """Return `relative` if it is a plain path below some folder on every platform.

    Raises:
        BundleError: it is empty, absolute, has `..` or `.` parts, doubled or trailing slashes, or odd characters.
    """
    parts = relative.split("/")
    if any(part in ("", ".", "..") for part in parts) or FORBIDDEN & set(relative):
        raise BundleError(f"{where}: {relative!r:.80} is not a plain path inside the bundle")
    return relative


def resolve_inside(root: Path, relative: str, where: str) -> Path:
    """`root / relative`, which must exist as a file and, symbolic links followed, lie below `root`.

    Raises:
        BundleError: it leaves the bundle, or is no file.
    """
    path = root / PurePosixPath(check_relative(relative, where))
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        raise BundleError(f"{where}: {relative} is missing; export the bundle again, or copy it whole") from error
    if not real.is_relative_to(root.resolve()):
        raise BundleError(f"{where}: {relative} leads out of the bundle, to {real}")
    if not real.is_file():
        raise BundleError(f"{where}: {relative} is not a file")
    return path
