"""The BiomedCLIP of the contract tests: one layer of each tower."""

from pathlib import Path

from first_layers import copy, cut


def write(folder: Path) -> None:
    """A checkpoint in a new folder."""
    copy("biomedclip_tiny", folder)

    def image_tower(config: dict) -> None:
        config["_nexus_edge_weights"] = "synthetic"
        config["model_cfg"]["vision_cfg"]["_golden_timm_kwargs"]["depth"] = 1

    def text_tower(config: dict) -> None:
        config["num_hidden_layers"] = 1

    changes = {"open_clip_config.json": image_tower, "text_config/config.json": text_tower}
    cut(folder, changes, {"visual.trunk.blocks.": 1, "text.transformer.encoder.layer.": 1})
