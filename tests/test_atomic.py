"""A file that appears complete or not at all."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nexus_edge._atomic import replaced_when_done
from nexus_edge.checkpoints import write_tensors
from nexus_edge.errors import OutputError


def test_the_new_file_takes_the_place_of_the_old(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "a.txt"
    for text in ("one", "two"):
        with replaced_when_done(path) as temporary:
            temporary.write_text(text)
            assert not path.exists() or path.read_text() == "one"
        assert path.read_text() == text
    assert [found.name for found in path.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_nothing_else(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one")
    with pytest.raises(error), replaced_when_done(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "one"
    assert [found.name for found in tmp_path.iterdir()] == ["a.txt"]


def test_what_the_disk_refuses_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(OutputError, match="folder: cannot be written: it is a folder"),
        replaced_when_done(tmp_path / "folder") as new,
    ):
        new.write_text("a file does not replace a folder")
    assert [found.name for found in tmp_path.iterdir()] == ["folder"]


def test_one_missing_folder_is_made_and_no_tree(tmp_path: Path) -> None:
    with replaced_when_done(tmp_path / "made" / "a.txt") as new:
        new.write_text("one")
    assert (tmp_path / "made" / "a.txt").read_text() == "one"
    with (
        pytest.raises(OutputError, match=r"there is no folder .*typo; make it first"),
        replaced_when_done(tmp_path / "typo" / "deep" / "a.txt") as new,
    ):
        pytest.fail("nothing is made")
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize("name", ["", ".", "/", ".."])
def test_names_of_folders_are_refused(name: str) -> None:
    with pytest.raises(OutputError, match="it is a folder"), replaced_when_done(Path(name)):
        pytest.fail("there is nowhere to write")


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    link = tmp_path / "link.txt"
    for target in (tmp_path / "data" / "old.txt", tmp_path / "data" / "absent.txt"):
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        with replaced_when_done(link) as temporary:
            temporary.write_text("new")
        assert link.is_symlink() and target.read_text() == "new"
    assert sorted(found.name for found in tmp_path.iterdir()) == ["data", "link.txt"]


@pytest.mark.skipif(os.name == "nt", reason="pipes are no files there")
def test_a_pipe_gets_the_content_at_the_end(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(pipe.read_text)
        with replaced_when_done(pipe) as temporary:
            temporary.write_text("new")
        assert reader.result(timeout=60) == "new"
    assert pipe.is_fifo() and [found.name for found in tmp_path.iterdir()] == ["pipe"]


@pytest.mark.skipif(os.name == "nt", reason="terminals are no files there")
def test_a_device_stays_one() -> None:
    """/dev/null, replaced by a process with the right to do so, is missed by all others; a terminal stands for it."""
    master, slave = os.openpty()
    terminal = Path(os.ttyname(slave))
    with replaced_when_done(terminal) as temporary:
        assert temporary.parent != terminal.parent
        temporary.write_text("new")
    assert os.read(master, 3) == b"new" and terminal.is_char_device()


STREAMING = """
import sys
from pathlib import Path
from nexus_edge._atomic import replaced_when_done
print("first")
with replaced_when_done(Path("/dev/stdout")) as temporary:
    temporary.write_text("new\\n")
print("last")
"""


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="this system has no such name")
def test_the_name_of_stdout_is_stdout(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", STREAMING], capture_output=True, text=True, check=True)
    assert done.stdout == "first\nnew\nlast\n"
    with (tmp_path / "out.txt").open("w") as file:
        subprocess.run([sys.executable, "-c", STREAMING], stdout=file, check=True)
    assert (tmp_path / "out.txt").read_text() == "first\nnew\nlast\n"
    assert Path("/dev/stdout").is_symlink()


def test_an_error_names_what_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the hidden file that grows beside it, whoever raises."""
    path = tmp_path / "a.safetensors"

    def full(folder: Path) -> SimpleNamespace:
        return SimpleNamespace(free=0)

    monkeypatch.setattr("shutil.disk_usage", full)
    with pytest.raises(OutputError, match=r"/a\.safetensors: cannot hold") as raised, replaced_when_done(path) as new:
        write_tensors(new, {"x": np.zeros(3, np.float32)})
    assert ".new-" not in str(raised.value) and list(tmp_path.iterdir()) == []


def test_threads_write_one_file_after_the_other(tmp_path: Path) -> None:
    """Process ids do not tell threads apart, nor containers: without more each takes the other's temporary file."""
    path, contents = tmp_path / "bank", [bytes([number]) * 100_000 for number in range(4)]
    barrier = threading.Barrier(len(contents))

    def write(content: bytes) -> None:
        for _ in range(10):
            barrier.wait(timeout=60)
            with replaced_when_done(path) as new:
                new.write_bytes(content)

    with ThreadPoolExecutor(len(contents)) as pool:
        list(pool.map(write, contents))
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]
