"""What a user sees who gives an export something bad: one line, the right exit code, and nothing half-written.

Each reader and writer has its own tests of every single way to be wrong; here one of each kind goes through the whole
command. Exit codes: 2 input, 3 parity, 4 checkpoint, 130 Ctrl-C.
"""

import errno
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.numpy

from nexus_edge._resources import recipes_dir
from nexus_edge.axes import targets
from nexus_edge.checkpoints import StreamingSafetensorsWriter, tiny_folder

pytestmark = pytest.mark.slow

Run = Callable[..., Any]
ROOT = Path(__file__).parents[2]
PATIENCE = 300  # seconds for a subprocess that takes ten on an idle machine
MAIN = "from nexus_edge.cli import main; main()"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A copy of the embedded checkpoint, to be damaged."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for path in tiny_folder().iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where the bundle should have gone; its folder holds nothing else."""
    (tmp_path / "results").mkdir()
    return tmp_path / "results" / "bundle"


# --- checkpoints: exit code 4


def split_header(path: Path) -> tuple[dict[str, Any], bytes]:
    raw = path.read_bytes()
    (length,) = struct.unpack_from("<Q", raw)
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def join_header(header: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def remove(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def lengthen_the_header(path: Path) -> None:
    path.write_bytes(struct.pack("<Q", path.stat().st_size * 2) + path.read_bytes()[8:])


def overlap(path: Path) -> None:
    header, data = split_header(path)
    second = sorted(header.keys() - {"__metadata__"}, key=lambda key: header[key]["data_offsets"])[1]
    begin, end = header[second]["data_offsets"]
    header[second]["data_offsets"] = [begin - 2, end - 2]
    path.write_bytes(join_header(header, data))


def drop_a_tensor(path: Path) -> None:
    tensors = safetensors.numpy.load_file(path)
    del tensors["model.layers.1.mlp.down_proj.weight"]
    safetensors.numpy.save_file(tensors, path)


def change_the_model(path: Path) -> None:
    config = path.with_name("config.json")
    config.write_text(config.read_text().replace('"phi3_v"', '"llava_next"'))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove, "model.safetensors"),
        (truncate, "truncated"),
        (lengthen_the_header, "truncated"),
        (overlap, "overlaps"),
        (drop_a_tensor, "model.layers.1.mlp.down_proj.weight"),
        (change_the_model, "model_type 'llava_next', expected 'phi3_v'"),
    ],
)
def test_a_damaged_checkpoint(
    damage: Callable[[Path], None], message: str, checkpoint: Path, out: Path, run_command: Run
) -> None:
    damage(checkpoint / "model.safetensors")
    result = run_command("export", "phi3-vision", "--checkpoint", checkpoint, "--out", out)
    result.assert_error(4, str(checkpoint), message)
    assert list(out.parent.iterdir()) == []


def test_weights_that_are_not_finite_are_found_while_they_stream(checkpoint: Path, out: Path, run_command: Run) -> None:
    header, data = split_header(checkpoint / "model.safetensors")
    begin, end = header["model.layers.1.mlp.down_proj.weight"]["data_offsets"]
    nan = struct.pack("<H", 0x7FC0)  # bfloat16
    broken = data[:begin] + nan + data[begin + 2 : end] + data[end:]
    (checkpoint / "model.safetensors").write_bytes(join_header(header, broken))
    result = run_command("export", "phi3-vision", "--checkpoint", checkpoint, "--out", out, "--no-parity")
    result.assert_ended(4, "model.layers.1.mlp.down_proj.weight")  # on a slow machine after lines of progress
    assert list(out.parent.iterdir()) == []


def test_no_network_names_the_ways_without_one(tmp_path: Path) -> None:
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "cache")}  # port 9: nobody listens
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "export", "phi3-vision", "--out", str(tmp_path / "bundle")],
        cwd=ROOT, env={**os.environ, **nowhere}, capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 4
    assert done.stderr.startswith("error: microsoft/Phi-3-vision-128k-instruct: ")
    assert "--checkpoint DIR" in done.stderr and "--checkpoint tiny" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "bundle").exists()


# --- what is asked for: exit code 2


