"""Finished steps of a soak as lines of JSON. A run goes on from them if nothing that they depend on has changed."""

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import nexus_edge
from nexus_edge.runtimes.machine import machine

from .desk import Row

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Header:
    """What the rows of a record depend on."""

    machine: str
    code: str
    seed: int
    scale: float


def header(seed: int, scale: float) -> Header:
    """That of a run which starts now. `code` is the version, and a hash of every Python file that takes part."""
    digest = hashlib.sha256()
    for folder in (ROOT / "nexus_edge", Path(__file__).parent):
        for file in sorted(folder.rglob("*.py")):
            digest.update(file.read_bytes())
    return Header(machine(), f"nexus-edge {nexus_edge.__version__} ({digest.hexdigest()[:8]})", seed, scale)


class Record:
    """The file with the header and the rows, and bundles beside it; what has another header is begun anew."""

    def __init__(self, path: Path, header: Header) -> None:
        self.path, self.header, self.bundles = path, header, path.parent / "bundles"
        self.rows: dict[str, Row] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        if lines and json.loads(lines[0]) == asdict(header):
            for line in lines[1:]:
                value = json.loads(line)
                value["row"]["wrong"] = tuple(value["row"]["wrong"])
                self.rows[value["step"]] = Row(**value["row"])
        else:
            shutil.rmtree(self.bundles, ignore_errors=True)
            path.write_text(json.dumps(asdict(header)) + "\n", "utf-8")

    def add(self, step: str, row: Row) -> None:
        """Append a row, which is on the disk when this returns."""
        self.rows[step] = row
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "row": asdict(row)}) + "\n")
