"""What a source of weights goes through between a checkpoint's files and a model's names.

base.py      what a transform is
stored.py    a checkpoint by its own names: where every source begins
rename.py    other names for the same tensors; two for one where weights are tied
fuse.py      q, k, v as qkv, or the other way round
lora.py      an adapter merged
equalize.py  columns and rows times powers of two, so that the model rounds better
"""
