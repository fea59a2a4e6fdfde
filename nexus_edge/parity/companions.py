"""What a bundle has beside its graphs, written once more and held against what is there, for P0.

Our own runtime reads nothing that is written for others, so no answer of a ladder would tell that it was changed.
"""

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from nexus_edge.bundle import Bundle, BundleWeights
from nexus_edge.checkpoints import Checkpoint
from nexus_edge.errors import BundleError
from nexus_edge.interfaces.target import CompanionWriter, ExportedModel
from nexus_edge.parity.sources import build_quantized, processor_files, recipe_of
from nexus_edge.targets import make_target

PROCESSOR = "processor"
NUMBERED = re.compile(rb"\b([A-Z][A-Za-z0-9]+)_\d+\b")  # a node that has no name, by the nodes its process made before
LITTER = re.compile(r"\.|thumbs\.db$|desktop\.ini$", re.IGNORECASE)  # what desktops leave in a folder they show
VERSION = re.compile(rb'<(\w+_version) value="([^"]*)"')  # of a library, in the .xml of a model that it made


def processor_problems(bundle: Bundle, checkpoint: Checkpoint) -> list[str]:
    """Files of the processor that are not the checkpoint's, in words."""
    expected = {f"{PROCESSOR}/{name}": content for name, content in checkpoint.processor_files().items()}
    return [*_missing_or_foreign(bundle, PROCESSOR, set(expected)), *_differing(bundle, expected)]


def companion_problems(bundle: Bundle, target: str) -> list[str]:
    """Files of other runtimes that are not what an export of this bundle writes, in words.

    Models that another version of a library made (a tokenizer's) may differ; nothing is said of them.

    Raises:
        MissingExtraError: a package that writes them is not installed.
    """
    writers = make_target(target, recipe_of(bundle.manifest), ()).companions
    written = _written(bundle, target, writers) if writers else {}
    of_graphs = {file for info in bundle.manifest.graphs[target].values() for file in info.files}
    same_maker = {name: content for name, content in written.items() if not _by_others(bundle, name, written)}
    return [*_missing_or_foreign(bundle, target, set(written) | of_graphs), *_differing(bundle, same_maker)]


def _written(bundle: Bundle, target: str, writers: Sequence[CompanionWriter]) -> dict[str, bytes]:
    exported = ExportedModel(bundle.manifest, build_quantized(bundle), processor_files(bundle), None)
    read = BundleWeights(bundle, target).read
    with TemporaryDirectory(prefix="nexus-edge-") as folder:
        root = Path(folder)
        shutil.copytree(bundle.root / PROCESSOR, root / PROCESSOR)
        (root / target).mkdir()
        for write in writers:
            write(root / target, exported, read)
        return {f"{target}/{path.name}": path.read_bytes() for path in sorted((root / target).iterdir())}


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}") from error


def _by_others(bundle: Bundle, name: str, written: Mapping[str, bytes]) -> bool:
    """Whether a file, or the .xml that it belongs to, is of another version of a library than is installed here."""
    described = str(PurePosixPath(name).with_suffix(".xml"))
    if described not in written or not (bundle.root / described).is_file():
        return False
    return VERSION.findall(_content(bundle.root / described)) != VERSION.findall(written[described])


def _missing_or_foreign(bundle: Bundle, folder: str, expected: set[str]) -> Iterator[str]:
    found = (path for path in (bundle.root / folder).rglob("*") if path.is_file() and not LITTER.match(path.name))
    there = {path.relative_to(bundle.root).as_posix() for path in found}  # vouched for or not, a runtime takes them
    yield from (f"{name} is missing" for name in sorted(expected - there))
    yield from (f"{name} is none that an export writes" for name in sorted(there - expected))


def _differing(bundle: Bundle, expected: Mapping[str, bytes]) -> Iterator[str]:
    for name in sorted(name for name in expected if (bundle.root / name).is_file()):
        found, right = _content(bundle.root / name), expected[name]
        if found != right and not (name.endswith(".xml") and _renumbered(found) == _renumbered(right)):
            yield f"{name} {_difference(found, right)}"


def _renumbered(xml: bytes) -> bytes:
    numbers: dict[bytes, bytes] = {}
    return NUMBERED.sub(lambda node: numbers.setdefault(node[0], b"%s_%d" % (node[1], len(numbers))), xml)


def _difference(found: bytes, right: bytes) -> str:
    """In words: of JSON the first value that differs."""
    try:
        where, said, should = _first(json.loads(found), json.loads(right), ())
    except (ValueError, RecursionError):
        return "has other bytes"
    return f"says {'.'.join(where)} {said!r:.40}, not {should!r:.40}" if where else "has other bytes"


def _first(found: Any, right: Any, where: tuple[str, ...]) -> tuple[tuple[str, ...], Any, Any]:
    if isinstance(found, dict) and isinstance(right, dict):
        for key in (*right, *found):
            if key not in found or key not in right or found[key] != right[key]:
                return _first(found.get(key), right.get(key), (*where, key))
    return where, found, right
