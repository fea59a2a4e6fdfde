"""An adapter from the command line to a bundle and back: the bundle of the merged checkpoint, to the last byte."""

import shutil
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from lora_adapter import TINY, write_adapter, write_merged

import nexus_edge
from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints.adapters.belonging import AdapterWarning
from nexus_edge.errors import CheckpointError
from nexus_edge.parity import ladder
from nexus_edge.parity.sources import checkpoint_of, require_same
from nexus_edge.pipeline.request import ExportRequest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    write_merged(write_adapter(folder / "mine"), folder / "merged")
    return folder


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return nexus_edge.export(
        "phi3-vision", "int4", checkpoint="tiny", adapter=folder / "mine", out=folder / "adapted", parity=False
    )


def test_the_bundle_is_that_of_the_merged_checkpoint(bundle: Bundle, folder: Path) -> None:
    merged = nexus_edge.export(
        "phi3-vision", "int4", checkpoint=folder / "merged", out=folder / "from-merged", parity=False
    )
    plain = {name: info.sha256 for name, info in merged.manifest.files.items()}
    adapted = {name: info.sha256 for name, info in bundle.manifest.files.items()}
    assert len(plain) > 8 and adapted == plain


def test_the_manifest_says_what_was_merged(bundle: Bundle, folder: Path) -> None:
    source = bundle.manifest.source
    assert source.adapter is not None
    assert source.adapter.folder == str(folder / "mine") and source.adapter.base_model == str(TINY)
    assert source.label == "fine-tune of trained-tiny"
    assert source.in_words == (
        f"a fine-tune: a small checkpoint trained in this repository, with the LoRA adapter {folder / 'mine'}, which "
        f"says to be of {TINY}, merged into it"
    )
    assert Bundle.open(bundle.root).manifest.source == source


def test_the_ladder_opens_the_adapter_again(bundle: Bundle) -> None:
    report = ladder.run(ladder.prepare(bundle), ["P4"])
    assert report.verdict == "passed" and "fine-tune" in report.origin
    # The weights of the base alone are others.
    forgotten = replace(bundle.manifest.source, adapter=None)
    without = replace(bundle, manifest=replace(bundle.manifest, source=forgotten))
    assert ladder.run(ladder.prepare(without, max_memory=1), ["P4"]).verdict == "rejected"


def test_another_adapter_is_refused(bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    other, same = write_adapter(tmp_path / "other", seed=1), shutil.copytree(folder / "mine", tmp_path / "moved")
    assert checkpoint_of(bundle.manifest, adapter=same).adapter is not None
    with pytest.raises(CheckpointError, match="is not the adapter that phi3-vision-int4 was made with"):
        checkpoint_of(bundle.manifest, adapter=other)
    gone = replace(bundle.manifest.source.adapter, folder=str(tmp_path / "gone"))
    manifest = replace(bundle.manifest, source=replace(bundle.manifest.source, adapter=gone))
    with pytest.raises(CheckpointError, match="gone: the adapter is no longer there; give it with --adapter"):
        checkpoint_of(manifest)
    plain = replace(bundle.manifest, source=replace(bundle.manifest.source, adapter=None))
    with pytest.raises(CheckpointError, match="was made without an adapter; leave out --adapter"):
        checkpoint_of(plain, adapter=same)
    with pytest.raises(CheckpointError, match=r"was made with the adapter .*mine; give it"):
        require_same(bundle.manifest, checkpoint_of(plain))


@pytest.fixture
def names(tmp_path: Path) -> Iterator[Path]:
    """An adapter that names its base by a hub id."""
    yield write_adapter(tmp_path / "named", base_model_name_or_path="microsoft/Phi-3-vision-128k-instruct")


def test_doubt_about_the_base_is_said(names: Path, folder: Path) -> None:
    def request(adapter: Path) -> ExportRequest:
        return ExportRequest.resolve("phi3-vision", checkpoint="tiny", adapter=adapter)

    with pytest.warns(AdapterWarning, match="it cannot be told whether tiny holds the same weights"):
        request(names).open()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert request(folder / "mine").open().adapter is not None  # it names the folder that is opened
    assert request(names).out == Path("out/phi3-vision-int4-tiny-named")
