"""Pillow's resize by its definition, in numpy, and the recorded vectors that are made with it.

The definition (Pillow, docs/handbook/concepts "Filters", and src/libImaging/Resample.c): each output pixel is a
weighted sum of the input pixels below the filter, which is stretched by the scale where the image shrinks. Weights are
normalised in float64 and rounded to 22 fractional bits; sums start from one half and are cut to 8 bits after each axis.

`python tests/processing/resize_by_definition.py` writes runtimes/vectors/resize.json again.
"""

import base64
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

VECTORS = Path(__file__).parents[2] / "runtimes" / "vectors" / "resize.json"
FRACTION = 22


def triangle(x: float) -> float:
    return max(0.0, 1 - abs(x))


def cubic(x: float, a: float = -0.5) -> float:
    x = abs(x)
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else 0.0


FILTERS: dict[str, tuple[Callable[[float], float], float]] = {"bilinear": (triangle, 1.0), "bicubic": (cubic, 2.0)}


def along_first_axis(values: NDArray[np.uint8], size: int, name: str) -> NDArray[np.uint8]:
    """`values` [n, ...] as [size, ...]."""
    if size == len(values):
        return values
    kernel, support = FILTERS[name]
    scale = len(values) / size
    stretch = max(scale, 1.0)
    rows = []
    for index in range(size):
        centre = (index + 0.5) * scale
        first = max(int(centre - support * stretch + 0.5), 0)
        end = min(int(centre + support * stretch + 0.5), len(values))
        weights = [kernel((place - centre + 0.5) / stretch) for place in range(first, end)]
        total = math.fsum(weights)
        fixed = [int(math.copysign(0.5, weight) + weight / total * 2**FRACTION) for weight in weights]
        taps = values[first:end].astype(np.int64)
        sums = np.tensordot(np.array(fixed, np.int64), taps, axes=1) + 2 ** (FRACTION - 1)
        rows.append(np.clip(sums >> FRACTION, 0, 255).astype(np.uint8))
    return np.stack(rows)


def resized(image: NDArray[np.uint8], width: int, height: int, name: str) -> NDArray[np.uint8]:
    """`image` [height, width, channels], rows first and then columns."""
    wide = along_first_axis(image.swapaxes(0, 1), width, name).swapaxes(0, 1)
    return along_first_axis(wide, height, name)


# Width, height, new width, new height: smaller and larger, both ways at once, far and near, one axis alone, one pixel.
SIZES = [
    (16, 9, 7, 5), (9, 16, 5, 7), (5, 7, 16, 9), (7, 20, 19, 6), (20, 7, 6, 19), (31, 3, 4, 12), (3, 31, 12, 4),
    (12, 12, 11, 13), (12, 8, 12, 5), (12, 8, 5, 8), (1, 1, 3, 2), (24, 1, 5, 4), (1, 24, 4, 5),
]  # fmt: skip


def main() -> None:
    """Writes the vectors."""
    draw = np.random.default_rng(20)
    cases = []
    for name in FILTERS:
        for width, height, new_width, new_height in SIZES:
            # Noise rounds everywhere; levels of 0 and 255 alone make bicubic overshoot.
            image = draw.integers(0, 256, (height, width, 3), dtype=np.uint8)
            image[:, : width // 2] = np.where(image[:, : width // 2] < 128, 0, 255)
            cases.append(
                {
                    "filter": name,
                    "width": width,
                    "height": height,
                    "rgb": base64.b64encode(image.tobytes()).decode(),
                    "new_width": new_width,
                    "new_height": new_height,
                    "new_rgb": base64.b64encode(resized(image, new_width, new_height, name).tobytes()).decode(),
                }
            )
    VECTORS.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
