"""The reference models in PyTorch: one file per family, named after the checkpoint's `model_type`.

A family's file has `build(config) -> nn.Module`, whose parameters carry the checkpoint's keys, and
`key_rules(config)`, what else its checkpoints may hold.
"""

from nexus_edge.models.loading import build_model, from_checkpoint, load_weights

__all__ = ["build_model", "from_checkpoint", "load_weights"]
