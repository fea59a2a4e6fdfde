"""Round to nearest: each weight goes to the nearest code of its group."""

from torch import Tensor

from nexus_edge.interfaces.quantizer import Quantizer
from nexus_edge.quant.rounding import in_chunks, quantize_rows
from nexus_edge.quant.schemes import Scheme
from nexus_edge.quant.tensor import QuantizedTensor


def round_to_nearest(weight: Tensor, scheme: Scheme, importance: Tensor | None = None) -> QuantizedTensor:
    """Quantize a weight [rows, columns] of float32, float16 or bfloat16; the scale just covers its group, whatever is
    important in it.

    Symmetric groups use the whole range of codes: the weight of largest magnitude is mapped to the lowest code, so the
    scale is negative where that weight is positive (as Q4_0 of llama.cpp). Asymmetric groups map [min, max], widened to
    hold 0, to all codes. Scales are rounded to the type they are stored in before the codes are chosen.
    """
    return in_chunks(weight, scheme, quantize_rows)


QUANTIZER = Quantizer(round_to_nearest, frozenset({"int8-row", "int8-group", "int4-group"}))
