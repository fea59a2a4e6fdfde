"""The hash by which a file knows the bundle that it is in."""

from dataclasses import replace

import pytest

from nexus_edge.bundle import FileInfo, GraphInfo, Manifest, Source
from nexus_edge.bundle.identity import identity

FILES = {"coreml/a.safetensors": FileInfo(1, "1" * 64), "processor/config.json": FileInfo(1, "2" * 64)}
PROGRAM = "coreml/a.mlpackage/Data/model.mlmodel"
MANIFEST = Manifest("biomedclip", "mine", "1", Source("a/b", "c", "real"), {"x": ("y",)}, ("coreml",), {}, 64, FILES)


def test_it_does_not_depend_on_what_is_written_later() -> None:
    later = {
        PROGRAM: FileInfo(3, "3" * 64),
        "coreml/processor/config.json": FileInfo(3, "4" * 64),
        "coreml/a.mlpackage/b.safetensors": FileInfo(3, "5" * 64),
        "onnx/a.safetensors": FileInfo(1, "6" * 64),
        "parity/report.json": FileInfo(1, "7" * 64),
    }
    graphs = {"coreml": {"a": GraphInfo(PROGRAM, (), (), "int8", "coreml/a.safetensors")}}
    whole = replace(MANIFEST, graphs=graphs, files=FILES | later, parity={"verdict": "passed"})
    assert identity(whole, "coreml") == identity(MANIFEST, "coreml")
    assert identity(Manifest.from_json(whole.to_json()), "coreml") == identity(MANIFEST, "coreml")


@pytest.mark.parametrize(
    "other",
    [
        replace(MANIFEST, name="yours"),
        replace(MANIFEST, source=Source("a/b", "d", "real")),
        replace(MANIFEST, source=Source("a/b", "c", "real", "mit")),
        replace(MANIFEST, recipe={"x": ("z",)}),
        replace(MANIFEST, context_length=65),
        *(replace(MANIFEST, files=FILES | {name: FileInfo(1, "8" * 64)}) for name in FILES),
    ],
)
def test_it_depends_on_what_the_packages_are_made_of(other: Manifest) -> None:
    assert identity(other, "coreml") != identity(MANIFEST, "coreml")
