"""The ladder of models with an image and a text tower.

kind.py        what the rungs call            run.py             what a run asks, and what came of it
steps.py       P2 and P3                      evaluation_set.py  the images and texts (sentences.py)
structure.py   P0 of the manifest             scheme.py          P4
end_to_end.py  P5                             embeddings.py      what a PyTorch model makes of the evaluation set
ranking.py     what an error in an embedding does to users; directions.py: to probabilities, whichever way it points
own_data.py    a user's labelled images
goldens.py     what is recorded               replay.py          the same on a device
"""
