"""P0 for dual encoders: what the manifest says of the towers is what the files hold."""

from nexus_edge.bundle import Bundle, DualEncoderInfo
from nexus_edge.bundle.hashing import hash_together
from nexus_edge.engines.dual import IMAGE, TEXT
from nexus_edge.parity.dual_encoder.run import dual_run
from nexus_edge.parity.report.report import Check
from nexus_edge.parity.run import ParityRun


def compare_manifest(run: ParityRun) -> list[Check]:
    """One check: the towers' hashes, by which indexes and label banks know them, length and scale of embeddings."""
    dual = dual_run(run)
    problems = tower_problems(run.bundle, dual.info)
    if dual.logit_scale != dual.info.logit_scale:
        problems.append(f"logit_scale is {dual.info.logit_scale}, by the checkpoint {dual.logit_scale}")
    measures = {"mismatches": float(len(problems))}
    gate = run.judges.gate("P0", "*")("dual_encoder")
    return [Check("dual_encoder", "towers", "manifest", measures, gate, None, "; ".join(problems) or None)]


def tower_problems(bundle: Bundle, info: DualEncoderInfo) -> list[str]:
    """Where the towers that are there are not those of `info`, in words."""
    problems, graphs = [], bundle.manifest.graphs[bundle.manifest.targets[0]]
    for name, said in ((IMAGE, info.image_tower), (TEXT, info.text_tower)):
        if name not in graphs:
            continue
        if hash_together(bundle.file(file) for file in graphs[name].files) != said:
            problems.append(f"the hash of {name} is not the manifest's")
        length = graphs[name].outputs[0].shape[-1]
        if length != info.embed_dim:
            problems.append(f"{name} gives {length} numbers, embed_dim is {info.embed_dim}")
    return problems
