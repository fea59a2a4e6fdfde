"""coremltools as the independent writer of packages, and as the other opinion on what an operation computes.

Its import takes seconds and writes warnings about missing macOS parts, so only the tests that need it pay for it.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random numbers in every run."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def ct() -> Any:
    """The module, or the test is skipped."""
    logging.disable(logging.WARNING)
    try:
        return pytest.importorskip("coremltools", reason="the extra coreml is not installed")
    finally:
        logging.disable(logging.NOTSET)


@pytest.fixture(scope="session")
def mb(ct: Any) -> Any:
    """coremltools' builder of programs."""
    from coremltools.converters.mil import Builder

    return Builder


Save = Callable[..., Path]


@pytest.fixture
def save(ct: Any, tmp_path: Path) -> Save:
    """`save(program, precision="fp32", target="iOS18", **for_convert)` -> the saved package."""

    def write(program: Any, precision: str = "fp32", target: str = "iOS18", **for_convert: Any) -> Path:
        compute = {"fp32": ct.precision.FLOAT32, "fp16": ct.precision.FLOAT16}[precision]
        model = ct.convert(
            program,
            convert_to="mlprogram",
            minimum_deployment_target=getattr(ct.target, target),
            compute_precision=compute,
            skip_model_load=True,
            **for_convert,
        )
        path = tmp_path / "model.mlpackage"
        model.save(str(path))
        return path

    return write
