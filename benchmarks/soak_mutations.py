"""Damaged files: every kind that a user hands over, changed at random, opened as the product opens it.

Right is an error of ours in one line, or a file that still is one. Anything else that is raised is wrong, and so is a
process that ends. Each batch runs in a process of its own, so that a crash is found and has a number.
"""

import multiprocessing
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image
from soak_parts import Desk, Row

from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import open_checkpoint, tiny_folder
from nexus_edge.errors import NexusEdgeError
from nexus_edge.processing.images import load_image
from nexus_edge.recipe import read_recipe
from nexus_edge.runtimes import EngineOptions, PictureIndex, build_index, load
from nexus_edge.runtimes.label_bank import LabelBank

BATCH = 50
HUBS = {
    "phi3_v": "microsoft/Phi-3-vision-128k-instruct",
    "biomedclip": "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
}


@dataclass(frozen=True)
class Kind:
    """Files of one kind: which of `files` below `folder` is changed, how all is opened, and how often."""

    what: str
    folder: Path
    files: tuple[str, ...]
    open: Callable[[Path, str], object]
    whole: int


def open_checkpoint_folder(hub: str, folder: Path, name: str) -> None:
    """What an export does before it quantizes: the model, its processor, and every tensor."""
    from nexus_edge import processing
    from nexus_edge.models import build_model

    checkpoint = open_checkpoint(str(folder), hub)
    build_model(checkpoint)
    for key in checkpoint.keys():  # noqa: SIM118  not a mapping
        checkpoint.read(key)
    (processing.from_checkpoint if "phi3" in checkpoint.config["model_type"] else processing.dual_from_checkpoint)(
        folder
    )


def open_bundle(folder: Path, name: str) -> None:
    load(Bundle.open(folder, check="sha256"), EngineOptions(threads=1))


def open_unhashed_bundle(folder: Path, name: str) -> None:
    """As a bundle whose hashes were made to fit by whoever changed it."""
    load(Bundle.open(folder, check=None), EngineOptions(threads=1))


def open_recipe(folder: Path, name: str) -> None:
    read_recipe(folder / name)


def open_image(folder: Path, name: str) -> None:
    load_image(folder / name)


def open_index(folder: Path, name: str) -> None:
    PictureIndex.load(folder / name)


def open_bank(folder: Path, name: str) -> None:
    LabelBank.load(folder / name)


def kinds(desk: Desk) -> list[Kind]:
    """Sound files of every kind, in folders below the desk's."""
    tinies = {family: shutil.copytree(tiny_folder(family), desk.folder / f"checkpoint-{family}") for family in HUBS}
    for tiny in tinies.values():
        shutil.rmtree(tiny / "heldout")
    bundles = {name: desk.bundle(name).root for name in ("phi3-vision", "biomedclip")}
    images, recipes, index = desk.folder / "images", desk.folder / "recipes", desk.folder / "index"
    for folder in (images, recipes, index):
        folder.mkdir()
    write_images(images)
    recipe_files = sorted((Path(__file__).parents[1] / "export").rglob("*.toml"))
    for file in recipe_files:
        shutil.copy(file, recipes / f"{file.parent.name}-{file.name}")
    towers = load(bundles["biomedclip"])
    build_index(towers, images, index / "index.npz")
    towers.label_bank(["red", "green"]).save(index / "bank.safetensors")
    found = [
        Kind(f"checkpoint of {family}", tiny, _names(tiny), partial(open_checkpoint_folder, HUBS[family]), 900)
        for family, tiny in tinies.items()
    ]
    for name, root in bundles.items():
        found.append(Kind(f"bundle of {name}", root, _names(root), open_bundle, 500))
        small = tuple(file for file in _names(root) if file.endswith((".json", ".onnx")))
        found.append(Kind(f"bundle of {name}, hashes not asked", root, small, open_unhashed_bundle, 600))
    return [
        *found,
        Kind("recipe", recipes, _names(recipes), open_recipe, 600),
        Kind("image", images, _names(images), open_image, 1500),
        Kind("index", index, ("index.npz",), open_index, 500),
        Kind("label bank", index, ("bank.safetensors",), open_bank, 300),
    ]


