"""The parity ladder: does the artefact still compute what its original computes?

    ladder.run(bundle) -> Report           climb P0 to P5, one file per rung, for every target of the bundle
    certify.write(report, folder)          report.json, report.md, report.html
    certify.certify(bundle, checkpoint)    both, and the goldens that `nexus-edge verify` replays, into the bundle
    replay.replay(bundle) -> Report        those goldens on a device, without torch

rungs/               P0 to P5, and the user's own data
vlm/, dual_encoder/  what the rungs do with a kind of model
report/              what was found, and its writers

How a target's graphs are run is in `nexus_edge/engines/<engine>/probe/`.

A family says what the ladder must know of it (family.py): its cases, and what is known of its original.

`tolerances.toml` is the only home of a tolerance; `metrics.py` measures, `report/report.py` holds what was found.
"""
