"""DICOM files: what is decoded, what is refused, and that damage never gets past an ImageError."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import dataset, item, written
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from nexus_edge.errors import ImageError
from nexus_edge.models.biomedclip.processing import BiomedClipProcessor
from nexus_edge.processing.images import load_image
from nexus_edge.processing.partial import PartialImageWarning

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
FULL = {"WindowCenter": 128, "WindowWidth": 256}  # 8 bits: each value is its own grey (PS3.3 C.11.2.1.2.1, note)


def grey(file: bytes) -> np.ndarray:
    loaded = np.asarray(load_image(file))
    assert (loaded == loaded[:, :, :1]).all()
    return loaded[:, :, 0]


def test_it_is_told_by_its_content_or_its_ending(tmp_path: Path) -> None:
    content = written(dataset(RAMP, **FULL))
    for name in ("scan.dcm", "SCAN.DCM", "scan", "scan.png"):
        (tmp_path / name).write_bytes(content)
        assert np.array_equal(np.asarray(load_image(tmp_path / name))[:, :, 0], RAMP)
    assert np.array_equal(grey(content), RAMP)


def test_content_goes_before_the_ending_and_what_has_neither_is_told_what_it_lacks(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "photo.png")
    (tmp_path / "photo.png").rename(tmp_path / "photo.dcm")
    assert np.array_equal(grey((tmp_path / "photo.dcm").read_bytes()), RAMP)
    (tmp_path / "photo.dcm").write_bytes(bytes(200))
    with pytest.raises(ImageError, match=r"photo\.dcm ends like a DICOM file but has no DICM at byte 128"):
        load_image(tmp_path / "photo.dcm")


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian], ids=lambda syntax: syntax.name)
def test_other_encodings_of_the_same_values(syntax: Any) -> None:
    values = (np.arange(256, dtype=np.uint16) * 256).reshape(16, 16)
    made = dataset(values, WindowCenter=32768, WindowWidth=65536)
    if syntax is ExplicitVRBigEndian:
        made.PixelData = values.astype(">u2").tobytes()
    assert np.array_equal(grey(written(made, syntax)), np.rint(values / 65535 * 255))


def test_lossless_compression_that_pydicom_knows() -> None:
    made = dataset(RAMP, **FULL)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.compress(RLELossless)
    assert np.array_equal(grey(written(made, RLELossless)), RAMP)


def test_jpeg_inside_dicom_is_what_pillow_decodes() -> None:
    photo = io.BytesIO()
    Image.fromarray(np.tile(RAMP, (4, 4))).save(photo, "JPEG", quality=90)
    made = dataset(np.tile(RAMP, (4, 4)), **FULL)
    made.PixelData = encapsulate([photo.getvalue()])
    made["PixelData"].is_undefined_length = True
    assert np.array_equal(grey(written(made, JPEGBaseline8Bit)), np.asarray(Image.open(photo)))


def test_compression_that_nothing_here_decodes_is_named() -> None:
    made = dataset(RAMP, **FULL, PixelData=encapsulate([b"never looked at"]))
    made["PixelData"].is_undefined_length = True
    content = written(made, JPEGLSLossless)
    with pytest.raises(ImageError, match=r"compressed as JPEG-LS Lossless.*not decoded here; save it uncompressed"):
        load_image(content)


def test_an_unknown_compression_is_refused() -> None:
    with pytest.raises(ImageError, match="UID is not a transfer syntax"):
        load_image(
            written(dataset(RAMP), ImplicitVRLittleEndian).replace(
                b"1.2.840.10008.1.2\0", b"1.2.3.4.5\0\0\0\0\0\0\0\0\0"
            )
        )


def test_a_deflated_file_is_refused_before_it_is_unpacked() -> None:
    content = written(dataset(np.zeros((512, 512), np.uint8)), DeflatedExplicitVRLittleEndian)
    with pytest.raises(ImageError, match="deflated"):
        load_image(content)


def test_colour_is_kept() -> None:
    colours = np.random.default_rng(5).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(load_image(written(dataset(colours)))), colours)
    planes = dataset(
        colours, PlanarConfiguration=1, PixelData=np.ascontiguousarray(colours.transpose(2, 0, 1)).tobytes()
    )
    assert np.array_equal(np.asarray(load_image(written(planes))), colours)


def test_ycbcr_becomes_rgb() -> None:
    made = dataset(np.full((4, 4, 3), (76, 85, 255), np.uint8), PhotometricInterpretation="YBR_FULL")
    red, green, blue = np.asarray(load_image(written(made)))[0, 0].astype(int)
    assert red >= 253 and green <= 2 and blue <= 2  # Y 76, Cb 85, Cr 255 is pure red, up to its own rounding


def test_a_palette_gives_its_colours() -> None:
    tables = {name: np.arange(256, dtype=np.uint16)[::step] * 256 for name, step in (("Red", 1), ("Green", -1))}
    made = dataset(RAMP, PhotometricInterpretation="PALETTE COLOR")
    for name, table in {**tables, "Blue": np.zeros(256, np.uint16)}.items():
        setattr(made, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(made, f"{name}PaletteColorLookupTableData", table.tobytes())
    expected = np.dstack([RAMP, 255 - RAMP, np.zeros_like(RAMP)])
    assert np.array_equal(np.asarray(load_image(written(made))), expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"RedPaletteColorLookupTableData": b"\0\0" * 10}, "palette of 256 colours and 20 bytes of red"),
        ({"GreenPaletteColorLookupTableDescriptor": [206, 0, 16]}, "palette of 206 colours and 512 bytes of green"),
        ({"BluePaletteColorLookupTableDescriptor": [256, 0, 12]}, "palette of 12 bits, and 8 or 16 are known"),
        ({"BluePaletteColorLookupTableData": None}, "palette without blue"),
    ],
)
def test_a_palette_that_is_odd_is_said_to_be(changes: dict[str, Any], message: str) -> None:
    made = dataset(RAMP, PhotometricInterpretation="PALETTE COLOR")
    for name in ("Red", "Green", "Blue"):
        setattr(made, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(made, f"{name}PaletteColorLookupTableData", (np.arange(256, dtype=np.uint16) * 257).tobytes())
    for key, value in changes.items():
        setattr(made, key, value)
    with pytest.raises(ImageError, match=message):
        load_image(written(made))


def test_frames_that_are_told_of_and_absent_are_missed() -> None:
    with pytest.raises(ImageError, match="image is truncated: its header tells of 80 rows, its pixels are 16"):
        load_image(written(dataset(RAMP, **FULL, NumberOfFrames=5)))


def test_of_several_frames_the_first_is_taken() -> None:
    frames = np.stack([RAMP, 255 - RAMP, RAMP * 0])
    made = dataset(RAMP, **FULL, NumberOfFrames=3, PixelData=frames.tobytes())
    with pytest.warns(PartialImageWarning, match="image has 3 frames; the first is read"):
        assert np.array_equal(grey(written(made)), RAMP)


@pytest.mark.filterwarnings("ignore::nexus_edge.processing.partial.PartialImageWarning")  # of two frames the first
def test_an_enhanced_file_keeps_its_window_in_functional_groups() -> None:
    stored = np.arange(0, 4096, 16, dtype=np.uint16).reshape(16, 16)
    shared = item(PixelValueTransformationSequence=[item(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU")])
    frame = item(FrameVOILUTSequence=[item(WindowCenter=40, WindowWidth=400)])
    other = item(FrameVOILUTSequence=[item(WindowCenter=-600, WindowWidth=1500)])
    made = dataset(stored, 12, NumberOfFrames=2, PixelData=stored.tobytes() * 2)
    made.SharedFunctionalGroupsSequence, made.PerFrameFunctionalGroupsSequence = [shared], [frame, other]
    flat = dataset(stored, 12, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=40, WindowWidth=400)
    assert np.array_equal(grey(written(made)), grey(written(flat)))
    assert len(np.unique(grey(written(flat)))) > 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"PhotometricInterpretation": "CMYK"}, "colours of the kind 'CMYK' are not known"),
        ({"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31, "Rows": 8, "Columns": 8}, "at most 16 whole bits"),
        ({"Rows": 65535, "Columns": 65535}, "65535x65535 is more than"),
        ({"Rows": 17}, "is truncated: its header tells of 17 rows, its pixels are 16"),
        ({"WindowCenter": 40, "WindowWidth": 0}, "width 0 shows nothing"),
        ({**FULL, "VOILUTFunction": "CUBIC"}, "function 'CUBIC' is not in the standard"),
        ({"RescaleSlope": "1e400", "RescaleIntercept": 0}, "slope or intercept is not a number"),
    ],
)
def test_what_cannot_be_shown_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ImageError, match=message) as caught:
        load_image(written(dataset(RAMP, **change)), "scan.dcm")
    assert str(caught.value).startswith("scan.dcm") and "\n" not in str(caught.value)


def test_a_file_without_an_image_is_refused() -> None:
    made = dataset(RAMP)
    del made.Rows
    with pytest.raises(ImageError, match="a DICOM file without an image; leave out reports"):
        load_image(written(made))
    made = dataset(RAMP)
    del made.PixelData
    with pytest.raises(ImageError, match=r"cannot be read as DICOM.*no pixel data"):
        load_image(written(made))


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, about values that the cut made invalid
def test_no_cut_of_a_file_gets_past_an_image_error() -> None:
    content = written(dataset(RAMP, **FULL))
    for length in range(132, len(content) - 1, 7):
        with pytest.raises(ImageError):
            load_image(content[:length])


def test_without_pydicom_the_extra_is_named(tmp_path: Path) -> None:
    path = tmp_path / "scan"
    path.write_bytes(written(dataset(RAMP)))
    code = (
        "import sys; sys.modules['pydicom'] = None\n"
        "from nexus_edge.errors import MissingExtraError\n"
        "from nexus_edge.processing.images import load_image\n"
        "try: load_image(sys.argv[1])\n"
        "except MissingExtraError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{path} is a DICOM file, which needs pydicom: pip install 'nexus-edge[dicom]'"


def test_the_image_tower_gets_what_a_viewer_shows(dual_checkpoint: Path, tmp_path: Path) -> None:
    stored = np.random.default_rng(6).integers(0, 4096, (61, 47), dtype=np.uint16)
    path = tmp_path / "scan.dcm"
    path.write_bytes(written(dataset(stored, 12, WindowCenter=2048, WindowWidth=4096)))
    shown = Image.fromarray(np.rint(stored / 4095 * 255).astype(np.uint8))
    processor = BiomedClipProcessor.from_folder(dual_checkpoint)
    assert np.array_equal(processor.images([path]), processor.images([shown]))