def write_recipe(folder: Path, *lines: str) -> Path:
    path = folder / "mine.toml"
    path.write_text("\n".join(('extends = "phi3-vision/int4.toml"', *lines)))
    return path


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("descripton = 'mine'",), "unknown key 'descripton'; did you mean 'description'?"),
        (("[graphs.decoder]", "schema = 'int4-g64'"), "unknown key 'schema'; did you mean 'scheme'?"),
        (("[graphs.decoder]", "scheme = 'int4-g65'"), "'int4-g65'; did you mean 'int4-g64'?"),
        (("model_type = 'phi4mm'",), "is for model_type 'phi4mm', but phi3-vision is 'phi3_v'"),
    ],
)
def test_a_wrong_recipe(lines: tuple[str, ...], message: str, tmp_path: Path, out: Path, run_command: Run) -> None:
    recipe = write_recipe(tmp_path, *lines)
    result = run_command("export", "phi3-vision", "--recipe", recipe, "--checkpoint", "tiny", "--out", out)
    result.assert_error(2, str(recipe), message)
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("phi3-vison",), "no model 'phi3-vison'; did you mean 'phi3-vision'?"),
        (("phi3-vision", "--target", "onxx"), "'onxx'; did you mean 'onnx'?"),
        (("phi3-vision", "--target", "onnx", "--target", "onnx"), "name each target once"),
        (("phi3-vision", "--int4", "--int8"), "only one of --int4, --int8"),
        (("phi3-vision", "--recipe", "/none.toml"), "/none.toml: cannot be read"),
    ],
)
def test_a_wrong_request(arguments: tuple[str, ...], message: str, out: Path, run_command: Run) -> None:
    run_command("export", *arguments, "--checkpoint", "tiny", "--out", out).assert_error(2, message)
    assert list(out.parent.iterdir()) == []


def test_a_dry_run_prints_the_resolved_recipe_and_writes_nothing(tmp_path: Path, out: Path, run_command: Run) -> None:
    recipe = write_recipe(tmp_path, "[graphs.decoder.overrides]", "lm_head = 'int8-g32'")
    arguments = ("export", "phi3-vision", "--recipe", recipe, "--out", out, "--dry-run", "--checkpoint", "tiny")
    found = json.loads(run_command(*arguments, "--json").stdout)
    assert found["recipe"]["graphs"]["decoder"]["overrides"] == {"lm_head": "int8-g32"}
    assert found["checkpoint"]["place"] == str(tiny_folder("phi3_v"))
    assert list(found["checkpoint"]["dtypes"]) == ["bfloat16"]
    assert "lm_head: int8-g32" in run_command(*arguments).stdout
    assert list(out.parent.iterdir()) == []


def test_a_dry_run_names_the_targets(out: Path, run_command: Run) -> None:
    for model in ("phi3-vision", "biomedclip"):
        chosen = ("--target", "openvino", "--target", "onnx")
        plan = json.loads(run_command("export", model, *chosen, "--dry-run", "--checkpoint", "tiny", "--json").stdout)
        assert plan["recipe"]["targets"] == ["openvino", "onnx"] == list(plan["sizes"])
        assert plan["sizes"]["openvino"].keys() == plan["recipe"]["graphs"].keys()
        assert plan["license"] == "mit"


def test_a_dry_run_downloads_nothing(tmp_path: Path, run_command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    plan = json.loads(run_command("export", "phi3-vision", "--out", tmp_path / "x", "--dry-run", "--json").stdout)
    assert plan["checkpoint"]["cached"] is False
    assert 2.3e9 < plan["total"] < 2.6e9  # README: 2.41 GB
    assert list(tmp_path.iterdir()) == []


def test_the_help_names_every_model_and_target(run_command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = run_command("export", "--help").stdout
    for name in (*targets(), *(folder.name for folder in recipes_dir().iterdir() if folder.is_dir())):
        assert name in shown


# --- where it should go: exit code 2


def test_an_existing_output_is_not_touched(toy_path: Path, tmp_path: Path, run_command: Run) -> None:
    there = shutil.copytree(toy_path, tmp_path / "bundle")
    before = {path: path.stat().st_mtime_ns for path in there.rglob("*")}
    result = run_command("export", "phi3-vision", "--checkpoint", "tiny", "--out", there)
    result.assert_error(2, str(there), "exists already; use --force")
    assert {path: path.stat().st_mtime_ns for path in there.rglob("*")} == before


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that nobody, root included, can write")
def test_an_output_that_cannot_be_written(run_command: Run) -> None:
    result = run_command("export", "phi3-vision", "--checkpoint", "tiny", "--out", "/proc/bundle")
    result.assert_error(2, "/proc/bundle", "cannot be written")


def test_no_space_left(out: Path, run_command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(StreamingSafetensorsWriter, "write", full)
    result = run_command("export", "phi3-vision", "--checkpoint", "tiny", "--out", out)
    result.assert_ended(2, str(out), "No space left on device")
    assert list(out.parent.iterdir()) == []


# --- Ctrl-C: exit code 130


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
def test_an_interrupted_export_leaves_nothing(out: Path) -> None:
    # A shell starts background jobs, perhaps this test run, with Ctrl-C ignored; an export in a terminal listens to it.
    listening = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {MAIN}"
    export = [sys.executable, "-c", listening, "export", "phi3-vision", "--checkpoint", "tiny", "--out", str(out)]
    with subprocess.Popen(export, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + PATIENCE
        while not list(out.parent.glob(".bundle.new-*")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(1)  # into the translation of the graphs
        process.send_signal(signal.SIGINT)
        printed, said = process.communicate(timeout=PATIENCE)
    steps = [line for line in said.splitlines() if " s  graph " in line]  # of a slow machine, each ten seconds
    assert (process.returncode, printed, said.splitlines()[len(steps) :]) == (130, "", ["error: interrupted"])
    assert list(out.parent.iterdir()) == []