def write_images(folder: Path) -> None:
    """One picture in every format that Pillow writes and people have."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    image = Image.fromarray(noise)
    for ending in ("png", "jpg", "bmp", "tif", "webp", "gif", "ppm"):
        image.save(folder / f"a.{ending}")
    image.convert("L").save(folder / "grey.tif")
    image.convert("P").save(folder / "palette.png")
    Image.fromarray(noise[:, :, 0].astype(np.uint16) * 257).save(folder / "deep.png")


def _names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()))


def mutate(data: bytes, random: Random) -> bytes:
    """One of: some bytes changed, a part removed, doubled or zeroed, cut off, text put in, another file's beginning."""
    changed = bytearray(data)
    # Structure sits at the beginning of most formats, and at the end of some.
    near = min(len(data), random.choice((64, 512, 4096, len(data) or 1)))
    place = (
        random.randrange(near or 1) if random.random() < 0.8 else max(0, len(data) - 1 - random.randrange(near or 1))
    )
    length = random.choice((1, 2, 8, 64, 1024))
    kind = random.randrange(8)
    if kind <= 2:
        for _ in range(random.choice((1, 1, 2, 8))):
            if changed:
                changed[(place + random.randrange(length)) % len(changed)] = random.randrange(256)
    elif kind == 3:
        del changed[place : place + length]
    elif kind == 4:
        changed[place:place] = changed[place : place + length]
    elif kind == 5:
        changed[place : place + length] = bytes(min(length, len(changed) - place))
    elif kind == 6:
        del changed[place:]
    else:
        inserted = random.choice(
            (b"{", b"[", b"]", b'"', b"1e999", b"-1", b"null", b"\xff\xfe", b"\x00", b"NaN", b"[" * 3000)
        )
        changed[place:place] = inserted
    return bytes(changed)


def try_batch(kind: Kind, seed: str, numbers: range, folder: Path) -> list[str]:
    """Open mutation after mutation; returns what went wrong. `folder` is a sound copy of `kind.folder`."""
    wrong = []
    for number in numbers:
        random = Random(f"{seed} {kind.what} {number}")
        name = random.choice(kind.files)
        sound = (kind.folder / name).read_bytes()
        (folder / name).write_bytes(mutate(sound, random))
        (folder / "number.txt").write_text(str(number))
        try:
            kind.open(folder, name)
        except NexusEdgeError as error:
            if "\n" in str(error).strip():
                wrong.append(f"{name}, mutation {number}: its error has several lines: {str(error)[:200]!r}")
        except Exception as error:  # noqa: BLE001  that is what is looked for
            wrong.append(f"{name}, mutation {number}: {type(error).__name__}: {str(error)[:200]}")
        (folder / name).write_bytes(sound)
    return wrong


def batches(count: int) -> Iterator[range]:
    for start in range(0, count, BATCH):
        yield range(start, min(count, start + BATCH))


def run(desk: Desk) -> list[Row]:
    """A row for each kind of file."""
    context = multiprocessing.get_context("spawn")
    rows = []
    for kind in kinds(desk):
        copy = Path(shutil.copytree(kind.folder, desk.folder / "copy"))
        count, wrong = desk.count(kind.whole), []
        pool = ProcessPoolExecutor(1, context)
        for numbers in batches(count):
            try:
                wrong += pool.submit(try_batch, kind, str(desk.seed), numbers, copy).result()
            except BrokenProcessPool:
                wrong.append(f"mutation {(copy / 'number.txt').read_text()} ended the process")
                shutil.rmtree(copy)
                shutil.copytree(kind.folder, copy)
                pool = ProcessPoolExecutor(1, context)
        pool.shutdown()
        shutil.rmtree(copy)
        rows.append(Row(f"damaged files: {kind.what}", count, tuple(wrong), "one line or opened"))
    return rows
