"""Asks the Swift package what it makes of texts and images, through its test program `nexus-edge-vectors`."""

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PACKAGE = Path(__file__).parents[2] / "runtimes" / "swift"
BUILD_S = 600  # a first build in release takes a minute on two cores


class SwiftError(Exception):
    """The package's own error; its text is the message."""


class SwiftVectors:
    """The program, built and running; one request after the other."""

    def __init__(self, swift: str, scratch: Path) -> None:
        options = ["-c", "release", "--package-path", str(PACKAGE)]
        build = [swift, "build", *options, "--product", "nexus-edge-vectors"]
        done = subprocess.run(build, capture_output=True, text=True, timeout=BUILD_S, check=False, cwd=PACKAGE)
        assert done.returncode == 0, done.stdout + done.stderr
        self._scratch = scratch
        self._process = subprocess.Popen(
            [swift, "run", *options, "--skip-build", "nexus-edge-vectors"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", cwd=PACKAGE,
        )  # fmt: skip

    def ask(self, task: str, **fields: object) -> dict[str, Any]:
        """The answer's fields; raises SwiftError with the package's message."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps({"task": task, **fields}), file=self._process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise SwiftError(answer["error"])
        return answer

    def image(self, image: Image.Image) -> dict[str, object]:
        """The fields of a request that hand an image over."""
        path = self._scratch / "picture.rgb"
        path.write_bytes(image.convert("RGB").tobytes())
        return {"rgb": str(path), "width": image.width, "height": image.height}

    def close(self) -> None:
        """End the program."""
        self._process.communicate(timeout=30)


def sha256(array: NDArray[np.generic]) -> str:
    """Of the array's bytes in C order."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
