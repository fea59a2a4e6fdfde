"""Small checkpoints that this project trains, and the questions that measure what a change costs them. No torch."""

from nexus_edge.assets.heldout import Accuracy, HeldOutQuestion, exact_match, held_out_questions
from nexus_edge.assets.heldout_crops import (
    HeldOutCrop,
    HeldOutImages,
    Recall,
    ZeroShot,
    held_out_images,
    recall_at,
    zero_shot_accuracy,
)

__all__ = [
    "Accuracy",
    "HeldOutCrop",
    "HeldOutImages",
    "HeldOutQuestion",
    "Recall",
    "ZeroShot",
    "exact_match",
    "held_out_images",
    "held_out_questions",
    "recall_at",
    "zero_shot_accuracy",
]
