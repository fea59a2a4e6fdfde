"""The goldens inside a bundle: what its graphs should compute, for `nexus-edge verify` to replay on a device.

Recorded from the *quantized* PyTorch model with the bundle's own weights, so that a replay measures the device and not
the scheme; what full precision says lies beside it for information. Which values there are is a kind of model's own
matter (vlm/goldens.py, dual_encoder/goldens.py).
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from nexus_edge.bundle import Bundle
from nexus_edge.bundle.reader import GOLDENS
from nexus_edge.checkpoints import SafetensorsFile, write_tensors
from nexus_edge.errors import BundleError
from nexus_edge.parity.formats import Formats, on_another_device
from nexus_edge.parity.kinds import Golden
from nexus_edge.parity.metrics import Array, Measures
from nexus_edge.parity.precisions import formats_of, runtime_options
from nexus_edge.parity.run import ParityRun
from nexus_edge.parity.stages import Effects

EFFECT = "effect"
EFFECTS = ("relative_l2", "max_abs", "mean_abs")


def write_goldens(run: ParityRun, folder: Path) -> None:
    """Record a run's cases into `folder`, a bundle's parity/; no file where nothing can be recorded here."""
    tensors = dict(run.kind.record(run))
    folder.mkdir(exist_ok=True)
    if tensors:
        write_tensors(folder / Path(GOLDENS).name, tensors)


def formats_elsewhere(run: ParityRun) -> Iterator[tuple[str, Formats]]:
    """For every target and precision, under which key of a golden it is found what these formats do.

    A replay is judged by it: a device cannot measure it itself, and nobody knows yet which CPU that will be.
    """
    for target in run.manifest.targets:
        for precision, options in runtime_options(target).items():
            yield f"{EFFECT}.{target}.{precision}", on_another_device(formats_of(options))


def recorded(key: str, effects: Mapping[str, Measures]) -> Iterator[tuple[str, Array]]:
    """`effect.{target}.{precision}.{value}` of a golden: the measures of `EFFECTS`."""
    for name, measures in effects.items():
        yield f"{key}.{name}", np.array([measures[metric] for metric in EFFECTS])


def recorded_effects(
    run: ParityRun,
    again: Callable[[], Mapping[str, Array]],
    values: Mapping[str, Array],
    widened: Callable[[Mapping[str, Measures]], Mapping[str, Measures]] = dict,
) -> Iterator[tuple[str, Array]]:
    """Of all formats, what they do to the values of a case.

    Args:
        run: whose bundle it is
        again: computes them
        values: without errors
        widened: what one draw found, as it is to be recorded
    """
    from nexus_edge.parity.rounding import effect

    for key, formats in formats_elsewhere(run):
        yield from recorded(key, widened(effect(again, values, formats, draws=1)))


def effects_of(golden: Golden, target: str, precision: str) -> Effects:
    """What `recorded_effects` left in a golden; nothing where nobody could measure it."""
    start = f"{EFFECT}.{target}.{precision}."
    known = {
        name.removeprefix(start): dict(zip(EFFECTS, (float(number) for number in values), strict=True))
        for name, values in golden.values.items()
        if name.startswith(start)
    }
    return lambda: known


def read_goldens(bundle: Bundle) -> tuple[Golden, ...]:
    """The recorded cases, in the order of their names.

    Raises:
        BundleError: there are none: the bundle was exported without the parity ladder.
    """
    if GOLDENS not in bundle.manifest.files:
        raise BundleError(f"{bundle.root}: holds no goldens; run `nexus-edge parity --update` where its checkpoint is")
    file = SafetensorsFile(bundle.file(GOLDENS))
    cases: dict[str, dict[str, Array]] = {}
    for key in sorted(file.infos):
        case, _, name = key.partition(".")
        cases.setdefault(case, {})[name] = file.read(key)
    return tuple(Golden(name, values) for name, values in cases.items())
