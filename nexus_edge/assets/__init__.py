"""Small checkpoints that this project trains, and the questions that measure what a change costs them. No torch."""

from nexus_edge.assets.heldout import Accuracy, HeldOutQuestion, exact_match, held_out_questions

__all__ = ["Accuracy", "HeldOutQuestion", "exact_match", "held_out_questions"]
