"""The LLaVA-NeXT of the contract tests: one layer of the decoder, and one of the tower that is used."""

from pathlib import Path

from first_layers import copy, cut


def write(folder: Path) -> None:
    """A checkpoint in a new folder."""
    copy("llava_next_tiny", folder)

    def smaller(config: dict) -> None:
        config["_nexus_edge_weights"] = "synthetic"
        config["text_config"]["num_hidden_layers"] = 1
        config["vision_config"]["num_hidden_layers"] = 2  # features are of the last but one

    layers = {"language_model.model.layers.": 1, "vision_tower.vision_model.encoder.layers.": 2}
    cut(folder, {"config.json": smaller}, layers)
