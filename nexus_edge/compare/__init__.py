"""Two bundles side by side, or one and what was recorded of another: `nexus-edge compare`.

budgets.py      the `[gates]` of a recipe: how much worse a new bundle may be
inputs.py       the questions, images and texts that both sides get
child.py        a process that loads one bundle and measures it; side.py: the parent's end of it
subjects.py     what such a process does with a model that answers, and with one that embeds
drift.py        the value that leaves each layer, on both sides
record.py       all that was measured of one side, and the baseline file
comparison.py   both records held against each other and against the budgets
run.py          the whole, in order
table.py        a comparison for people; outcome.py: for CI services

Needs the base install only: neither torch nor onnx.
"""
