"""A quantizer: how the codes of a weight are chosen, one file of `nexus_edge/quant/methods/` each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

    from nexus_edge.quant.schemes import Scheme
    from nexus_edge.quant.tensor import QuantizedTensor

Encoding = Literal["float32", "float16", "int8-row", "int8-group", "int4-group", "int4-two-level"]
"""How a weight is stored, whoever chose the numbers. "row": one scale per output channel; "group": one per group of
neighbours, with a zero point or without; "two-level": groups that become int8 with one scale per output channel."""

Statistics = Literal["mean_square"]
"""What calibration measures: of the inputs of a layer the mean square of each channel, float32 [columns]."""


@dataclass(frozen=True)
class Quantizer:
    """A method of a scheme. `nexus_edge/quant/methods/rtn_mse.py` has one as `QUANTIZER`; schemes call it "rtn-mse".

    Attributes:
        quantize: from a weight [rows, columns] of any float type and its scheme to its codes; the third argument is
            what `needs` names, None where it was not measured
        encodings: those that it can make
        needs: statistics of the layer's inputs that it makes use of; None: it looks at weights alone
        nearest: a code is one of those nearest to its own weight, within what clipping costs: the ladder then holds
            each weight against its original, in steps. False where errors are moved between weights (GPTQ).
    """

    quantize: "Callable[[Tensor, Scheme, Tensor | None], QuantizedTensor]"
    encodings: frozenset[Encoding]
    needs: Statistics | None = None
    nearest: bool = True

    def __call__(self, weight: "Tensor", scheme: "Scheme", importance: "Tensor | None" = None) -> "QuantizedTensor":
        """The codes of a weight; see `quantize`."""
        return self.quantize(weight, scheme, None if self.needs is None else importance)
