"""The ladder of models with an image and a text tower.

lab.py         what a climb shares            material.py    the pictures and texts (sentences.py)
structure.py   P0 of the manifest             scheme.py      P4
end_to_end.py  P5 (inputs.py: from where)     embeddings.py  what a PyTorch model makes of the material
ranking.py     what an error in an embedding does to users
goldens.py     what is recorded               replay.py      the same on a device
"""
