"""8-bit pixels to the normalised floats that a vision encoder reads."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nexus_edge.configs.values import MOST_NUMBER
from nexus_edge.errors import CheckpointError

Rgb = tuple[float, float, float]

CLIP_MEAN: Rgb = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Rgb = (0.26862954, 0.26130258, 0.27577711)


def normalisation_table(mean: Rgb, std: Rgb) -> NDArray[np.float32]:
    """[3, 256]: each 8-bit value, scaled to 0..1 and normalised, in the originals' order and in float32 throughout.

    A value has only 256 outcomes, so the table gives the same bits as the arithmetic on every pixel would.
    """
    scaled = np.arange(256, dtype=np.float32) / np.float32(255)
    return (scaled - np.array(mean, dtype=np.float32)[:, None]) / np.array(std, dtype=np.float32)[:, None]


def without_normalisation(pixels: NDArray[np.float32], table: NDArray[np.float32]) -> NDArray[np.uint8] | None:
    """The 8-bit values that `normalisation_table` made these of: [..., 3, height, width] in and out.

    None where a number is none of the table's; that of another order of the arithmetic still is.
    """
    values = np.empty(pixels.shape, np.uint8)
    for channel, outcomes in enumerate(table):
        step = outcomes[1] - outcomes[0]
        plane = pixels[..., channel, :, :]
        nearest = np.clip(np.rint((plane - outcomes[0]) / step), 0, 255).astype(np.uint8)
        if np.abs(outcomes[nearest] - plane).max(initial=0) > step / 10:
            return None
        values[..., channel, :, :] = nearest
    return values


def read_mean_std(config: Mapping[str, Any], keys: tuple[str, str], source: str) -> tuple[Rgb, Rgb]:
    """Mean and deviation of RGB in 0..1 under these keys of a JSON file, by default CLIP's; raises CheckpointError."""
    mean = _rgb(config.get(keys[0], CLIP_MEAN), keys[0], source)
    std = _rgb(config.get(keys[1], CLIP_STD), keys[1], source)
    if min(std) <= 0:
        raise CheckpointError(f"{source}: {keys[1]} is {list(std)}; it must be above 0")
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        is_finite = bool(np.isfinite(normalisation_table(mean, std)).all())
    if not is_finite:
        raise CheckpointError(
            f"{source}: {keys[0]} {list(mean)} and {keys[1]} {list(std)} make pixels that are not finite in float32"
        )
    return mean, std


def _rgb(value: Any, key: str, source: str) -> Rgb:
    """Three numbers that float32 holds; raises CheckpointError."""
    numbers = value if isinstance(value, list | tuple) else ()
    if len(numbers) != 3 or not all(type(number) in (int, float) and abs(number) <= MOST_NUMBER for number in numbers):
        raise CheckpointError(f"{source}: {key} is {value!r:.80}; it must be three numbers, for red, green and blue")
    return (float(numbers[0]), float(numbers[1]), float(numbers[2]))
