"""An exported bundle on disk: validated when it is opened, and never a way out of its own folder."""

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from nexus_edge._arguments import require_path
from nexus_edge._text import read_text, require_regular
from nexus_edge.bundle.hashing import hash_file, hash_files
from nexus_edge.bundle.manifest import Manifest
from nexus_edge.bundle.paths import resolve_inside
from nexus_edge.errors import BundleError, OutputError, ParityError

MANIFEST = "manifest.json"
PARITY = "parity"
GOLDENS = f"{PARITY}/goldens.safetensors"
Check = Literal["size", "sha256"]


@dataclass(frozen=True)
class Bundle:
    """A folder with a valid manifest.

    `allow_rejected` says that the bundle may run although its parity ladder rejected it.
    """

    root: Path
    manifest: Manifest
    allow_rejected: bool = False

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], check: Check | None = "size", *, allow_rejected: bool = False
    ) -> "Bundle":
        """Open the bundle at `path`.

        Args:
            path: the bundle's folder
            check: "size" compares the size of every file with the manifest (instant); "sha256" also their hashes (about
                a second per GB); None trusts the files
            allow_rejected: let what was opened run although its ladder rejected it

        Raises:
            BundleError: no bundle, an invalid manifest, or a file that is missing, changed or outside.
            InputError: `path` is empty or no path
        """
        root = require_path("bundle", path)
        try:
            require_regular(root / MANIFEST)
            text = read_text(root / MANIFEST)
        except OSError as error:
            raise BundleError(f"{root}: is not a bundle ({_why(root, error)}); nexus-edge export makes one") from error
        except ValueError as error:
            raise BundleError(f"{root}: is not a bundle ({MANIFEST} {error}); nexus-edge export makes one") from error
        bundle = cls(root, Manifest.from_json(text, str(root / MANIFEST)), allow_rejected)
        if check:
            bundle._check_files(check)
        return bundle

    def file(self, relative: str) -> Path:
        """A file of the bundle by its path relative to the root, with forward slashes.

        Raises:
            BundleError: it is missing or outside the bundle.
        """
        return resolve_inside(self.root, relative, str(self.root))

    def graph(self, target: str, name: str) -> Path:
        """The file of a graph, e.g. `graph("onnx", "decoder")`.

        Raises:
            BundleError: the bundle has no such target or graph.
        """
        graphs = self.manifest.graphs.get(target)
        if graphs is None:
            raise BundleError(
                f"{self.root}: was not exported for {target!r}, only for {', '.join(self.manifest.targets)}"
            )
        if name not in graphs:
            raise BundleError(f"{self.root}: has no graph {name!r} for {target}, only {', '.join(graphs)}")
        return self.file(graphs[name].file)

    def with_parity(self, parity: Mapping[str, Any]) -> "Bundle":
        """Record a new verdict: rewrite manifest.json in one step, with fresh hashes of all that lies in parity/.

        Raises:
            OutputError: the bundle cannot be written.
        """
        files = {name: info for name, info in self.manifest.files.items() if not name.startswith(f"{PARITY}/")}
        try:
            for path in sorted((self.root / PARITY).rglob("*")):
                if path.is_file():
                    files[path.relative_to(self.root).as_posix()] = hash_file(path)
            manifest = replace(self.manifest, parity=dict(parity), files=files)
            temporary = self.root / f".{MANIFEST}.{os.getpid()}"
            temporary.write_text(manifest.to_json(), "utf-8")
            temporary.replace(self.root / MANIFEST)
        except OSError as error:
            raise OutputError(f"{self.root}: the parity verdict cannot be recorded: {error.strerror}") from error
        return replace(self, manifest=manifest)

    def require_accepted(self) -> None:
        """Raise ParityError where the parity ladder rejected the bundle, unless that is allowed."""
        reason = self.manifest.rejection
        if reason is not None and not self.allow_rejected:
            raise ParityError(
                f"{self.root}: its parity ladder rejected it: {reason}; export it again, or run it all the same with "
                "--allow-rejected (in Python allow_rejected=True)"
            )

    def _check_files(self, check: Check) -> None:
        expected = self.manifest.files
        paths = {name: self.file(name) for name in expected}
        for name, path in paths.items():
            size = path.stat().st_size
            if size != expected[name].size:
                raise BundleError(
                    f"{path}: has {size} bytes, the manifest says {expected[name].size}; changed since export"
                )
        if check == "sha256":
            try:
                hashes = hash_files(paths.values())
            except OSError as error:
                raise unreadable(error.filename, error) from error
            for name, found in zip(paths, hashes, strict=True):
                if found != expected[name]:
                    raise BundleError(f"{paths[name]}: its SHA-256 is not the manifest's; changed since export")


def _why(root: Path, error: OSError) -> str:
    """Why the manifest of a folder cannot be read, in words."""
    if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
        return str(error.strerror)
    if root.is_dir():
        return f"it has no {MANIFEST}" if isinstance(error, FileNotFoundError) else f"{MANIFEST}: {error.strerror}"
    return "it is a file" if root.is_file() else "there is no such folder"


def unreadable(path: str | Path, error: OSError) -> BundleError:
    """What is said of a file of a bundle that the system does not let this user read."""
    return BundleError(
        f"{path}: cannot be read ({error.strerror or error}); let this user read it, or export the bundle again"
    )
