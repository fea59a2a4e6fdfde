"""The parity ladder: does the artefact still compute what its original computes?

    ladder.run(bundle) -> Report           climb P0 to P5, one file per rung, for every target of the bundle
    certify.write(report, folder)          report.json, report.md, report.html
    certify.certify(bundle, checkpoint)    both, and the goldens that `nexus-edge verify` replays, into the bundle
    replay.replay(bundle) -> Report        those goldens on a device, without torch

families/    one file per model_type: its cases and its original
vlm/, dual/  what the rungs do with a kind of model: vision-language models, dual encoders
originals/   what is known of the originals: recordings, and other ways from pictures and text to tensors
runners/     one file per target: how its graphs are run

`tolerances.toml` is the only home of a tolerance; `metrics.py` measures, `report.py` holds what was found.
"""
