"""The parity ladder: does the artefact still compute what its original computes?

    ladder.run(ladder.prepare(bundle)) -> Report  P0 to P5, one file per rung, for every target of the bundle
    certify.write(report, folder)                 report.json, report.md, report.html
    certify.certify(bundle, checkpoint)           both, and the goldens for `nexus-edge verify`, into the bundle
    replay.replay(bundle) -> Report               those goldens on a device, without torch

run.py               the state of one run, which all rungs share
references.py        the PyTorch models that graphs and schemes are compared with
judges.py            gates and rules for near ties, as they hold for one bundle
rungs/               P0 to P5, and the user's own data
companions.py        what a bundle has for other runtimes, and its processor's files
kinds.py             what the rungs ask of a kind of models: a record of functions
vlm/, dual_encoder/  these functions, found by the name of a family's kind
report/              what was found, and its writers

How a target's graphs are run is in `nexus_edge/engines/<engine>/probe/`.

A family gives its cases and what is known of its original: data and functions, see `nexus_edge/interfaces/parity.py`.

Files called `tolerances.toml` are the only home of a tolerance; `metrics.py` measures, `report/report.py` holds what
was found.
"""
