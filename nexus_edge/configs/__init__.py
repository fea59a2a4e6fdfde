"""What the configuration files of a checkpoint say, read key by key without torch.

keys.py          the rules a key can follow, and the walk that refuses what follows none
transformers.py  keys that transformers writes into every model's files
phi3_v.py, biomedclip.py   every key of a family's files, with what reads it or why it changes nothing
rope.py          all spellings of RoPE, read into one set of numbers
values.py        single numbers and tables

The rule: a key is understood, or changes nothing here (with the reason beside it), or is refused by name.
"""
