"""P0: the files are those that were exported, every graph loads, and its names, types and shapes are the manifest's."""

from collections.abc import Mapping
from typing import Any

from nexus_edge.bundle import Bundle, GraphInfo, TensorSpec
from nexus_edge.errors import BundleError, ParityError
from nexus_edge.parity.lab import Lab
from nexus_edge.parity.report import Check
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
        problems = _graph_problems(lab.bundle, info)
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


def _graph_problems(bundle: Bundle, info: GraphInfo) -> list[str]:
    try:
        stage = OnnxStage(bundle.file(info.file))
    except ParityError as error:
        return [str(error)]
    return [
        *_differences("input", info.inputs, stage.inputs),
        *_differences("output", info.outputs, stage.outputs),
    ]


def _differences(kind: str, specs: tuple[TensorSpec, ...], values: Mapping[str, Any]) -> list[str]:
    """In words, where a loaded graph's inputs or outputs are not what the manifest says."""
    found = [f"{kind} {name} is not in the manifest" for name in values if name not in {spec.name for spec in specs}]
    for spec in specs:
        value = values.get(spec.name)
        if value is None:
            found.append(f"{kind} {spec.name} is missing")
            continue
        actual = (_ORT_TYPES.get(value.type, value.type), tuple(value.shape))
        if actual != (spec.dtype, spec.shape):
            found.append(f"{kind} {spec.name} is {actual[0]} {list(actual[1])}, not {spec.dtype} {list(spec.shape)}")
    return found
