"""What the ladder does with vision-language models; found by the name of this folder, see `parity/kinds.py`."""

from nexus_edge.parity.kinds import ParityKind
from nexus_edge.parity.vlm.end_to_end import compare_end_to_end
from nexus_edge.parity.vlm.goldens import record
from nexus_edge.parity.vlm.own_data import compare_examples
from nexus_edge.parity.vlm.replay import replay
from nexus_edge.parity.vlm.run import vlm_run
from nexus_edge.parity.vlm.scheme import compare_schemes

KIND = ParityKind(
    streams=True,
    steps=lambda run, reference: vlm_run(run).steps(reference),
    reference_bytes=lambda run, reference: vlm_run(run).references.bytes_needed,
    compare_manifest=lambda run: [],
    compare_schemes=compare_schemes,
    compare_end_to_end=compare_end_to_end,
    compare_examples=compare_examples,
    record=record,
    replay=replay,
)
