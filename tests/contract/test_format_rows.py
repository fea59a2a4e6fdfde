"""Every checkpoint format: it opens what an independent writer wrote, and refuses it when it is cut short."""

import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from tiny_families import call_write

from nexus_edge.checkpoints import FolderCheckpoint
from nexus_edge.checkpoints.formats import format_of, formats
from nexus_edge.checkpoints.license import read_license
from nexus_edge.checkpoints.reads import checkpoint_reads
from nexus_edge.errors import CheckpointError
from nexus_edge.families import family_of

pytestmark = pytest.mark.fast
every_format = pytest.mark.parametrize("name", formats())


@pytest.fixture
def folder(name: str, tmp_path: Path) -> Path:
    """A checkpoint that `tests/checkpoints/layouts/<format>.py` wrote."""
    call_write(Path("tests/checkpoints/layouts") / f"{name}.py", tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


@every_format
def test_it_is_recognised_and_holds_the_numbers_that_were_written(name: str, folder: Path) -> None:
    assert format_of(folder) is formats()[name]
    checkpoint = FolderCheckpoint(folder)
    assert family_of(checkpoint.config, name).model_type == checkpoint.config["model_type"]
    assert (folder / formats()[name].config_file).is_file() and checkpoint.processor_files()
    assert formats()[name].lacking(folder) == ()
    written = {
        key: value for file in checkpoint.weight_files for key, value in safetensors.numpy.load_file(file).items()
    }
    assert checkpoint.keys().keys() == written.keys()
    for key, expected in written.items():
        assert checkpoint.keys()[key].shape == expected.shape
        np.testing.assert_array_equal(checkpoint.read(key), expected)
        if expected.ndim:
            np.testing.assert_array_equal(checkpoint.rows(key, 0, 1), expected[:1])
        checkpoint.release(key)


@every_format
def test_weights_that_are_cut_short_are_refused(name: str, folder: Path) -> None:
    for path in FolderCheckpoint(folder).weight_files:
        whole = path.read_bytes()
        header = 8 + int.from_bytes(whole[:8], "little")
        for size in (0, 7, header // 2, header, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:size])
            with pytest.raises(CheckpointError) as caught:
                FolderCheckpoint(folder)
            assert path.name in str(caught.value) and "\n" not in str(caught.value), size
        path.write_bytes(whole)


@every_format
def test_a_configuration_that_is_cut_short_is_refused(name: str, folder: Path) -> None:
    path = folder / formats()[name].config_file
    whole = path.read_bytes()
    for size in (0, 1, len(whole) // 2, len(whole.rstrip()) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError) as caught:
            FolderCheckpoint(folder)
        assert path.name in str(caught.value) and "\n" not in str(caught.value), size


OPENED: list[Path] = []
LISTENS: list[None] = []  # filled while a test does; a hook cannot be removed


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if LISTENS and event == "open" and isinstance(arguments[0], str):
        OPENED.append(Path(arguments[0]))


sys.addaudithook(_hear)


@every_format
def test_what_it_says_to_read_is_what_it_reads(name: str, folder: Path) -> None:
    """As Python's own audit events tell it: an output may lie beside these files and not take the place of one."""
    OPENED.clear()
    LISTENS.append(None)
    try:
        checkpoint = FolderCheckpoint(folder)
        checkpoint.processor_files()
        read_license(folder)
    finally:
        LISTENS.clear()
    opened = {path for path in OPENED if path.is_relative_to(folder)}
    assert folder / formats()[name].config_file in opened
    assert opened <= set(checkpoint_reads(checkpoint))
    assert not any(path.suffix in (".xml", ".html") for path in checkpoint_reads(checkpoint))
