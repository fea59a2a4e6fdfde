"""`run_onnx`: the real ONNX Runtime computes a small graph, so that our eager ops are compared with the kernels."""

from collections.abc import Callable

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnx_sessions import session_of

Arrays = dict[str, np.ndarray]


@pytest.fixture
def run_onnx() -> Callable[[list[NodeProto], Arrays, Arrays], np.ndarray]:
    """(nodes, constants, inputs) -> the float32 output named "y"."""

    def run(nodes: list[NodeProto], constants: Arrays, inputs: Arrays) -> np.ndarray:
        declared = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), [None] * value.ndim)
            for name, value in inputs.items()
        ]
        output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        stored = [numpy_helper.from_array(value, name) for name, value in constants.items()]
        graph = helper.make_graph(nodes, "test", declared, [output], stored)
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        return session_of(model.SerializeToString()).run(None, inputs)[0]

    return run
