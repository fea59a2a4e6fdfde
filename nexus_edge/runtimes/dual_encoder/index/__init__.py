"""An index of images: their embeddings in a file, searched with a text or an image.

image_index.py    `ImageIndex`: the index
file.py             what is in the file
build.py            makes or updates an index; journal.py keeps what an interrupted run has done
folders.py          the images that people mean by files and folders
sheet.py            hits as one image, to look at
"""

from nexus_edge.runtimes.dual_encoder.index.build import Built, Skipped, build_index
from nexus_edge.runtimes.dual_encoder.index.file import INDEX
from nexus_edge.runtimes.dual_encoder.index.folders import Found, LeftOut, find_images, scan
from nexus_edge.runtimes.dual_encoder.index.image_index import Hit, ImageIndex, Stamp

__all__ = [
    "INDEX",
    "Built",
    "Found",
    "Hit",
    "ImageIndex",
    "LeftOut",
    "Skipped",
    "Stamp",
    "build_index",
    "find_images",
    "scan",
]
