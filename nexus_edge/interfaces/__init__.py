"""What the rooms of nexus-edge promise each other: dataclasses and protocols, without logic and without torch.

engine.py       what runs the graphs of a vision-language model
engine_info.py  what runs the graphs of a target, as far as it is known before it is imported
facts.py        what a runtime must know of a model, as data of a closed vocabulary
family.py       a family of models: what its folder in `nexus_edge/models/` says of it
graph.py        a part of a model that is deployed on its own
host.py         what a runtime does between the graphs of a vision-language model
parity.py       what a family gives to the parity ladder
processor.py    from text and images to a model's inputs
progress.py     how long work says how far it is
quantizer.py    how the codes of a weight are chosen
target.py       a format that an export can write: what is known of it, and how its graphs are written
weights.py      a checkpoint seen through a model's names
"""
