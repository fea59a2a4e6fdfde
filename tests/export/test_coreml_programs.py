"""Every operation of every package: coremltools reads it back as it was written, and the evaluator knows it."""

import coreml_packages
import pytest

from nexus_edge.bundle import Bundle
from nexus_edge.engines.coreml.mil import MilModel
from nexus_edge.engines.coreml.mil.registry import operators

pytestmark = pytest.mark.slow

# One operation here is two in the file: a state is written, and what is used afterwards is read.
STATES = {"coreml_update_state": ["write_state", "read_state"]}


@pytest.mark.parametrize("fixture", ["coreml_dual", "coreml_vlm"])
def test_what_is_saved_is_what_coremltools_reads_and_the_evaluator_knows(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    bundle: Bundle = request.getfixturevalue(fixture)
    kinds: set[str] = set()
    for path in sorted((bundle.root / "coreml").glob("*.mlpackage")):
        program, ours = coreml_packages.program_of(path), MilModel.open(path).functions
        assert program.functions.keys() == ours.keys()
        for name, function in ours.items():
            theirs = [
                kind for op in program.functions[name].operations for kind in STATES.get(op.op_type, [op.op_type])
            ]
            inner = [operation.kind for operation in function._function.operations if operation.kind != "const"]
            assert [kind for kind in theirs if kind != "const"] == inner, function.where
            assert not function.unknown, function.where
            kinds |= set(inner)
    assert kinds <= operators().keys()
    assert len(kinds) > 15


def test_weights_are_the_compressed_types_that_their_schemes_say(coreml_vlm: Bundle) -> None:
    """What Apple's own format says of each compressed constant."""
    chunks = [path.stem for path in (coreml_vlm.root / "coreml").glob("decoder_*.mlpackage")]
    decoder = {name: kind for chunk in chunks for name, kind in compressed(coreml_vlm, chunk, "decode").items()}
    assert set(decoder.values()) == {"UINT4"} and len(decoder) == 4 * 4  # four products in each of four layers
    assert set(compressed(coreml_vlm, "head", "main").values()) == {"INT8"}


def compressed(bundle: Bundle, package: str, function: str) -> dict[str, str]:
    """Compressed constants by name, each with the type of its codes."""
    from coremltools.proto import MIL_pb2

    spec = coreml_packages.spec_of(bundle.root / f"coreml/{package}.mlpackage")
    (block,) = spec.mlProgram.functions[function].block_specializations.values()
    found = [operation for operation in block.operations if operation.type == "constexpr_blockwise_shift_scale"]
    codes = {operation.outputs[0].name: operation.inputs["data"].arguments[0].value.type for operation in found}
    return {name: MIL_pb2.DataType.Name(type_.tensorType.dataType) for name, type_ in codes.items()}
