"""What a bundle's manifest tells apps of its packages, and the evaluator, too.

Bundles of format 2 say it in a file of their own, `coreml/metadata.json`.
"""

from collections.abc import Mapping
from typing import Any

from nexus_edge._text import parse_json, read_text
from nexus_edge._typed import choose
from nexus_edge.bundle import Bundle
from nexus_edge.bundle.paths import check_relative
from nexus_edge.engines.coreml import ENGINE
from nexus_edge.errors import BundleError, CheckpointError
from nexus_edge.processing.normalise import Rgb, read_mean_std

TARGET = ENGINE.target
METADATA = f"{TARGET}/metadata.json"
UNITS = ("all", "cpuOnly", "cpuAndGPU", "cpuAndNeuralEngine")
"""What may compute, by the names of MLComputeUnits' cases."""


def compute_units(bundle: Bundle) -> Mapping[str, str]:
    """Package's folder in `coreml/` -> what is advised to compute it.

    Raises:
        BundleError: metadata.json of a bundle of format 2 is missing or damaged
    """
    programs = [graph.program for graph in bundle.manifest.graphs[TARGET].values() if graph.program is not None]
    if programs:
        return {program.package.rpartition("/")[2]: program.compute_units for program in programs}
    table, where = _metadata(bundle)
    packages = table.get("packages")
    if not isinstance(packages, list) or not all(isinstance(package, dict) for package in packages):
        raise BundleError(f"{where}: packages must be a list of tables; export the bundle again")
    return {
        check_relative(str(package.get("file")), where): choose(
            str(package.get("compute_units")), UNITS, f"{where}: compute_units", BundleError
        )
        for package in packages
    }


def mean_and_std(bundle: Bundle) -> tuple[Rgb, Rgb]:
    """Of the images that a function takes as pixels; raises BundleError as `compute_units`."""
    facts = bundle.manifest.facts
    if facts is not None:
        return facts.images.mean, facts.images.std
    table, where = _metadata(bundle)
    images = table.get("pictures")  # as versions before wrote it
    try:
        return read_mean_std(images if isinstance(images, dict) else {}, ("mean", "std"), where)
    except CheckpointError as error:
        raise BundleError(f"{where} has no mean and deviation: {error}") from error


def _metadata(bundle: Bundle) -> tuple[dict[str, Any], str]:
    """The parsed file, and its name for messages."""
    path = bundle.file(METADATA)
    try:
        table = parse_json(read_text(path))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: is not valid JSON ({error}); export the bundle again") from error
    if not isinstance(table, dict):
        raise BundleError(f"{path}: must be a table; export the bundle again")
    return table, str(path)
