"""The parity ladder: does the artefact still compute what its original computes?

    ladder.run(bundle) -> Report           climb P0 to P5, one file per rung
    certify.write(report, folder)          report.json, report.md, report.html
    certify.certify(bundle, checkpoint)    both, and the goldens that `nexus-edge verify` replays, into the bundle
    replay.replay(bundle) -> Report        those goldens on a device, without torch

`tolerances.toml` is the only home of a tolerance; `metrics.py` measures, `report.py` holds what was found.
"""
