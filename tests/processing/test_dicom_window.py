"""Stored values to grey levels, against the standard's own numbers and against pydicom's windowing."""

from typing import Any

import numpy as np
import pytest
from dicom_files import dataset, item, written
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from nexus_edge.errors import ImageError
from nexus_edge.processing.images import load_image

# Whole and half values on both sides of every edge of the windows below.
CT = np.arange(0, 4096, dtype=np.uint16).reshape(64, 64)
SIGNED = np.arange(-2048, 2048, dtype=np.int16).reshape(64, 64)


def grey(pixels: NDArray[Any], bits: int | None = None, **elements: Any) -> NDArray[np.uint8]:
    return np.asarray(load_image(written(dataset(pixels, bits, **elements))))[:, :, 0]


def line(*values: int, kind: type = np.int16) -> NDArray[Any]:
    return np.array([values], dtype=kind)


def words(*values: int) -> bytes:
    """The entries of a lookup table, as they stand in the file."""
    return np.array(values, "<u2").tobytes()


# PS3.3 C.11.2.1.2.1: x <= c - 0.5 - (w - 1) / 2 is black, x > c - 0.5 + (w - 1) / 2 white, between them
# ((x - (c - 0.5)) / (w - 1) + 0.5) of the range.
@pytest.mark.parametrize(
    ("centre", "width", "values", "expected"),
    [
        (2048, 4096, (0, 1, 2047, 2048, 4095), (0, 0, 127, 128, 255)),  # the standard's note: 12 bits, whole
        (2048, 1, (2047, 2048), (0, 255)),  # the standard's note: a threshold
        (0, 100, (-51, -50, 0, 49, 50), (0, 0, 129, 255, 255)),  # -50 is black, 49 white; 0: (0.5 / 99 + 0.5) * 255
        (0, 2, (-1, 0, 1), (0, 255, 255)),
    ],
)
def test_linear_windows_of_the_standard(
    centre: int, width: int, values: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    assert grey(line(*values), WindowCenter=centre, WindowWidth=width).tolist() == [list(expected)]


def test_exact_linear_window() -> None:
    # PS3.3 C.11.2.1.3.2: (x - c) / w + 0.5, so that 0 of a window around 0 is exactly half of 255.
    levels = grey(line(-50, -25, 25, 50), WindowCenter=0, WindowWidth=100, VOILUTFunction="LINEAR_EXACT")
    assert levels.tolist() == [[0, 64, 191, 255]]  # 63.75 and 191.25, rounded


def test_sigmoid_window() -> None:
    # PS3.3 C.11.2.1.3.1: 1 / (1 + exp(-4 (x - c) / w)); at c - w/4 and c + w/4 that is 0.2689 and 0.7311 of 255.
    levels = grey(line(-32000, -25, 25, 32000), WindowCenter=0, WindowWidth=100, VOILUTFunction="SIGMOID")
    assert levels.tolist() == [[0, 69, 186, 255]]


@pytest.mark.filterwarnings("ignore:overflow encountered in exp")  # in pydicom's sigmoid
@settings(max_examples=60, deadline=None)
@given(
    centre=st.integers(-3000, 5000).map(lambda value: value / 2),
    width=st.integers(1, 9000).map(lambda value: value / 2 + 1),
    function=st.sampled_from([None, "LINEAR", "LINEAR_EXACT", "SIGMOID"]),
    slope=st.sampled_from(["1", "0.5", "2.25", "-1"]),
    intercept=st.sampled_from(["0", "-1024", "17.5"]),
    signed=st.booleans(),
)
def test_windows_are_pydicoms(
    centre: float, width: float, function: str | None, slope: str, intercept: str, signed: bool
) -> None:
    elements = {"WindowCenter": centre, "WindowWidth": width, "RescaleSlope": slope, "RescaleIntercept": intercept}
    if function:
        elements["VOILUTFunction"] = function
    pixels = SIGNED if signed else CT
    made = dataset(pixels, 12, **elements)
    shown = apply_voi_lut(apply_modality_lut(pixels, made), made)
    ends = np.array([-2048, 2047] if signed else [0, 4095]) * float(slope) + float(intercept)  # pydicom's output range
    expected = (shown - ends[0]) / (ends[1] - ends[0]) * 255
    # Half a level is the rounding to 8 bits; the rest is float64's.
    assert np.abs(grey(pixels, 12, **elements) - expected).max() <= 0.5 + 1e-6


def test_without_a_window_the_pixels_span_black_to_white() -> None:
    assert grey(line(-100, 0, 100)).tolist() == [[0, 128, 255]]
    assert grey(line(1000, 3000, kind=np.uint16), 12).tolist() == [[0, 255]]
    with pytest.raises(ImageError, match="one value in all its pixels and no window"):
        grey(line(7, 7))  # nothing to span


@pytest.mark.parametrize("empty", [{"WindowCenter": None, "WindowWidth": None}, {"WindowCenter": 5}])
def test_an_empty_or_half_window_is_none(empty: dict[str, Any]) -> None:
    assert grey(line(-100, 0, 100), **empty).tolist() == [[0, 128, 255]]


def test_of_several_windows_the_first_is_taken() -> None:
    several = grey(CT, 12, WindowCenter=[40, 2000], WindowWidth=[400, 3000])
    assert np.array_equal(several, grey(CT, 12, WindowCenter=40, WindowWidth=400))


def test_monochrome1_is_inverted() -> None:
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    upside_down = grey(CT, 12, **window, PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(upside_down, 255 - grey(CT, 12, **window))


def test_bits_above_those_stored_are_no_grey() -> None:
    overlay = CT | np.uint16(0x8000)
    assert np.array_equal(grey(overlay, 12), grey(CT, 12))
    negative = (SIGNED.view(np.uint16) & np.uint16(0x0FFF)).view(np.int16)  # 12 bits without their sign extended
    assert np.array_equal(grey(negative, 12), grey(SIGNED, 12))


def test_voi_lut_goes_before_the_window() -> None:
    table = item(LUTDescriptor=[4, 10, 8], LUTData=words(5, 250, 100, 200))
    elements = {"VOILUTSequence": [table], "WindowCenter": 0, "WindowWidth": 5}
    assert grey(line(0, 10, 11, 12, 13, 99, kind=np.uint16), **elements).tolist() == [[5, 5, 250, 100, 200, 200]]


def test_voi_lut_of_more_bits_is_scaled_to_8() -> None:
    table = item(LUTDescriptor=[3, 0, 12], LUTData=words(0, 2048, 4095))
    assert grey(line(0, 1, 2, kind=np.uint16), VOILUTSequence=[table]).tolist() == [[0, 128, 255]]


def test_modality_lut_comes_before_the_window() -> None:
    table = item(LUTDescriptor=[3, 100, 16], LUTData=words(0, 1000, 4095), ModalityLUTType="HU")
    elements = {"ModalityLUTSequence": [table], "WindowCenter": 2048, "WindowWidth": 4096}
    assert grey(line(100, 101, 102, kind=np.uint16), **elements).tolist() == [[0, 62, 255]]  # 1000 / 4095 * 255


@pytest.mark.parametrize(
    ("centre", "width", "function"),
    [(0, 0.5, "LINEAR"), (0, -5, "LINEAR"), (0, 0, "LINEAR_EXACT"), (0, 0, "SIGMOID"), ("1e400", 5, "LINEAR")],
)
def test_a_window_without_width_is_refused(centre: object, width: object, function: str) -> None:
    with pytest.raises(ImageError, match="shows nothing"):
        grey(CT, 12, WindowCenter=centre, WindowWidth=width, VOILUTFunction=function)
