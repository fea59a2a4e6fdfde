"""How ONNX Runtime computes in P5; needs no onnxruntime."""

import platform

from nexus_edge.engines.base import EngineOptions
from nexus_edge.engines.onnx import ENGINE
from nexus_edge.engines.probes import Variant
from nexus_edge.parity.formats import Formats


def variants() -> list[Variant]:
    """The one that there is."""
    return [Variant("", EngineOptions(engine=ENGINE.name), formats())]


def formats() -> Formats:
    """Kernels for x86 round inputs as the schemes say; on Arm KleidiAI's take one scale per token.

    Source: MLAS (`sqnbitgemm_kernel_avx2.cpp` and its siblings quantize by block; `sqnbitgemm_kernel_neon.cpp` hands
    over to `kai_lhs_quant_pack_qai8dxp`, which quantizes by row).
    """
    return Formats(inputs="rows" if platform.machine().lower() in ("arm64", "aarch64") else "ties")
