"""What an IR's .xml says about its .bin, checked before OpenVINO reads it.

OpenVINO trusts some of it: a constant that claims fewer values than it has bytes, or a variable without a name, ends
the process and not the call. What a graph computes is not checked: one whose wires lead elsewhere may still do that
while it runs, so a bundle of unknown origin is run like any other program of unknown origin. Source of the format:
OpenVINO's documentation, "IR format", version 11.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from nexus_edge.errors import BundleError

BITS = {
    "u1": 1,
    **dict.fromkeys(("u4", "i4"), 4),
    **dict.fromkeys(("u8", "i8", "boolean"), 8),
    **dict.fromkeys(("f16", "bf16", "u16", "i16"), 16),
    **dict.fromkeys(("f32", "u32", "i32"), 32),
    **dict.fromkeys(("f64", "u64", "i64"), 64),
}
"""Element type -> bits."""
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)  # at most 18 digits, so that OpenVINO's 64 bits hold it
_VARIABLES = ("ReadValue", "Assign")


@dataclass
class _Layer:
    """A layer of which all is read up to some place."""

    kind: str
    name: str
    complete: bool = False  # it has what its kind cannot be without


def check_graph(path: Path) -> None:
    """Check the .xml at `path` against the .bin beside it; takes about 20 ms per MB of the .xml.

    Raises:
        BundleError: a file is missing or unreadable, the .xml is none, or it says what cannot be about the .bin.
    """
    weights = path.with_suffix(".bin")
    try:
        text = path.read_bytes()
        with weights.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
    except OSError as error:
        raise BundleError(f"{error.filename}: cannot be read ({error.strerror}); export the bundle again") from error
    reader = _Reader(path, size)
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = reader.doctype
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise BundleError(f"{path}: is not XML ({error}); export the bundle again") from error


@dataclass
class _Reader:
    """Looks at each element of an .xml that describes `size` bytes of weights."""

    path: Path
    size: int
    layers: list[_Layer] = field(default_factory=list)  # those that enclose this place

    def doctype(self, *_: object) -> None:
        raise self._error("has a document type, which no graph has")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "layer":
            self.layers.append(_Layer(attributes.get("type", ""), attributes.get("name", "")))
        elif tag == "data" and self.layers:
            layer = self.layers[-1]
            if layer.kind == "Const":
                self._constant(attributes)
            layer.complete = layer.kind == "Const" or bool(attributes.get("variable_id"))

    def end(self, tag: str) -> None:
        if tag == "layer":
            if self.layers[-1].kind in ("Const", *_VARIABLES) and not self.layers[-1].complete:
                raise self._error("says neither where its values are nor which variable it is")
            self.layers.pop()

    def _constant(self, attributes: dict[str, str]) -> None:
        offset, size = (self._number(attributes.get(name, "")) for name in ("offset", "size"))
        bits = BITS.get(attributes.get("element_type", ""))
        if bits is None:
            raise self._error(f"has element type {attributes.get('element_type')!r}")
        shape = attributes.get("shape", "")
        values = 1
        for length in shape.split(",") if shape else []:
            values *= self._number(length.strip())
        if size != -(-values * bits // 8):
            raise self._error(f"has {size} bytes, its shape [{shape}] says otherwise")
        if offset + size > self.size:
            raise self._error(f"ends at byte {offset + size} of a .bin of {self.size}")

    def _number(self, text: str) -> int:
        if not _NUMBER.fullmatch(text):
            raise self._error(f"has {text!r} where a number belongs")
        return int(text)

    def _error(self, what: str) -> BundleError:
        where = f"layer {self.layers[-1].name!r} " if self.layers else ""
        return BundleError(f"{self.path}: {where}{what}; export the bundle again")
