"""What the configuration files of a checkpoint say, read key by key without torch.

keys.py          the rules a key can follow, and the walk that refuses what follows none
transformers.py  keys that transformers writes into every model's files
rope.py          all spellings of RoPE, read into one set of numbers
values.py        single numbers and tables

The keys of a family are in its folder, `nexus_edge/models/<family>/config_keys.py`.

The rule: a key is understood, or changes nothing here (with the reason beside it), or is refused by name.
"""
