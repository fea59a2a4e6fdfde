"""P0: the files are those that were exported, every graph loads, and its names, types and shapes are the manifest's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nexus_edge.bundle import Bundle, GraphInfo, TensorSpec
from nexus_edge.errors import BundleError, ParityError
from nexus_edge.parity.lab import Lab, NotRunError
from nexus_edge.parity.report import Check
from nexus_edge.parity.sources import weight_bytes
from nexus_edge.parity.stages import OnnxStage

TITLE = "structure: files and graphs are the manifest's"

_ORT_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int8)": "int8",
}


def run(lab: Lab) -> list[Check]:
    """One check for the files, one for each graph."""
    checks = [_files(lab)]
    for name, info in lab.manifest.graphs[lab.target].items():
        problems = _graph_problems(lab, info)
        checks.append(_check(lab, name, f"{len(info.inputs)} inputs, {len(info.outputs)} outputs", problems))
    return checks


def _check(lab: Lab, stage: str, what: str, problems: list[str]) -> Check:
    gate = lab.gate("P0", "*")(stage)
    return Check(stage, what, lab.target, {"mismatches": float(len(problems))}, gate, None, "; ".join(problems) or None)


def _files(lab: Lab) -> Check:
    count = len(lab.manifest.files)
    try:
        Bundle.open(lab.bundle.root, check="sha256")
    except BundleError as error:
        return _check(lab, "files", f"{count} files", [str(error)])
    return _check(lab, "files", f"{count} files", [])


def _graph_problems(lab: Lab, info: GraphInfo) -> list[str]:
    try:
        # ONNX Runtime copies every weight into its kernels' own layout when it loads a graph.
        lab.require_memory(2 * weight_bytes(lab.bundle), "every graph in ONNX Runtime")
    except NotRunError as error:
        lab.note(f"graphs were read, not loaded: {error}")
        inputs, outputs = read_interface(lab.bundle.file(info.file))
    else:
        try:
            stage = OnnxStage(lab.bundle.file(info.file))
        except ParityError as error:
            return [str(error)]
        inputs, outputs = _specs(stage.inputs), _specs(stage.outputs)
    return [*_differences("input", info.inputs, inputs), *_differences("output", info.outputs, outputs)]


def _specs(values: Mapping[str, Any]) -> dict[str, TensorSpec]:
    return {
        name: TensorSpec(name, _ORT_TYPES.get(value.type, value.type), tuple(value.shape))
        for name, value in values.items()
    }


def read_interface(path: Path) -> tuple[dict[str, TensorSpec], dict[str, TensorSpec]]:
    """Inputs and outputs that an .onnx file declares, by name, without loading a weight."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph

    def specs(values: Any) -> dict[str, TensorSpec]:
        return {
            value.name: TensorSpec(
                value.name,
                str(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)),
                tuple(dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim),
            )
            for value in values
        }

    return specs(graph.input), specs(graph.output)


def _differences(kind: str, specs: tuple[TensorSpec, ...], values: Mapping[str, TensorSpec]) -> list[str]:
    """In words, where a loaded graph's inputs or outputs are not what the manifest says."""
    found = [f"{kind} {name} is not in the manifest" for name in values if name not in {spec.name for spec in specs}]
    for spec in specs:
        value = values.get(spec.name)
        if value is None:
            found.append(f"{kind} {spec.name} is missing")
            continue
        if value != spec:
            found.append(
                f"{kind} {spec.name} is {value.dtype} {list(value.shape)}, not {spec.dtype} {list(spec.shape)}"
            )
    return found
