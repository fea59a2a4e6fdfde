"""A bundle: a folder with named graphs, their weights, the processor's files, and a manifest that vouches for them.

`Bundle` opens one, `BundleWriter` makes one, `Manifest` is what manifest.json says.
"""

from nexus_edge.bundle.manifest import (
    FORMAT_VERSION,
    ComputeUnits,
    DualEncoderInfo,
    FileInfo,
    GraphInfo,
    Manifest,
    ProgramInfo,
    Role,
    TensorSpec,
)
from nexus_edge.bundle.reader import Bundle
from nexus_edge.bundle.source import Content, Source
from nexus_edge.bundle.weights import BundleWeights
from nexus_edge.bundle.writer import BundleWriter

__all__ = [
    "FORMAT_VERSION",
    "Bundle",
    "BundleWeights",
    "BundleWriter",
    "ComputeUnits",
    "Content",
    "DualEncoderInfo",
    "FileInfo",
    "GraphInfo",
    "Manifest",
    "ProgramInfo",
    "Role",
    "Source",
    "TensorSpec",
]
