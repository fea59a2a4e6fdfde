"""Writing a bundle: it appears complete or not at all, whatever happens on the way."""

import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nexus_edge._exchange import CALLS
from nexus_edge.bundle import Bundle, BundleWriter, Manifest
from nexus_edge.bundle import writer as writer_module
from nexus_edge.errors import BundleError, OutputError


def leftovers(out: Path) -> list[str]:
    return sorted(path.name for path in out.parent.iterdir() if path != out)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_export_leaves_nothing(
    error: type[BaseException], tmp_path: Path, fill: Callable[..., None]
) -> None:
    out = tmp_path / "bundle"
    with pytest.raises(error), BundleWriter(out) as writer:
        fill(writer)
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_block_left_without_commit_leaves_nothing(tmp_path: Path, fill: Callable[..., None]) -> None:
    with BundleWriter(tmp_path / "bundle") as writer:
        fill(writer)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_bundle_is_kept_without_force_and_replaced_with_it(
    bundle: Path, export: Callable[..., None]
) -> None:
    with pytest.raises(OutputError, match=r"exists already; use --force"):
        export(bundle, b"newer")
    assert (bundle / "onnx" / "weights.safetensors").read_bytes() == b"weights"
    export(bundle, b"newer", force=True)
    assert (bundle / "onnx" / "weights.safetensors").read_bytes() == b"newer"
    assert leftovers(bundle) == []


def test_force_does_not_replace_what_is_no_bundle(tmp_path: Path, export: Callable[..., None]) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letters.txt").write_text("dear")
    with pytest.raises(OutputError, match="is not a bundle, --force does not replace it"):
        export(tmp_path / "home", force=True)
    assert (tmp_path / "home" / "letters.txt").read_text() == "dear"


def test_a_failed_replacement_keeps_the_old_bundle(bundle: Path, fill: Callable[..., None]) -> None:
    with pytest.raises(KeyboardInterrupt), BundleWriter(bundle, force=True) as writer:
        fill(writer, b"newer")
        raise KeyboardInterrupt
    assert (bundle / "onnx" / "weights.safetensors").read_bytes() == b"weights"
    assert leftovers(bundle) == []


def test_if_the_last_rename_fails_the_old_bundle_returns(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, export: Callable[..., None]
) -> None:
    rename = Path.rename

    def fail_for_the_new_one(self: Path, target: Path) -> Path:
        if ".new-" in self.name:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(writer_module, "exchange", lambda *_paths: False)
    monkeypatch.setattr(Path, "rename", fail_for_the_new_one)
    with pytest.raises(KeyboardInterrupt):
        export(bundle, b"newer", force=True)
    assert (bundle / "onnx" / "weights.safetensors").read_bytes() == b"weights"
    assert leftovers(bundle) == []


def test_where_folders_cannot_be_exchanged_the_old_bundle_steps_aside(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, export: Callable[..., None]
) -> None:
    monkeypatch.setattr(writer_module, "exchange", lambda *_paths: False)
    export(bundle, b"newer", force=True)
    assert (bundle / "onnx" / "weights.safetensors").read_bytes() == b"newer"
    assert leftovers(bundle) == []


@pytest.mark.skipif(sys.platform not in CALLS, reason="this system cannot exchange two folders")
def test_a_bundle_is_replaced_without_ever_being_away(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, export: Callable[..., None]
) -> None:
    inode = bundle.stat().st_ino
    seen: list[bool] = []
    monkeypatch.setattr(Path, "rename", lambda *_paths: pytest.fail("two renames leave a moment without a bundle"))
    monkeypatch.setattr(writer_module.shutil, "rmtree", lambda *_args, **_options: seen.append(bundle.is_dir()))
    export(bundle, b"newer", force=True)
    assert seen == [True]
    assert bundle.stat().st_ino != inode
    assert (bundle / "onnx" / "weights.safetensors").read_bytes() == b"newer"


def test_an_export_that_lost_the_race_does_not_overwrite(
    tmp_path: Path, export: Callable[..., None], fill: Callable[..., None], manifest: Manifest
) -> None:
    out = tmp_path / "bundle"
    with pytest.raises(OutputError, match="exists already"), BundleWriter(out) as slower:
        fill(slower, b"slower")
        export(out, b"faster")
        slower.commit(manifest)
    assert (out / "onnx" / "weights.safetensors").read_bytes() == b"faster"
    assert leftovers(out) == []


