"""Core ML: Apple's runtime on a Mac, elsewhere an evaluator of its programs (`mil/`)."""

from nexus_edge.interfaces.engine_info import EngineInfo


def _evaluates() -> bool:
    from nexus_edge.engines.coreml.native import is_native

    return not is_native()


ENGINE = EngineInfo(
    name="coreml",
    title="Core ML",
    target="coreml",
    extra="coreml",
    modules={"vlm": "engine", "dual_encoder": "dual"},
    is_reference=_evaluates,
    probe="probe.runner",
)
