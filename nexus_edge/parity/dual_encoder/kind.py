"""What the ladder does with dual encoders; found by the name of this folder, see `parity/kinds.py`."""

from nexus_edge.parity.dual_encoder.end_to_end import compare_end_to_end
from nexus_edge.parity.dual_encoder.goldens import record
from nexus_edge.parity.dual_encoder.own_data import compare_examples
from nexus_edge.parity.dual_encoder.replay import replay
from nexus_edge.parity.dual_encoder.scheme import compare_schemes
from nexus_edge.parity.dual_encoder.steps import steps
from nexus_edge.parity.dual_encoder.structure import compare_manifest
from nexus_edge.parity.kinds import ParityKind

KIND = ParityKind(
    streams=False,
    steps=steps,
    reference_bytes=lambda run, reference: run.references.bytes_of(reference),
    compare_manifest=compare_manifest,
    compare_schemes=compare_schemes,
    compare_end_to_end=compare_end_to_end,
    compare_examples=compare_examples,
    record=record,
    replay=replay,
)