def test_seal_makes_the_unfinished_bundle_readable_and_commit_hashes_only_what_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fill: Callable[..., None], manifest: Manifest
) -> None:
    hashed: list[str] = []
    hash_files = writer_module.hash_files

    def record(paths: Any) -> Any:
        paths = list(paths)
        hashed.extend(path.name for path in paths)
        return hash_files(paths)

    monkeypatch.setattr(writer_module, "hash_files", record)
    with BundleWriter(tmp_path / "bundle") as writer:
        fill(writer)
        writer.seal(manifest)
        assert Bundle.open(writer.root, check="sha256").graph("onnx", "decoder").read_bytes() == b"graph"
        (writer.root / "parity").mkdir()
        (writer.root / "parity" / "report.md").write_text("passed")
        writer.commit(manifest)
    assert hashed == ["decoder.onnx", "weights.safetensors", "report.md"]
    assert set(Bundle.open(tmp_path / "bundle", check="sha256").manifest.files) == {
        "onnx/decoder.onnx", "onnx/weights.safetensors", "parity/report.md"
    }  # fmt: skip


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_or_read_only_disk_is_an_output_error_and_leaves_nothing(
    code: int, tmp_path: Path, fill: Callable[..., None]
) -> None:
    message = rf"bundle: cannot be written: {os.strerror(code)}"
    with pytest.raises(OutputError, match=message), BundleWriter(tmp_path / "bundle") as writer:
        fill(writer)
        raise OSError(code, os.strerror(code))
    assert list(tmp_path.iterdir()) == []


def test_an_error_that_an_early_flush_saw_is_not_lost(
    tmp_path: Path, fill: Callable[..., None], manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))]  # the system reports it once

    def fsync(_descriptor: int) -> None:
        if errors:
            raise errors.pop()

    monkeypatch.setattr(writer_module.os, "fsync", fsync)
    with pytest.raises(OutputError, match="cannot be written"), BundleWriter(tmp_path / "bundle") as writer:
        fill(writer)
        writer.flush_early(writer.root / "onnx" / "weights.safetensors")
        writer._early.shutdown()  # it meets the error before commit flushes again
        writer.commit(manifest)
    assert list(tmp_path.iterdir()) == []


def test_other_errors_of_the_system_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), BundleWriter(tmp_path / "bundle") as writer:
        (writer.root / "absent").read_bytes()


def test_a_parent_that_cannot_hold_a_folder_is_an_output_error(tmp_path: Path, export: Callable[..., None]) -> None:
    # A file in the place of the parent stands for a folder without permission: root, who may run this, has all of them.
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        export(tmp_path / "file" / "bundle")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that nobody can write to")
def test_a_read_only_file_system_is_an_output_error(export: Callable[..., None]) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        export(Path("/proc/bundle"))


# A writer in a process of its own that announces its folder and then hangs.
HANGING = """
import sys, time
from pathlib import Path
from nexus_edge.bundle import BundleWriter
with BundleWriter(Path(sys.argv[1])) as writer:
    (writer.root / "half").write_text("half")
    print(writer.root, flush=True)
    time.sleep(60)
"""


def test_leftovers_of_a_killed_export_are_swept_and_those_of_a_living_one_are_not(
    tmp_path: Path, export: Callable[..., None]
) -> None:
    out = tmp_path / "bundle"
    with subprocess.Popen([sys.executable, "-c", HANGING, str(out)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        half = Path(process.stdout.readline().strip())
        assert half.is_dir() and half.parent == tmp_path
        export(out)
        assert half.is_dir()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert half.is_dir()
    export(out, force=True)
    assert leftovers(out) == []


def test_a_bundle_that_stepped_aside_for_a_killed_export_returns(bundle: Path, export: Callable[..., None]) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    bundle.rename(bundle.parent / f".bundle.old-{socket.gethostname()}-{process.pid}-")
    with pytest.raises(OutputError, match="exists already"):
        export(bundle)
    assert Bundle.open(bundle, check="sha256").manifest.name == "phi3-vision-int4"
    assert leftovers(bundle) == []


def test_the_committed_folder_can_be_read_by_others(bundle: Path) -> None:
    assert bundle.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("kind", [BundleError, PermissionError])
def test_an_error_names_the_folder_that_was_asked_for(kind: type[Exception], tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    with pytest.raises(kind, match=r"/bundle/onnx/a") as raised, BundleWriter(out) as writer:
        file = writer.root / "onnx" / "a"
        raise BundleError(f"{file}: is wrong") if kind is BundleError else PermissionError(13, "denied", str(file))
    assert ".new-" not in str(raised.value) and list(tmp_path.iterdir()) == []


def test_force_replaces_no_folder_with_somebody_elses_manifest(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "manifest.json").write_text('{"manifest_version": 3, "name": "app", "toolkit_version": "1"}')
    with pytest.raises(OutputError, match="app: is not a bundle, --force"), BundleWriter(tmp_path / "app", force=True):
        pytest.fail("nothing is made")
    assert (tmp_path / "app" / "manifest.json").is_file()


def test_force_replaces_a_damaged_bundle(bundle: Path, export: Callable[..., None]) -> None:
    text = (bundle / "manifest.json").read_bytes()
    (bundle / "manifest.json").write_bytes(text[: len(text) // 2])
    export(bundle, force=True)
    assert (bundle / "manifest.json").read_bytes() != text[: len(text) // 2]
