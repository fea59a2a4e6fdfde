"""Each op agrees with its own fake implementation: torch's `opcheck` runs both, with symbolic shapes too."""

import pytest
import torch

from nexus_edge.ops.attention import attention
from nexus_edge.ops.gather_quantized import gather_quantized
from nexus_edge.ops.matmul_int8 import matmul_int8
from nexus_edge.ops.matmul_nbits import matmul_nbits
from nexus_edge.ops.widen_int4 import widen_int4

CODES = torch.zeros(6, 3, 16, dtype=torch.uint8)
SCALES = torch.ones(6, 3, dtype=torch.float16)
ZEROS = torch.zeros(6, 2, dtype=torch.uint8)
X = torch.ones(2, 5, 80)
INT8 = torch.ones(6, 80, dtype=torch.int8)
CASES = [
    (matmul_nbits, (X, CODES, SCALES, ZEROS, torch.ones(6), 4, 32, 8)),
    (matmul_nbits, (X, CODES, SCALES, None, None, 4, 32, 32)),
    (matmul_int8, (X, INT8, torch.ones(6), torch.ones(6))),
    (matmul_int8, (X, INT8, torch.ones(6), None)),
    (widen_int4, (CODES, ZEROS, ZEROS, 80)),
    (attention, (X, X, X, 4)),
    (attention, (X[:, :1], X, X, 4, X[..., 0] > 0)),
    (gather_quantized, (torch.tensor([[1, 5]]), CODES, SCALES, ZEROS, 4, 32)),
]


@pytest.mark.parametrize(("op", "arguments"), CASES)
def test_fake_and_real_agree(op, arguments) -> None:
    torch.library.opcheck(op, arguments)
