"""What `nexus-edge doctor` says of Core ML."""

from nexus_edge.engines.coreml import ENGINE
from nexus_edge.interfaces.engine_info import EngineState


def state() -> EngineState:
    """Whether it is here."""
    if ENGINE.is_reference():
        said = "no Core ML here: packages run in an evaluator, hundreds of times slower"
        return EngineState(ENGINE.name, False, said)
    return EngineState(ENGINE.name, True, "Core ML runs packages here")
