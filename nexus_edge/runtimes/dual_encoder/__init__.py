"""Models of two towers: embeddings, zero-shot classes, search.

model.py          images and texts to embeddings (image_stream.py, text_batches.py: how work is cut)
prompts.py        labels in templates, and the built-in sets in banks/
label_bank.py     embedded labels in a file; ship.py: the image tower alone, with such a bank
index/            embedded images in a file, made, updated and searched
benchmark.py      what `nexus-edge bench` measures
"""
