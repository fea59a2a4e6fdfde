"""What the rooms of nexus-edge promise each other: dataclasses and protocols, without logic and without torch.

engine_info.py  what runs the graphs of a target, as far as it is known before it is imported
facts.py        what a runtime must know of a model, as data of a closed vocabulary
family.py       a family of models: what its folder in `nexus_edge/models/` says of it
graph.py        a part of a model that is deployed on its own
parity.py       what a family gives to the parity ladder
progress.py     how long work says how far it is
processor.py    from text and images to a model's inputs
quantizer.py    how the codes of a weight are chosen
target.py       a format that an export can write: what is known of it, and how its graphs are written
"""
