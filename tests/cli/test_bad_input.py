"""What a user sees who gives the command something bad: one line, the right exit code, and nothing half-written.

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
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import toy_vlm
from PIL import Image

from nexus_edge.checkpoints import StreamingSafetensorsWriter, tiny_folder

Run = Callable[..., Any]
ROOT = Path(__file__).parents[2]
PATIENCE = 300  # seconds for a subprocess that takes ten on an idle machine
MAIN = "from nexus_edge.cli import main; main()"


def assert_one_line(result: Any, code: int, *parts: str) -> None:
    assert result.exit_code == code, result.stderr
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1, result.stderr
    assert result.stdout == ""
    for part in parts:
        assert part in result.stderr


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
    assert_one_line(result, 4, str(checkpoint), message)
    assert list(out.parent.iterdir()) == []


def test_weights_that_are_not_finite_are_found_while_they_stream(checkpoint: Path, out: Path, run_command: Run) -> None:
    header, data = split_header(checkpoint / "model.safetensors")
    begin, end = header["model.layers.1.mlp.down_proj.weight"]["data_offsets"]
    nan = struct.pack("<H", 0x7FC0)  # bfloat16
    broken = data[:begin] + nan + data[begin + 2 : end] + data[end:]
    (checkpoint / "model.safetensors").write_bytes(join_header(header, broken))
    result = run_command("export", "phi3-vision", "--checkpoint", checkpoint, "--out", out, "--no-parity")
    assert_one_line(result, 4, "model.layers.1.mlp.down_proj.weight")
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
    assert_one_line(result, 2, str(recipe), message)
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
    assert_one_line(run_command("export", *arguments, "--checkpoint", "tiny", "--out", out), 2, message)
    assert list(out.parent.iterdir()) == []


def test_a_dry_run_prints_the_resolved_recipe_and_writes_nothing(tmp_path: Path, out: Path, run_command: Run) -> None:
    recipe = write_recipe(tmp_path, "[graphs.decoder.overrides]", "lm_head = 'int8-g32'")
    result = run_command("export", "phi3-vision", "--recipe", recipe, "--out", out, "--dry-run")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["graphs"]["decoder"]["overrides"] == {"lm_head": "int8-g32"}
    assert list(out.parent.iterdir()) == []


# --- where it should go: exit code 2


def test_an_existing_output_is_not_touched(toy_path: Path, tmp_path: Path, run_command: Run) -> None:
    there = shutil.copytree(toy_path, tmp_path / "bundle")
    before = {path: path.stat().st_mtime_ns for path in there.rglob("*")}
    result = run_command("export", "phi3-vision", "--checkpoint", "tiny", "--out", there)
    assert_one_line(result, 2, str(there), "exists already; use --force")
    assert {path: path.stat().st_mtime_ns for path in there.rglob("*")} == before


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that nobody, root included, can write")
def test_an_output_that_cannot_be_written(run_command: Run) -> None:
    result = run_command("export", "phi3-vision", "--checkpoint", "tiny", "--out", "/proc/bundle")
    assert_one_line(result, 2, "/proc/bundle", "cannot be written")


def test_no_space_left(out: Path, run_command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(StreamingSafetensorsWriter, "write", full)
    result = run_command("export", "phi3-vision", "--checkpoint", "tiny", "--out", out)
    assert_one_line(result, 2, str(out), "No space left on device")
    assert list(out.parent.iterdir()) == []


# --- Ctrl-C: exit code 130


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
def test_an_interrupted_export_leaves_nothing(out: Path) -> None:
    export = [sys.executable, "-c", MAIN, "export", "phi3-vision", "--checkpoint", "tiny", "--out", str(out)]
    with subprocess.Popen(export, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + PATIENCE
        while not list(out.parent.glob(".bundle.new-*")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(1)  # into the translation of the graphs
        process.send_signal(signal.SIGINT)
        printed, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, printed, said) == (130, "", "error: interrupted\n")
    assert list(out.parent.iterdir()) == []


# --- bundles: exit code 2


@pytest.fixture
def bundle(toy_path: Path, tmp_path: Path) -> Path:
    """A copy of the toy bundle, to be damaged."""
    return shutil.copytree(toy_path, tmp_path / "bundle")


@pytest.mark.parametrize("command", ["run", "chat", "bench", "parity", "verify"])
@pytest.mark.parametrize("outside", ["../secret.onnx", "/etc/passwd"])
def test_a_manifest_that_points_outside(command: str, outside: str, bundle: Path, run_command: Run) -> None:
    (bundle.parent / "secret.onnx").write_bytes((bundle / "onnx" / "decoder.onnx").read_bytes())
    manifest = bundle / "manifest.json"
    manifest.write_text(manifest.read_text().replace("onnx/decoder.onnx", outside))
    options = ("--prompt", "Hi") if command == "run" else ()
    assert_one_line(run_command(command, bundle, *options), 2, str(bundle))


def test_a_changed_file_is_found_by_its_hash(bundle: Path, run_command: Run) -> None:
    path = bundle / "onnx" / "decoder.onnx"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert_one_line(run_command("verify", bundle), 2, str(path), "SHA-256", "changed since export")


@pytest.mark.parametrize("command", ["run", "verify"])
def test_a_shortened_file_is_found_before_anything_runs(command: str, bundle: Path, run_command: Run) -> None:
    path = bundle / "onnx" / "decoder.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    options = ("--prompt", "Hi") if command == "run" else ()
    assert_one_line(run_command(command, bundle, *options), 2, str(path), "changed since export")


# --- pictures and prompts: exit code 2


def png_that_claims(width: int, height: int) -> bytes:
    """A few bytes that ask for gigabytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Dear reader,\nthis is a letter.\n", "picture.png"),
        (png_that_claims(60_000, 60_000), "picture.png"),
        (b"", "picture.png"),
    ],
)
def test_a_picture_that_is_none(content: bytes, message: str, toy_path: Path, tmp_path: Path, run_command: Run) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(content)
    result = run_command("run", toy_path, "--quiet", "--image", picture, "--prompt", "What is it?")
    assert_one_line(result, 2, message)


@pytest.mark.parametrize(
    ("prompt", "pictures", "message"),
    [
        ("<|user|>\n<|image_1|>\nWhat?<|end|>\n<|assistant|>\n", 0, "picture"),
        ("<|user|>\n<|image_1|>\nWhat?<|end|>\n<|assistant|>\n", 2, "picture"),
        ("<|user|>\n<|image_1|>\n<|image_2|>\nWhat?<|end|>\n<|assistant|>\n", 1, "picture"),
        ("What? " * toy_vlm.CONTEXT, 0, "context"),
    ],
)
def test_prompt_and_pictures_that_do_not_fit(
    prompt: str, pictures: int, message: str, toy_path: Path, tmp_path: Path, run_command: Run
) -> None:
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "black.png")
    images = ["--image", str(tmp_path / "black.png")] * pictures
    assert_one_line(run_command("run", toy_path, "--quiet", *images, "--prompt", prompt), 2, message)
