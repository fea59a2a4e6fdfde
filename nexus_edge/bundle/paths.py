"""Paths written in a manifest, which may come from anywhere: none of them may lead out of the bundle."""

import re
from pathlib import Path, PurePosixPath
from typing import Annotated

from msgspec import Meta

from nexus_edge.errors import BundleError

_PART = r'(?!\.{1,2}(?:/|$))[^/\\:*?"<>|\x00-\x1f]+'
"""No `.` or `..`, and nothing that separates paths, names devices or is refused in a file name on some platform."""

PLAIN = rf"^{_PART}(?:/{_PART})*$(?!\n)"
"""A path below some folder on every platform; `$` alone would let a line end pass."""

RelativePath = Annotated[str, Meta(pattern=PLAIN, description="a plain path inside the bundle")]


def check_relative(relative: str, where: str) -> str:
    """Return `relative` if it is a plain path below some folder on every platform.

    Raises:
        BundleError: it is empty, absolute, has `..` or `.` parts, doubled or trailing slashes, or odd characters.
    """
    if re.fullmatch(PLAIN, relative) is None:
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
