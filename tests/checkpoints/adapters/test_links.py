"""A link that leads nowhere is named, in the place of an adapter, of one of its files, or of a checkpoint."""

from pathlib import Path

import pytest
from lora_adapter import write_adapter

from nexus_edge.checkpoints import open_checkpoint
from nexus_edge.checkpoints.adapters.adapter import Adapter
from nexus_edge.errors import CheckpointError


def test_the_folder(tmp_path: Path) -> None:
    (tmp_path / "adapter").symlink_to(tmp_path / "gone")
    with pytest.raises(CheckpointError, match=r"/adapter: is a link that leads nowhere; give the adapter's folder"):
        Adapter(tmp_path / "adapter")
    with pytest.raises(CheckpointError, match=r"/adapter: is a link that leads nowhere; give the checkpoint's folder"):
        open_checkpoint(str(tmp_path / "adapter"), "microsoft/Phi-3-vision-128k-instruct")


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_file(name: str, tmp_path: Path) -> None:
    file = write_adapter(tmp_path / "adapter") / name
    file.unlink()
    file.symlink_to(tmp_path / "gone")
    with pytest.raises(CheckpointError, match=rf"{name}: is a link that leads nowhere; copy the file itself"):
        Adapter(tmp_path / "adapter")
