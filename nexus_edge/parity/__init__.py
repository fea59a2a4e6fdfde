"""The parity ladder: does the artefact still compute what its original computes?

    ladder.run(bundle) -> Report           climb P0 to P5, one file per rung, for every target of the bundle
    certify.write(report, folder)          report.json, report.md, report.html
    certify.certify(bundle, checkpoint)    both, and the goldens that `nexus-edge verify` replays, into the bundle
    replay.replay(bundle) -> Report        those goldens on a device, without torch

vlm/, dual/  what the rungs do with a kind of model: vision-language models, dual encoders
runners/     one file per target: how its graphs are run

A family says what the ladder must know of it (family.py): its cases, and what is known of its original.

`tolerances.toml` is the only home of a tolerance; `metrics.py` measures, `report.py` holds what was found.
"""
