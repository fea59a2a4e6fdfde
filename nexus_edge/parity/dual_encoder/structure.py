"""P0 for dual encoders: what the manifest says of the towers is what the files hold."""

from nexus_edge.bundle.hashing import hash_together
from nexus_edge.engines.dual import IMAGE, TEXT
from nexus_edge.parity.dual_encoder.run import dual_run
from nexus_edge.parity.report.report import Check
from nexus_edge.parity.run import ParityRun


def compare_manifest(run: ParityRun) -> list[Check]:
    """One check: the towers' hashes, by which indexes and label banks know them, and the length of an embedding."""
    info, problems = dual_run(run).info, []
    graphs = run.manifest.graphs[run.manifest.targets[0]]
    for graph, said in ((IMAGE, info.image_tower), (TEXT, info.text_tower)):
        if hash_together(run.bundle.file(file) for file in graphs[graph].files) != said:
            problems.append(f"the hash of {graph} is not the manifest's")
        length = graphs[graph].outputs[0].shape[-1]
        if length != info.embed_dim:
            problems.append(f"{graph} gives {length} numbers, embed_dim is {info.embed_dim}")
    measures = {"mismatches": float(len(problems))}
    gate = run.judges.gate("P0", "*")("dual_encoder")
    return [Check("dual_encoder", "towers", "manifest", measures, gate, None, "; ".join(problems) or None)]
