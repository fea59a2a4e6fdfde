"""Whole slides in DICOM: one image that is stored as many tiles (PS3.3 C.7.6.17 and C.8.12.4)."""

import math
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.utils import iter_pixels

from nexus_edge.errors import ImageError
from nexus_edge.processing.images import check_size
from nexus_edge.processing.partial import warn_of_absent_tiles

WHITE = 255  # glass without tissue, in slides that leave such tiles out


def is_tiled(header: Dataset) -> bool:
    """Whether the frames are tiles of one larger image."""
    return "TotalPixelMatrixColumns" in header and "TotalPixelMatrixRows" in header


def assembled(file: BinaryIO, header: Dataset, name: str) -> NDArray[np.integer]:
    """All tiles in their places: [height, width(, 3)]; raises ImageError.

    Refused are slides of more than `MAX_PIXELS`, of several focal planes or optical paths, which lie on top of each
    other, and parts of a concatenation. Tiles of colour that a sparse slide leaves out are white, with a warning.
    """
    width, height = int(header.TotalPixelMatrixColumns), int(header.TotalPixelMatrixRows)
    if width * height > 0 and (header.get("InConcatenationTotalNumber") or 1) > 1:
        raise ImageError(f"{name} is one of {header.InConcatenationTotalNumber} files of a slide; join them first")
    check_size(width, height, name)
    planes, paths = header.get("TotalPixelMatrixFocalPlanes") or 1, header.get("NumberOfOpticalPaths") or 1
    places = _places(header, width, height, name)
    if planes > 1 or paths > 1 or len(set(places)) < len(places):
        raise ImageError(f"{name} has several focal planes or optical paths; save one of them as a slide of its own")
    whole: NDArray[np.integer] | None = None
    covered = 0
    file.seek(0)
    for (top, left), tile in zip(places, iter_pixels(file), strict=True):
        if whole is None:
            is_colour = tile.ndim == 3
            whole = np.full((height, width, *tile.shape[2:]), WHITE if is_colour else 0, tile.dtype)
        part = tile[: height - top, : width - left]
        whole[top : top + part.shape[0], left : left + part.shape[1]] = part
        covered += part.shape[0] * part.shape[1]
    if whole is None:
        raise ImageError(f"{name} is a slide without tiles; export it again")
    if covered < width * height:
        if whole.ndim == 2:
            raise ImageError(f"{name} is a grey slide with tiles left out, whose level it does not say; save it whole")
        warn_of_absent_tiles(1 - covered / (width * height), name)
    return whole


def _places(header: Dataset, width: int, height: int, name: str) -> list[tuple[int, int]]:
    """Top and left of each frame, from 0."""
    frames, rows, columns = int(header.get("NumberOfFrames") or 1), int(header.Rows), int(header.Columns)
    if rows < 1 or columns < 1:
        raise ImageError(f"{name} has tiles of {columns}x{rows}; export it again")
    groups = header.get("PerFrameFunctionalGroupsSequence") or []
    kind = header.get("DimensionOrganizationType")
    if kind != "TILED_FULL" and len(groups) == frames and all("PlanePositionSlideSequence" in item for item in groups):
        positions = [item.PlanePositionSlideSequence[0] for item in groups]
        places = [
            (int(item.RowPositionInTotalImagePixelMatrix) - 1, int(item.ColumnPositionInTotalImagePixelMatrix) - 1)
            for item in positions
        ]
        if not all(0 <= top < height and 0 <= left < width for top, left in places):
            raise ImageError(f"{name} has tiles outside of its {width}x{height} pixels; export it again")
        return places
    across, down = math.ceil(width / columns), math.ceil(height / rows)
    if frames != across * down:
        raise ImageError(
            f"{name} has {frames} tiles of {columns}x{rows} where {width}x{height} pixels need {across * down}, and "
            "does not say where they go; save one plane, whole"
        )
    return [(row * rows, column * columns) for row in range(down) for column in range(across)]
