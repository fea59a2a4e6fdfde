"""Stored DICOM values to grey levels: modality LUT, then VOI LUT or window (PS3.3 C.11.1 and C.11.2)."""

import math

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_modality_lut, apply_voi

from nexus_edge.errors import ImageError


def grey_levels(pixels: NDArray[np.integer], bits: int, header: Dataset, name: str) -> NDArray[np.uint8]:
    """`pixels` [height, width], of which `bits` bits are used, as uint8 of the same shape; raises ImageError.

    There are at most 65,536 stored values, so the arithmetic is done once for each and looked up for each pixel.
    """
    below = max(int(header.get("HighBit", bits - 1)) + 1 - bits, 0)  # other bits than the highest: older files
    index = (pixels.astype(np.uint16) >> below) & np.uint16(2**bits - 1)  # hold overlays there
    stored = np.arange(2**bits)
    if header.PixelRepresentation == 1:
        stored[2 ** (bits - 1) :] -= 2**bits  # two's complement
    is_padding = _padding(stored, header)
    with np.errstate(invalid="ignore", over="ignore"):  # the next line says it better
        values = np.asarray(apply_modality_lut(stored, header), dtype=np.float64)
    if not np.isfinite(values).all():
        raise ImageError(f"{name}: its rescale slope or intercept is not a number; export it from its archive again")
    centre, width = _first(header.get("WindowCenter")), _first(header.get("WindowWidth"))
    if header.get("VOILUTSequence"):
        table = _voi_table(values, header)
    elif centre is not None and width is not None:
        table = _window(values, centre, width, str(header.get("VOILUTFunction") or "LINEAR").upper(), name)
    elif bits <= 8 and np.array_equal(values, np.arange(2**bits)):
        table = values / (2**bits - 1)
    else:
        used = values[(np.bincount(index.ravel(), minlength=len(values)) > 0) & ~is_padding]
        if not len(used) or np.ptp(used) == 0:
            raise ImageError(
                f"{name} has one value in all its pixels and no window to say how bright it is; leave it out"
            )
        table = (values - used.min()) / float(np.ptp(used))
    levels: NDArray[np.uint8] = np.rint(table.clip(0, 1) * 255).astype(np.uint8)
    if header.PhotometricInterpretation == "MONOCHROME1" or header.get("PresentationLUTShape") == "INVERSE":
        levels = 255 - levels
    levels[is_padding] = 0
    return levels[index]


def _padding(stored: NDArray[np.integer], header: Dataset) -> NDArray[np.bool_]:
    """Which stored values are background (PS3.3 C.7.5.1.1.2): one, or all between two."""
    ends = [_first(header.get(key)) for key in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    given = [end for end in ends if end is not None]
    if ends[0] is None:
        return np.zeros(len(stored), np.bool_)
    found: NDArray[np.bool_] = (stored >= min(given)) & (stored <= max(given))
    return found


def _first(value: object) -> float | None:
    """A number that may have alternatives after it (the first is the default view), or may be absent or empty."""
    if isinstance(value, MultiValue):
        value = value[0] if value else None
    return None if value in (None, "") else float(str(value))


def _voi_table(values: NDArray[np.float64], header: Dataset) -> NDArray[np.float64]:
    """The first VOI LUT, its output scaled to 0..1."""
    bits = int(header.VOILUTSequence[0].LUTDescriptor[2])
    return apply_voi(np.rint(values).astype(np.int64), header) / (2**bits - 1)


def _window(values: NDArray[np.float64], centre: float, width: float, function: str, name: str) -> NDArray[np.float64]:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3, scaled to 0..1; what lies outside is cut off by the caller."""
    least = 1 if function == "LINEAR" else 0
    if not (math.isfinite(centre) and math.isfinite(width) and width >= least and width > 0):
        raise ImageError(f"{name}: a window of centre {centre:g} and width {width:g} shows nothing; correct its header")
    if function == "SIGMOID":
        with np.errstate(over="ignore"):  # far below the window: exp is infinite and the result 0
            return 1 / (1 + np.exp(-4 * (values - centre) / width))
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
        if width == 0:
            return (values > centre).astype(np.float64)
    elif function != "LINEAR_EXACT":
        raise ImageError(f"{name}: VOI LUT function {function!r:.40} is not in the standard; correct its header")
    return (values - centre) / width + 0.5
