"""A bundle for devices that only classify: the image tower, and what the text tower made of the labels."""

import shutil
from dataclasses import replace
from pathlib import Path

from nexus_edge._outputs import require_apart
from nexus_edge.axes import targets
from nexus_edge.bundle import Bundle, BundleWriter
from nexus_edge.bundle.reader import GOLDENS, PARITY
from nexus_edge.engines.dual import TEXT
from nexus_edge.errors import InputError
from nexus_edge.runtimes.dual_encoder.label_bank import BUNDLED, LabelBank


def ship_image_tower(bundle: Bundle, bank: LabelBank, out: Path, *, force: bool = False) -> Bundle:
    """Write a bundle without the text tower, and with `bank`, to `out`.

    The parity report is about both towers and stays behind; the goldens go along, for `nexus-edge verify` to replay
    those of the image tower. Files of targets that are sealed as a whole stay behind, too; an app takes its package and
    the bank by themselves.

    Args:
        bundle: of a dual encoder
        bank: made by its text tower
        out: the new bundle's folder
        force: replace a bundle that is there

    Raises:
        InputError: there is no target that could go along
        OutputError: `out` is there already, cannot be written, or is, holds or lies in `bundle`
    """
    require_apart("out", out, [bundle.root])
    # Each file of these names the bundle that it is of, both towers included.
    sealed = {name: info.title for name, info in targets().items() if info.sealed and name in bundle.manifest.targets}
    graphs = {
        target: {name: graph for name, graph in towers.items() if name != TEXT}
        for target, towers in bundle.manifest.graphs.items()
        if target not in sealed
    }
    if not graphs:
        titles = ", ".join(sealed.values())
        raise InputError(
            f"{bundle.root}: holds {titles} files only, which are sealed together; ship the image encoder's with the "
            "bank in your app"
        )
    kept = {file for towers in graphs.values() for graph in towers.values() for file in graph.files}
    left = {file for towers in bundle.manifest.graphs.values() for graph in towers.values() for file in graph.files}
    left = {name for name in bundle.manifest.files if name in left or name.partition("/")[0] in sealed} - kept
    with BundleWriter(out, force) as writer:
        for name in bundle.manifest.files:
            if name == GOLDENS or (name not in left and name != BUNDLED and not name.startswith(f"{PARITY}/")):
                target = writer.root / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(bundle.file(name), target)
        bank.save(writer.root / BUNDLED)
        name = f"{bundle.manifest.name}-image"
        writer.commit(replace(bundle.manifest, name=name, targets=tuple(graphs), graphs=graphs, parity=None))
    return Bundle.open(out)
