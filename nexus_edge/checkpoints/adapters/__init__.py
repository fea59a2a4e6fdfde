"""PEFT adapters: LoRA and what belongs to it, read and planned without PEFT and without torch.

folder.py   what a folder with an adapter is recognised by
config.py   adapter_config.json: every key is understood, or refused by name
regular.py  regular expressions, in time that is bounded
matching.py which modules a configuration means
tensors.py  the names of an adapter's tensors
adapter.py  an adapter opened
belonging.py  whether the checkpoint that is opened is the one that it was trained on
base.py     the base model's tensors, by the names of both sides
plan.py     what it makes of each tensor of a checkpoint

The merging is `nexus_edge.checkpoints.transforms.lora`.
"""
