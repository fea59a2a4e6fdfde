"""The Molmo of the contract tests: one layer of the decoder; the tower's features are of its last but eight."""

from pathlib import Path

from first_layers import copy, cut


def write(folder: Path) -> None:
    """A checkpoint in a new folder."""
    copy("molmo_tiny", folder)

    def smaller(config: dict) -> None:
        config["_nexus_edge_weights"] = "synthetic"
        config["num_hidden_layers"] = 1

    cut(folder, {"config.json": smaller}, {"model.transformer.blocks.": 1})
