"""A translated graph as an OpenVINO model whose weights are inputs, so that making it takes seconds and no memory."""

from io import BytesIO

import onnx_ir as ir

from nexus_edge._telemetry import without_telemetry
from nexus_edge.interfaces.graph import GraphSpec
from nexus_edge.models.base import ReferenceModel
from nexus_edge.targets.onnx.emit import translate_with
from nexus_edge.targets.onnx.passes import PARAMETER_PREFIX
from nexus_edge.targets.openvino.lowering import translation_table
from nexus_edge.targets.openvino.operators import extensions
from nexus_edge.targets.openvino.weight_inputs import make_weight_inputs

with without_telemetry():
    import openvino as ov
    from openvino.frontend import FrontEndManager


def convert(spec: GraphSpec) -> ov.Model:
    """The graph in OpenVINO's operators.

    Its inputs are those of `spec` and, after them, one per weight under the weight's name in the model; small tables
    (`ReferenceModel.constants`) are constants of it.
    """
    graph = translate_with(spec, translation_table())
    model = spec.module.root
    assert isinstance(model, ReferenceModel)
    constants = model.constants()
    for name, value in graph.graph.initializers.items():
        key = name.removeprefix(PARAMETER_PREFIX)
        if key in constants:
            assert value.shape is not None
            value.const_value = ir.tensor(constants[key].numpy().reshape(value.shape.numpy()), name=name)
    make_weight_inputs(graph, frozenset(constants))
    frontend = FrontEndManager().load_by_framework("onnx")
    for extension in extensions():
        frontend.add_extension(extension)
    converted = frontend.convert(frontend.load(BytesIO(ir.to_proto(graph).SerializeToString())))
    names = {str(value.name) for value in graph.graph.inputs}
    for parameter in converted.get_parameters():  # one that a node hands on unchanged has taken that node's name
        (name,) = names.intersection(parameter.output(0).get_names())
        parameter.set_friendly_name(name)
    return converted
