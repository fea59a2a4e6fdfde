"""What Phi-3-Vision checkpoints in the wild carry beyond the model's own tensors."""

from nexus_edge.checkpoints.keys import KeyRules

# The original module keeps a reference to the token embedding inside the vision module, so a fine-tune's state_dict has
# it twice; some re-saved checkpoints carry CLIP's position index buffer.
RULES = KeyRules(
    aliases={"model.vision_embed_tokens.wte.weight": "model.embed_tokens.weight"}, ignorable=("*.position_ids",)
)
