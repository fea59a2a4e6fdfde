"""The goldens inside a bundle: what its graphs should compute, for `nexus-edge verify` to replay on a device.

Recorded from the *quantized* PyTorch model with the bundle's own weights, so that a replay measures the device and not
the scheme; what full precision says lies beside it for information. Which values there are is a kind of model's own
matter (vlm/goldens.py, dual/goldens.py).
"""

from pathlib import Path

from nexus_edge.bundle import Bundle
from nexus_edge.bundle.reader import GOLDENS
from nexus_edge.checkpoints import SafetensorsFile, write_tensors
from nexus_edge.errors import BundleError
from nexus_edge.parity.families import Golden
from nexus_edge.parity.lab import Lab
from nexus_edge.parity.metrics import Array


def write_goldens(lab: Lab, folder: Path) -> None:
    """Record the lab's cases into `folder`, a bundle's parity/; no file where nothing can be recorded here."""
    tensors = dict(lab.record())
    folder.mkdir(exist_ok=True)
    if tensors:
        write_tensors(folder / Path(GOLDENS).name, tensors)


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
