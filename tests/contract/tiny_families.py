"""Families as the contract tests see them: each with the tiny checkpoint that it brings."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
import torch

from nexus_edge.checkpoints import FolderCheckpoint
from nexus_edge.families import families
from nexus_edge.interfaces.family import Family
from nexus_edge.interfaces.graph import GraphSpec, Interface
from nexus_edge.models.base import ReferenceModel
from nexus_edge.models.loading import build_empty, fill, weights_of
from nexus_edge.pipeline.support import recipes_of

ROOT = Path(__file__).parents[2]
EXPORTED = [name for name, family in families().items() if recipes_of(family)]
"""Families with a recipe. One that has none yet need not have what only an export takes."""


def write_tiny(model_type: str, folder: Path) -> None:
    """The tiny checkpoint of a family, in a new folder.

    `tests/models/<model_type>/tiny.py` has `write(folder)`: a whole checkpoint as `--checkpoint` takes it, of at most
    2 MB and with as few layers as the family can have. Its numbers need mean nothing.
    """
    call_write(Path("tests/models") / model_type / "tiny.py", folder)


def call_write(script: Path, folder: Path) -> None:
    """Run `write(folder)` of a file that whoever adds to a registry brings; fails by its name where it is missing."""
    if not (ROOT / script).is_file():
        pytest.fail(f"{script} is missing; CONTRIBUTING.md says what it is", pytrace=False)
    spec = importlib.util.spec_from_file_location(f"{script.parent.name}_{script.stem}", ROOT / script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.write(folder)


@dataclass(frozen=True)
class Tiny:
    """A family with its tiny checkpoint; read-only."""

    family: Family
    folder: Path

    @cached_property
    def checkpoint(self) -> FolderCheckpoint:
        return FolderCheckpoint(self.folder)

    @cached_property
    def model(self) -> ReferenceModel:
        """With the checkpoint's weights."""
        model = build_empty(self.checkpoint)
        fill(model, weights_of(self.checkpoint, model), torch.float32)
        return model

    @cached_property
    def graphs(self) -> Mapping[str, GraphSpec]:
        """Of the split for dynamic shapes, around `model`."""
        return {spec.name: spec for spec in self.family.split().graphs(self.model)}

    @cached_property
    def interfaces(self) -> Mapping[str, Interface]:
        return {name: Interface(spec.inputs, spec.outputs) for name, spec in self.graphs.items()}

    @cached_property
    def processor_folder(self) -> Path:
        """What a bundle's `processor/` would hold."""
        folder = self.folder.parent / "processor"
        folder.mkdir()
        for name, content in self.checkpoint.processor_files().items():
            (folder / name).write_bytes(content)
        return folder
