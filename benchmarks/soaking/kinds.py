"""What is damaged, and the commands that open it: each says what a user could complain of, None if nothing."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from zlib import crc32

import numpy as np

from nexus_edge.assets.heldout import FOLDER as HELD_OUT
from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import tiny_folder
from nexus_edge.errors import BundleError, ImageError
from nexus_edge.runtimes import DualEncoder, EngineOptions, ImageIndex, build_index, load_dual_encoder

from .commands import command
from .desk import Desk
from .samples import write_images, write_tables

IMAGE = HELD_OUT / "004.png"
CELL = tiny_folder("biomedclip") / "heldout" / "cell_000.jpg"


@dataclass(frozen=True)
class Case:
    """One damaged file: `folder / name` is what `sound` was, and `scratch` is an empty folder for what is written."""

    folder: Path
    name: str
    sound: bytes
    scratch: Path

    @property
    def file(self) -> Path:
        return self.folder / self.name


@dataclass(frozen=True)
class Kind:
    """Files of one kind: which of `files` below `folder` is changed, how it is used, and how often."""

    what: str
    folder: Path
    files: tuple[str, ...]
    use: Callable[[Case], str | None]
    whole: int


def plan(model: str, case: Case) -> str | None:
    """`export --dry-run`, which opens all that an export opens before it computes; it writes nothing."""
    ended = command("export", model, "--checkpoint", case.folder, "--out", case.scratch / "b", "--dry-run")
    return ended.problem or _left(case)


def export(model: str, case: Case) -> str | None:
    """A whole export: nothing is left of one that fails, and a bundle that is there opens."""
    out = case.scratch / "b"
    ended = command("export", model, "--checkpoint", case.folder, "--out", out, "--no-parity", "--quiet")
    if ended.problem is not None or ended.code != 0:
        return ended.problem or _left(case)
    Bundle.open(out, check="sha256")
    return _left(case, "b")


def plan_recipe(case: Case) -> str | None:
    model = "biomedclip" if case.name.startswith("biomedclip") else "phi3-vision"
    out = case.scratch / "b"
    ended = command("export", model, "--recipe", case.file, "--checkpoint", "tiny", "--out", out, "--dry-run")
    return ended.problem or _left(case)


def ask(engine: str, case: Case) -> str | None:
    options = ("--max-new-tokens", 2, "--engine", engine, "--threads", 1)
    return command("run", case.folder, "--image", IMAGE, "--prompt", "What is shown?", *options).problem


def classify(engine: str, case: Case) -> str | None:
    return command("classify", case.folder, CELL, "--labels", "a,b", "--engine", engine, "--threads", 1).problem


def with_hashes(use: Callable[[Case], str | None], case: Case) -> str | None:
    """A changed bundle is found by its hashes; and what opens it without them ends well in any case."""
    try:
        Bundle.open(case.folder, check="sha256")
        noticed = case.name == "manifest.json" or case.file.read_bytes() == case.sound
    except BundleError:
        noticed = True
    return use(case) if noticed else "its hashes are not the manifest's, and it opened"


def vouched(use: Callable[[Case], str | None], case: Case) -> str | None:
    """As a bundle whose manifest vouches for the change, by whoever made it."""
    manifest = case.folder / "manifest.json"
    before = manifest.read_bytes()
    value, content = json.loads(before), case.file.read_bytes()
    value["files"][case.name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest.write_text(json.dumps(value), "utf-8")
    try:
        return use(case)
    finally:
        manifest.write_bytes(before)


def embed_image(bundle: Path, case: Case) -> str | None:
    """In a running model: a unit vector, or an ImageError of one line; every tenth with the command, into an index."""
    try:
        row = _towers(bundle).embed_images([case.file])[0]
        if not abs(float(np.linalg.norm(row)) - 1) < 1e-3:
            return f"its embedding has the length {np.linalg.norm(row)}"
    except ImageError as error:
        if "\n" in str(error):
            return f"an error of several lines: {str(error)[:200]!r}"
    if crc32(case.file.read_bytes()) % 10:
        return None
    index = case.scratch / "index.safetensors"
    ended = command("embed", bundle, case.file, "-o", index, "--threads", 1)
    if ended.code == 0 and len(ImageIndex.load(index)) != 1:
        return "embedded, and not in the index"
    return ended.problem or _left(case, *(["index.safetensors"] if ended.code == 0 else []))


def search(bundle: Path, case: Case) -> str | None:
    """Searched, and brought up to date: if that fails, the index is what it was."""
    problem = command("search", bundle, "red", "--index", case.file, "--threads", 1).problem
    changed = case.file.read_bytes()
    ended = command("embed", bundle, CELL, "-o", case.file, "--threads", 1)
    if ended.code == 0:
        ImageIndex.load(case.file)
    elif case.file.read_bytes() != changed:
        return f"exit code {ended.code}, and the index is another file"
    others = sorted({path.name for path in case.folder.iterdir()} - {case.name, "bank.safetensors"})
    return problem or ended.problem or (f"left behind: {others}" if others else None)


def use_bank(bundle: Path, case: Case) -> str | None:
    return command("classify", bundle, CELL, "--bank", case.file, "--threads", 1).problem


def use_table(bundle: Path, case: Case) -> str | None:
    if case.name == "labels.txt":
        return command("classify", bundle, CELL, "--labels-file", case.file, "--threads", 1).problem
    from nexus_edge.errors import NexusEdgeError
    from nexus_edge.pipeline.own_calibration import OwnCalibration

    try:
        OwnCalibration.read(case.file)
    except NexusEdgeError as error:
        return f"an error of several lines: {str(error)[:200]!r}" if "\n" in str(error) else None
    return None


def kinds(desk: Desk) -> list[Kind]:
    """Sound files of every kind, in folders below the desk's."""
    made, phi3, towers = desk.folder / "sound", desk.bundle("phi3-vision").root, desk.bundle("biomedclip").root
    images, recipes, index, tables = (made / name for name in ("images", "recipes", "index", "tables"))
    checkpoints = {name: made / name for name in ("phi3-vision", "biomedclip")}
    if not made.exists():
        for folder, family in zip(checkpoints.values(), ("phi3_v", "biomedclip"), strict=True):
            shutil.copytree(tiny_folder(family), folder, ignore=shutil.ignore_patterns("heldout", "*.md", "LICENSE"))
        write_images(images)
        write_tables(tables, IMAGE)
        recipes.mkdir()
        for file in sorted((Path(__file__).parents[2] / "export").rglob("*.toml")):
            shutil.copy(file, recipes / f"{file.parent.name}-{file.name}")
        index.mkdir()
        model = load_dual_encoder(towers)
        build_index(model, sorted(images.iterdir()), index / "index.safetensors")
        model.label_bank(["red", "green"]).save(index / "bank.safetensors")
    found = [
        *(Kind(f"checkpoint of {name}", at, _names(at), partial(plan, name), 900) for name, at in checkpoints.items()),
        Kind("recipe", recipes, _names(recipes), plan_recipe, 600),
        Kind("image", images, _names(images), partial(embed_image, towers), 1500),
        Kind("index", index, ("index.safetensors",), partial(search, towers), 400),
        Kind("label bank", index, ("bank.safetensors",), partial(use_bank, towers), 300),
        Kind("labels, calibration", tables, _names(tables), partial(use_table, towers), 300),
    ]  # fmt: skip
    for name, root, use in (("phi3-vision", phi3, ask), ("biomedclip", towers, classify)):
        for engine in ("onnx", "openvino"):
            others = ("manifest.json", *(file for file in _names(root) if file.startswith((engine, "processor"))))
            what, run = f"bundle of {name} in {engine}", partial(use, engine)
            found.append(Kind(what, root, others, partial(with_hashes, run), 250))
            found.append(Kind(f"{what}, hashes made to fit", root, others[1:], partial(vouched, run), 250))
    for name, whole in (("phi3-vision", 20), ("biomedclip", 40)):
        at, use = checkpoints[name], partial(export, name)
        found.append(Kind(f"checkpoint of {name}, exported", at, _names(at), use, whole))
    return found


@cache
def _towers(bundle: Path) -> DualEncoder:
    return load_dual_encoder(bundle, EngineOptions(threads=1))


def _names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()))


def _left(case: Case, *expected: str) -> str | None:
    others = sorted({path.name for path in case.scratch.iterdir()} - set(expected))
    return f"left behind: {others}" if others else None
