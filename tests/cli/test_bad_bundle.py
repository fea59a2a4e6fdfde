"""What a user sees whose bundle, image or prompt is bad: one line and exit code 2."""

import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import toy_vlm
from PIL import Image

Run = Callable[..., Any]


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
    run_command(command, bundle, *options).assert_error(2, str(bundle))


def test_a_changed_file_is_found_by_its_hash(bundle: Path, run_command: Run) -> None:
    path = bundle / "onnx" / "decoder.onnx"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    run_command("verify", bundle).assert_error(2, str(path), "SHA-256", "changed since export")


@pytest.mark.parametrize("command", ["run", "verify"])
def test_a_shortened_file_is_found_before_anything_runs(command: str, bundle: Path, run_command: Run) -> None:
    path = bundle / "onnx" / "decoder.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    options = ("--prompt", "Hi") if command == "run" else ()
    run_command(command, bundle, *options).assert_error(2, str(path), "changed since export")


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
        (b"Dear reader,\nthis is a letter.\n", "image.png"),
        (png_that_claims(60_000, 60_000), "image.png"),
        (b"", "image.png"),
    ],
)
def test_an_image_that_is_none(content: bytes, message: str, toy_path: Path, tmp_path: Path, run_command: Run) -> None:
    image = tmp_path / "image.png"
    image.write_bytes(content)
    result = run_command("run", toy_path, "--quiet", "--image", image, "--prompt", "What is it?")
    result.assert_error(2, message)


@pytest.mark.parametrize(
    ("prompt", "given", "message"),
    [
        ("<|user|>\n<|image_1|>\nWhat?<|end|>\n<|assistant|>\n", 0, "tags for"),
        ("<|user|>\n<|image_1|>\nWhat?<|end|>\n<|assistant|>\n", 2, "tags for"),
        ("<|user|>\n<|image_1|>\n<|image_2|>\nWhat?<|end|>\n<|assistant|>\n", 1, "tags for"),
        ("What? " * toy_vlm.CONTEXT, 0, "context"),
    ],
)
def test_prompt_and_images_that_do_not_fit(
    prompt: str, given: int, message: str, toy_path: Path, tmp_path: Path, run_command: Run
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "black.png")
    images = ["--image", str(tmp_path / "black.png")] * given
    run_command("run", toy_path, "--quiet", "--raw", *images, "--prompt", prompt).assert_error(2, message)
