"""Makes an index of images, or brings one up to date: only what is new or has changed is embedded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import DTypeLike

from nexus_edge._arguments import require_path
from nexus_edge._outputs import require_own, require_place
from nexus_edge._renamed import renamed_keyword
from nexus_edge._words import counted
from nexus_edge.errors import ImageError, InputError
from nexus_edge.interfaces.progress import Count, uncounted
from nexus_edge.runtimes.dual_encoder.index.file import INDEX
from nexus_edge.runtimes.dual_encoder.index.image_index import ImageIndex, Stamp, from_index, relative_to_index
from nexus_edge.runtimes.dual_encoder.index.journal import Entry, Journal

if TYPE_CHECKING:
    from nexus_edge.runtimes.dual_encoder.model import DualEncoder


@dataclass(frozen=True)
class Skipped:
    """An image that cannot be read, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Built:
    """What became of an index.

    Attributes:
        index: as it was written
        embedded: images that were new or had changed
        unchanged: images asked for whose embedding was there already
        kept: images from before that were not asked for
        gone: images from before whose file is gone; they are not in the index any more
        skipped: images that cannot be read; they are not in the index
    """

    index: ImageIndex
    embedded: int
    unchanged: int
    kept: int
    gone: int
    skipped: tuple[Skipped, ...]


@renamed_keyword("pictures", "images")
def build_index(
    model: "DualEncoder",
    images: Sequence[Path],
    out: Path,
    *,
    fresh: bool = False,
    dtype: DTypeLike = np.float32,
    batch_size: int = 16,
    progress: Count = uncounted,
) -> Built:
    """Embed images into the file `out`, which appears or changes when all is done.

    What an interrupted call has done lies in `<out>.partial`, and the next call for the same file takes it from there.

    Args:
        model: whose image tower embeds
        images: files, of which none appears twice
        out: the file, safetensors. If it is there, its images stay in it, unless their file is gone.
        fresh: forget what is in `out`, which must be an index all the same
        dtype: of the embeddings in the file, float32 or float16
        batch_size: images that run through the tower together
        progress: called with the number of images done and that of all

    Raises:
        InputError: `out` holds another model's index or is none, or no image can be read
        OutputError: it cannot be written, another process is making it, or a file is there that is no index
    """
    out = require_path("out", out)
    require_place(out)
    if fresh:
        require_own("fresh=True", out, INDEX)
    with Journal(out, model.info.image_tower, model.info.embed_dim) as journal:
        known = ({} if fresh else _entries_of(out, model)) | journal.entries
        asked = {relative_to_index(image, out): image for image in images}
        stamps, skipped = _stamps(asked)
        old = {name: known[name] for name, stamp in stamps.items() if name in known and known[name].stamp == stamp}
        todo = [(name, asked[name], stamp) for name, stamp in stamps.items() if name not in old]
        done = _embed(model, todo, journal, skipped, batch_size, progress)
        before = {name: entry for name, entry in known.items() if name not in asked}
        kept = {name: entry for name, entry in before.items() if from_index(name, out).is_file()}
        now = old | done
        entries = kept | {name: now[name] for name in asked if name in now}
        if not entries:
            if not skipped:
                raise InputError("no images were given, and the index holds none; name at least one")
            raise InputError(
                f"none of {counted(len(images), 'image')} can be read, the first because: {skipped[0].reason}"
            )
        index = _index(model, entries, out, dtype)
        index.save(out)
    return Built(index, len(done), len(old), len(kept), len(before) - len(kept), tuple(skipped))


def _entries_of(out: Path, model: "DualEncoder") -> dict[str, Entry]:
    """What the file holds already; nothing, if there is none."""
    if not out.exists():
        return {}
    index = ImageIndex.load(out)
    index.check(model.info, model.name)
    rows = index.embeddings.astype(np.float32, copy=False)
    return {name: Entry(stamp, row) for name, stamp, row in zip(index.paths, index.stamps, rows, strict=True)}


def _stamps(asked: Mapping[str, Path]) -> tuple[dict[str, Stamp], list[Skipped]]:
    stamps: dict[str, Stamp] = {}
    skipped: list[Skipped] = []
    for name, path in asked.items():
        try:
            stamps[name] = Stamp.of(path)
        except OSError as error:
            skipped.append(Skipped(path, f"{path}: cannot be read: {error.strerror}"))
    return stamps, skipped


def _embed(
    model: "DualEncoder",
    todo: Sequence[tuple[str, Path, Stamp]],
    journal: Journal,
    skipped: list[Skipped],
    batch_size: int,
    progress: Count,
) -> dict[str, Entry]:
    done: dict[str, Entry] = {}
    progress(0, len(todo))
    finished = 0
    for results in model.stream_images((path for _, path, _ in todo), batch_size):
        new: dict[str, Entry] = {}
        for (name, path, stamp), result in zip(todo[finished : finished + len(results)], results, strict=True):
            if isinstance(result, ImageError):
                skipped.append(Skipped(path, str(result)))
            else:
                new[name] = Entry(stamp, result)
        journal.add(new)
        done |= new
        finished += len(results)
        progress(finished, len(todo))
    return done


def _index(model: "DualEncoder", entries: Mapping[str, Entry], out: Path, dtype: DTypeLike) -> ImageIndex:
    return ImageIndex(
        np.stack([entry.embedding for entry in entries.values()]).astype(dtype),
        tuple(entries),
        tuple(entry.stamp for entry in entries.values()),
        model.info.image_tower,
        model.name,
        model.weights,
        relative_to_index(model.root, out),
    )
