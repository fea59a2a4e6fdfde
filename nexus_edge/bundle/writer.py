"""Writes a bundle so that it appears at its place complete or not at all."""

import errno
import os
import re
import shutil
import socket
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from nexus_edge._arguments import resolved
from nexus_edge._atomic import named_as
from nexus_edge._exchange import exchange
from nexus_edge._outputs import HEAD
from nexus_edge.bundle.hashing import hash_files
from nexus_edge.bundle.manifest import FileInfo, Manifest
from nexus_edge.bundle.reader import MANIFEST
from nexus_edge.errors import NexusEdgeError, OutputError

# What a disk says when it cannot take the result. A missing permission is not among them: inside the block it may as
# well be that of a file that was read.
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EEXIST, errno.ENOTEMPTY}

# How `Manifest.to_json` begins, in every version.
OURS = re.compile(rb'\A\{\s*"model_type": "[^"]*",\s*"name": "[^"]*",\s*"toolkit_version": "')


class BundleWriter:
    """A context in which a bundle grows in a hidden sibling of its final place.

        with BundleWriter(Path("out/phi3-vision-int4")) as writer:
            ...                        # write files below writer.root
            writer.commit(manifest)    # hash, flush to disk, rename

    Leaving the block without `commit`, through an error or Ctrl-C, removes everything. What a killed process left
    behind is removed by the next writer for the same place.

    Args:
        out: the bundle's final folder.
        force: replace a bundle that is there; a folder that is not a bundle is never replaced.

    Raises:
        OutputError: on entering, if `out` exists or its parent cannot be written; inside, for a full or read-only disk.
    """

    def __init__(self, out: Path, force: bool = False) -> None:
        self.out = resolved(out)
        self._force = force
        self._early = ThreadPoolExecutor(1)
        self._flushing: list[Future[None]] = []
        self._hashed: dict[tuple[str, int, int], FileInfo] = {}
        # A name that says whose it is: processes of another machine may share the disk.
        self._owner = f"{socket.gethostname()}-{os.getpid()}"
        self.root = self.out

    def __enter__(self) -> "BundleWriter":
        try:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            self._sweep()
            require_free(self.out, force=self._force)
            self.root = Path(tempfile.mkdtemp(prefix=f".{self.out.name}.new-{self._owner}-", dir=self.out.parent))
            self.root.chmod(0o755)  # mkdtemp makes it private
        except OSError as error:
            raise OutputError(f"{self.out}: cannot be written: {error.strerror}; choose another --out") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._early.shutdown(cancel_futures=True)
        if self.root != self.out:
            shutil.rmtree(self.root, ignore_errors=True)
        with named_as(self.out, self.root):
            self._explain(error)

    def _explain(self, error: BaseException | None) -> None:
        """Raise what the user is told: the place that was asked for, not the hidden folder that grew beside it."""
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            raise OutputError(f"{self.out}: cannot be written: {error.strerror}; nothing was left behind") from error
        if isinstance(error, NexusEdgeError | OSError) and self.root != self.out and str(self.root) in str(error):
            raise error

    def seal(self, manifest: Manifest) -> Manifest:
        """Write manifest.json with the hash of every file there is now: `Bundle.open(writer.root)` works afterwards."""
        paths = {
            path.relative_to(self.root).as_posix(): path
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and path != self.root / MANIFEST
        }
        stats = {name: path.stat() for name, path in paths.items()}
        states = {name: (name, stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}
        changed = [name for name, state in states.items() if state not in self._hashed]
        for name, info in zip(changed, hash_files(paths[name] for name in changed), strict=True):
            self._hashed[states[name]] = info
        sealed = manifest.with_files({name: self._hashed[state] for name, state in states.items()})
        (self.root / MANIFEST).write_text(sealed.to_json(), "utf-8")
        return sealed

    def flush_early(self, path: Path) -> None:
        """Start to write a finished file to the disk while other work goes on, so that `commit` waits less."""
        self._flushing.append(self._early.submit(_flush, path))

    def commit(self, manifest: Manifest) -> Manifest:
        """Seal, flush everything to disk, and move the bundle to its place in one step.

        Raises:
            OutputError: something appeared at `out` in the meantime.
        """
        sealed = self.seal(manifest)
        # The disk reports an error to one flush only, so that of an early one must not be lost.
        for flushing in self._flushing:
            flushing.result()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(_flush, [path for path in self.root.rglob("*") if path.is_file()]))
        require_free(self.out, force=self._force)
        self._rename()
        self.root = self.out
        return sealed

    def _rename(self) -> None:
        """The new bundle takes the place of the old one, in one step where the system can exchange two folders.

        Elsewhere the old one steps aside; if the rest fails, it returns, and if the process is killed in between, the
        next writer puts it back.
        """
        if not self.out.exists():
            self.root.rename(self.out)
            return
        if exchange(self.root, self.out):
            shutil.rmtree(self.root, ignore_errors=True)
            return
        old = self.out.parent / f".{self.out.name}.old-{self._owner}-"
        try:
            self.out.rename(old)
            self.root.rename(self.out)
        finally:
            if self.out.exists():
                shutil.rmtree(old, ignore_errors=True)
            else:
                old.rename(self.out)

    def _sweep(self) -> None:
        """Clean up after processes of this machine that died midway; put a bundle back that had stepped aside."""
        for kind in ("new", "old"):
            prefix = f".{self.out.name}.{kind}-{socket.gethostname()}-"
            for folder in self.out.parent.iterdir():
                pid = folder.name.removeprefix(prefix).partition("-")[0]
                if not folder.name.startswith(prefix) or not pid.isdigit() or _alive(int(pid)):
                    continue
                if kind == "old" and not self.out.exists():
                    folder.rename(self.out)
                else:
                    shutil.rmtree(folder, ignore_errors=True)


def require_free(out: Path, *, force: bool) -> None:
    """Raise OutputError if something is at `out` that the user did not allow to replace, or that is not a bundle."""
    if not os.path.lexists(out):
        return
    if not force:
        raise OutputError(f"{out}: exists already; use --force to replace it, or another --out")
    if not _is_bundle(out):
        raise OutputError(f"{out}: is not a bundle, --force does not replace it; choose another --out")


def require_writable(out: Path, *, force: bool) -> Path:
    """The nearest folder above `out` that exists; raises OutputError if a bundle cannot be made there."""
    require_free(resolved(out), force=force)
    parent = resolved(out).parent
    try:
        out.exists()
        while not parent.exists() and not parent.is_symlink():
            parent = parent.parent
    except OSError as error:  # a name that no folder can have
        raise OutputError(f"{out!s:.300}: cannot be written: {error.strerror}; choose another --out") from error
    if not parent.is_dir():
        what = "a link that leads nowhere" if parent.is_symlink() else "a file"
        raise OutputError(f"{out}: {parent} is {what}; choose another --out")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"{out}: cannot be written: no permission in {parent}; choose another --out")
    return parent


def _is_bundle(folder: Path) -> bool:
    """Whether the folder's manifest is one of ours, also of another version or damaged: web apps have one, too."""
    try:
        with (folder / MANIFEST).open("rb") as file:
            return OURS.match(file.read(HEAD)) is not None
    except OSError:
        return False


def _alive(pid: int) -> bool:
    if os.name == "nt":  # signal 0 is a real one there; leftovers then stay
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's
    return True


def _flush(path: Path) -> None:
    """Wait until the disk has the file: a full disk may show only now."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
