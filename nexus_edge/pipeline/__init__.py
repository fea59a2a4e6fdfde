"""From a checkpoint to a bundle.

request.py          what a user asks for, resolved as far as that goes without torch
preflight.py        everything that an export needs, opened and checked before anything expensive begins
preview.py          what an export would do
plan.py             both models without data, and their graphs
build.py            plan -> translated graphs -> streamed weights -> written graphs: a folder without verdict
calibration.py      what the activations of a text say; own_calibration.py: of the user's samples
weights.py          the checkpoint, tensor by tensor, into a file of weights
sharing.py          one file of weights for several targets
export.py           preflight, build, the parity ladder, and the bundle takes its place
support.py          what works with what, as a page
"""
