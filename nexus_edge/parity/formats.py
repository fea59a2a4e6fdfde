"""The number formats that a path computes in, beyond float32: what bounds its errors, on whatever CPU it runs.

Needs neither torch nor a runtime; rounding.py moves a PyTorch model's values by what these formats may round away.
"""

import platform
from dataclasses import dataclass
from typing import Literal

from nexus_edge.engines.openvino.settings import OpenVinoSettings

FLOAT32, FLOAT16, BFLOAT16 = 24, 11, 8
"""Bits of a significand, the hidden one included."""

Inputs = Literal["kept", "ties", "rows", "groups"]


@dataclass(frozen=True)
class Formats:
    """What a path rounds that its reference does not round in the same way.

    Attributes:
        significand: bits of values between operations
        inputs: of products with integer weights. "kept": as the reference has them. "ties": both round them to int8 by
            the same rule, so that only what lies between two codes may differ. "rows" and "groups": this side rounds
            them to int8 with one scale per token, or per token and `group` neighbours
        group: see `inputs`
        cache: cached keys and values are stored in 8 bits
    """

    significand: int = FLOAT32
    inputs: Inputs = "kept"
    group: int = 0
    cache: bool = False


EXACT = Formats()
"""Sums in another order, and nothing else."""


def of_onnx() -> Formats:
    """ONNX Runtime's. Its kernels for x86 round inputs as the schemes say; on Arm KleidiAI's take one scale per token.

    Source: MLAS (`sqnbitgemm_kernel_avx2.cpp` and its siblings quantize by block; `sqnbitgemm_kernel_neon.cpp` hands
    over to `kai_lhs_quant_pack_qai8dxp`, which quantizes by row).
    """
    return Formats(inputs="rows" if platform.machine().lower() in ("arm64", "aarch64") else "ties")


def of_openvino(settings: OpenVinoSettings) -> Formats:
    """Those of the CPU plugin. Without VNNI or its equals it rounds less than it is allowed to."""
    return Formats(
        significand=BFLOAT16 if settings.precision == "bf16" else FLOAT32,
        inputs="groups" if settings.quantization_group else "kept",
        group=settings.quantization_group,
        cache=settings.cache != "f32",
    )


COREML = Formats(significand=FLOAT16)
"""Values, scales, norms and biases in float16."""


def on_another_device(formats: Formats) -> Formats:
    """What goldens are replayed with: nobody knows yet on which CPU, and they were recorded with inputs rounded."""
    return Formats(formats.significand, "rows", 0, formats.cache)
