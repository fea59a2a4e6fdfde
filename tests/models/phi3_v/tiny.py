"""The Phi-3-Vision of the contract tests: one layer of the decoder, and one of the tower that is used."""

from pathlib import Path

import golden_phi3
from first_layers import cut


def write(folder: Path) -> None:
    """A checkpoint in a new folder."""
    golden_phi3.write_checkpoint(folder)

    def smaller(config: dict) -> None:
        config["num_hidden_layers"] = 1
        config["_golden_clip_vision_config"]["num_hidden_layers"] = 2  # features are of the last but one

    tower = "model.vision_embed_tokens.img_processor.vision_model.encoder.layers."
    cut(folder, {"config.json": smaller}, {"model.layers.": 1, tower: 2})
