"""Writes the image files beside it with writers that share no code with us, and manifest.json with what they hold.

Needs, in an environment of its own: tifffile, imagecodecs, opencv-python-headless, pydicom, numpy; and the commands
convert (ImageMagick 6), tiffcp (libtiff), pnmtopng and pnmtotiff (netpbm). Run: python make.py

`expected` is the known array that was written, as levels of 0 to 255 by the rule that its format states (`levels`
below), or what an independent reader (tifffile, OpenCV) makes of the file, as `by` says; `within` is how many levels
the way of the samples allows. `refused` is part of the message where a file does not say what its samples mean.
"""

import base64
import json
import shutil
import subprocess
import zlib
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pydicom
import tifffile
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

HERE = Path(__file__).parent
WIDTH, HEIGHT = 12, 10
RAMP = np.linspace(0, 1, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH)  # dark at the top, so that inverted or turned shows
COLOUR = np.dstack([RAMP, RAMP[:, ::-1], np.full_like(RAMP, 0.25)])
Array = np.ndarray
manifest: dict[str, dict[str, Any]] = {}


def of_bits(bits: int, shares: Array = RAMP) -> Array:
    """Whole numbers of this many bits."""
    return np.rint(shares * (2**bits - 1)).astype(np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32)


def levels(shares: Array) -> Array:
    return np.rint(shares * 255).astype(np.uint8)


def rgb(grey: Array) -> Array:
    return np.repeat(grey[:, :, None], 3, axis=2) if grey.ndim == 2 else grey[:, :, :3]


def note(name: str, by: str, expected: Array | None = None, within: int = 1, refused: str | None = None) -> None:
    entry: dict[str, Any] = {"by": by}
    if refused is not None:
        entry["refused"] = refused
    else:
        assert expected is not None
        values = rgb(expected).astype(np.uint8)
        entry |= {"size": [values.shape[1], values.shape[0]], "within": within}
        entry["expected"] = base64.b64encode(values.tobytes()).decode()
    manifest[name] = entry


def tiff(name: str, values: Array, expected: Array | None = None, refused: str | None = None, within: int = 1,
         **options: Any) -> None:  # fmt: skip
    tifffile.imwrite(HERE / name, values, metadata=None, software="", **options)
    note(name, "tifffile", expected, within, refused)


def tiffs() -> None:
    grey, inverse, colour = levels(RAMP), levels(1 - RAMP), levels(COLOUR)
    black = {"photometric": "minisblack"}
    white = {"photometric": "miniswhite"}
    tiff("tf_u8.tif", of_bits(8), grey, **black)
    tiff("tf_u8_white.tif", of_bits(8), inverse, **white)
    tiff("tf_u16.tif", of_bits(16), grey, **black)
    tiff("tf_u16_be.tif", of_bits(16), grey, byteorder=">", **black)
    tiff("tf_u16_white.tif", of_bits(16), inverse, **white)
    tiff("tf_u16_white_deflate.tif", of_bits(16), inverse, compression="zlib", predictor=2, **white)
    tiff("tf_u16_white_be.tif", of_bits(16), refused="not read here", byteorder=">", **white)
    tiff("tf_u16_tiles.tif", np.tile(of_bits(16), (4, 4)), np.tile(grey, (4, 4)), tile=(16, 16), **black)
    tiff("tf_u16_lzw.tif", of_bits(16), grey, compression="lzw", **black)
    tiff("tf_12_in_16.tif", of_bits(12), refused="its values end at 4095 of 65535", **black)
    tiff("tf_10_in_16.tif", of_bits(10), refused="its values end at 1023 of 65535", **black)
    tiff("tf_12_in_16_said.tif", of_bits(12), grey, **black,
         extratags=[(340, "H", 1, 0, True), (341, "H", 1, 4095, True)])  # fmt: skip
    tiff("tf_u32.tif", of_bits(32), grey, **black)
    tiff("tf_u32_levels.tif", of_bits(8).astype(np.uint32), grey, **black)
    tiff("tf_i8.tif", (of_bits(8) // 2).astype(np.int8), refused="signed samples of 8 bits", **black)
    tiff("tf_i16_negative.tif", (of_bits(16).astype(np.int32) - 32768).astype(np.int16), refused="no known range",
         **black)  # fmt: skip
    tiff("tf_i16_said.tif", (of_bits(10).astype(np.int16) - 500), grey, **black,
         extratags=[(340, "h", 1, -500, True), (341, "h", 1, 523, True)])  # fmt: skip
    tiff("tf_f32.tif", RAMP.astype(np.float32), grey, **black)
    tiff("tf_f32_255.tif", (RAMP * 255).astype(np.float32), grey, **black)
    tiff("tf_f32_deflate.tif", RAMP.astype(np.float32), grey, compression="zlib", predictor=3, **black)
    tiff("tf_f32_deflate_be.tif", RAMP.astype(np.float32), refused="big-endian fractions", compression="zlib",
         predictor=3, byteorder=">", **black)  # fmt: skip
    tiff("tf_f32_dim.tif", (RAMP * 0.1).astype(np.float32), refused="values end at 0.1 of 1", **black)
    tiff("tf_f32_over.tif", (RAMP * 1.02).astype(np.float32), refused="values end at 1.02 of 255", **black)
    tiff("tf_f32_negative.tif", (RAMP - 0.5).astype(np.float32), refused="no known range", **black)
    tiff("tf_f32_nan.tif", np.where(RAMP > 0.9, np.nan, RAMP).astype(np.float32), refused="no known range", **black)
    tiff("tf_f32_said.tif", (RAMP * 7 - 3).astype(np.float32), grey, **black,
         extratags=[(340, "f", 1, -3.0, True), (341, "f", 1, 4.0, True)])  # fmt: skip
    tiff("tf_f32_white.tif", RAMP.astype(np.float32), refused="0 is white", **white)
    tiff("tf_f64.tif", RAMP, refused="not read here", **black)
    tiff("tf_bool.tif", RAMP > 0.5, levels((RAMP > 0.5).astype(float)), **black)
    tiff("tf_rgb16.tif", of_bits(16, COLOUR), colour, photometric="rgb")
    tiff("tf_rgb16_12.tif", of_bits(12, COLOUR), refused="of 65535, nearly black", photometric="rgb")
    tiff("tf_rgb8_planes.tif", of_bits(8, COLOUR).transpose(2, 0, 1).copy(), colour, photometric="rgb",
         planarconfig="separate")  # fmt: skip
    tiff("tf_rgb16_planes.tif", of_bits(16, COLOUR).transpose(2, 0, 1).copy(), refused="planes of more than 8 bits",
         photometric="rgb", planarconfig="separate")  # fmt: skip
    tiff("tf_rgb16_planes_deflate.tif", of_bits(16, COLOUR).transpose(2, 0, 1).copy(), colour, photometric="rgb",
         planarconfig="separate", compression="zlib")  # fmt: skip
    tiff("tf_rgba8.tif", np.dstack([of_bits(8, COLOUR), np.full((HEIGHT, WIDTH), 9, np.uint8)]), colour,
         photometric="rgb", extrasamples=["unassalpha"])  # fmt: skip
    tiff("tf_grey_alpha.tif", np.dstack([of_bits(8), np.full((HEIGHT, WIDTH), 9, np.uint8)]), grey, **black,
         planarconfig="contig", extrasamples=["unassalpha"])  # fmt: skip
    table = np.stack([np.arange(256), np.arange(256)[::-1], np.zeros(256)]).astype(np.uint16) * 257
    tiff("tf_palette.tif", of_bits(8), np.dstack([grey, 255 - grey, 0 * grey]), photometric="palette", colormap=table)
    inks = np.dstack([255 - of_bits(8, COLOUR), np.zeros((HEIGHT, WIDTH), np.uint8)])
    tiff("tf_cmyk.tif", inks, colour, photometric="separated")
    tiff("tf_ycbcr_raw.tif", cv2.cvtColor(of_bits(8, COLOUR), cv2.COLOR_RGB2YCrCb)[:, :, [0, 2, 1]],
         refused="uncompressed YCbCr", photometric="ycbcr")  # fmt: skip
    # OpenCV has D65 for white, and Pillow the D50 of ICC profiles: off by up to 14 levels.
    lab = cv2.cvtColor(of_bits(8, COLOUR), cv2.COLOR_RGB2LAB)
    signed = np.dstack([lab[:, :, 0], lab[:, :, 1].astype(int) - 128, lab[:, :, 2].astype(int) - 128])
    tiff("tf_lab.tif", signed.astype(np.int8).view(np.uint8) if signed.min() >= -128 else lab, colour,
         photometric="cielab", within=20)  # fmt: skip
    with tifffile.TiffWriter(HERE / "tf_preview_first.tif") as writer:
        writer.write(levels(RAMP)[::2, ::2], subfiletype=1, metadata=None, **black)
        writer.write(of_bits(8), metadata=None, **black)
    note("tf_preview_first.tif", "tifffile", grey)
    with tifffile.TiffWriter(HERE / "tf_preview_only.tif") as writer:
        writer.write(levels(RAMP), subfiletype=1, metadata=None, **black)
    note("tf_preview_only.tif", "tifffile", refused="only a preview")
    with tifffile.TiffWriter(HERE / "tf_pages.tif") as writer:
        for page in (of_bits(8), 255 - of_bits(8)):
            writer.write(page, metadata=None, **black)
    note("tf_pages.tif", "tifffile", grey)
    manifest["tf_pages.tif"]["warns"] = "has 2 pages; the first is read"
    whole = (HERE / "tf_u8.tif").read_bytes()
    (HERE / "tf_short.tif").write_bytes(whole[: len(whole) - 40])
    note("tf_short.tif", "tifffile", refused="cannot be read")
    tag = whole.index(bytes.fromhex("06010300"))  # PhotometricInterpretation, made a field that nobody knows
    (HERE / "tf_no_photometric.tif").write_bytes(whole[:tag] + b"\x05\x01" + whole[tag + 2 :])
    note("tf_no_photometric.tif", "tifffile", refused="does not say whether 0 is black or white")


def opencv() -> None:
    def write(name: str, values: Array, expected: Array | None = None, refused: str | None = None, within: int = 1,
              options: tuple[int, ...] = ()) -> None:  # fmt: skip
        assert cv2.imwrite(str(HERE / name), values, options)
        if expected is not None and refused is None:
            back = cv2.imread(str(HERE / name), cv2.IMREAD_UNCHANGED)
            assert back is not None and back.shape == values.shape
        note(name, f"OpenCV {cv2.__version__}", expected, within, refused)

    grey, colour = levels(RAMP), levels(COLOUR)
    bgr = of_bits(8, COLOUR)[:, :, ::-1]
    write("cv_u8.png", of_bits(8), grey)
    write("cv_u16.png", of_bits(16), grey)
    write("cv_12_in_16.png", of_bits(12), refused="its values end at 4095 of 65535")
    write("cv_bgr16.png", of_bits(16, COLOUR)[:, :, ::-1], colour)
    write("cv_bgr16_12.png", of_bits(12, COLOUR)[:, :, ::-1], refused="nearly black")
    write("cv_bgra16.png", np.dstack([of_bits(16, COLOUR)[:, :, ::-1], of_bits(16)]), colour)
    write("cv_f32.tif", RAMP.astype(np.float32), grey)
    write("cv_f32_rgb.tif", COLOUR[:, :, ::-1].astype(np.float32), refused="not read here")
    write("cv_u16.pgm", of_bits(16), grey)
    write("cv_12_in_16.pgm", of_bits(12), refused="its values end at 4095 of 65535")
    write("cv_bgr.ppm", bgr, colour)
    write("cv_f32.pfm", RAMP.astype(np.float32), grey)
    for bits in (8, 12, 16):
        name = f"ic_{bits}.jp2"
        (HERE / name).write_bytes(imagecodecs.jpeg2k_encode(of_bits(bits), level=0, bitspersample=bits))
        note(name, "imagecodecs (OpenJPEG)", grey)
    write("cv_bgr.webp", bgr, colour, options=(cv2.IMWRITE_WEBP_QUALITY, 101))
    write("cv_bgr.bmp", bgr, colour)
    write("cv_u16_lzw.tif", of_bits(16), grey)


def run(*command: str, into: str | None = None) -> None:
    done = subprocess.run(command, cwd=HERE, check=True, capture_output=True)
    if into:
        (HERE / into).write_bytes(done.stdout)


def magick() -> None:
    """From ramps as PGM and PPM of 16 bits, which any tool reads."""
    grey, colour = levels(RAMP), levels(COLOUR)
    (HERE / "ramp.pgm").write_bytes(f"P5 {WIDTH} {HEIGHT} 65535\n".encode() + of_bits(16).astype(">u2").tobytes())
    (HERE / "ramp.ppm").write_bytes(f"P6 {WIDTH} {HEIGHT} 255\n".encode() + of_bits(8, COLOUR).tobytes())
    jobs: list[tuple[str, str, list[str], Array | None, str | None, int]] = [
        ("im_u16.tif", "ramp.pgm", ["-depth", "16"], grey, None, 1),
        ("im_u16_white.tif", "ramp.pgm", ["-depth", "16", "-define", "quantum:polarity=min-is-white"],
         levels(1 - RAMP), None, 1),  # it sets the field and leaves the samples, so what the file says is inverted
        ("im_12.tif", "ramp.pgm", ["-depth", "12"], grey, None, 1),
        ("im_f32.tif", "ramp.pgm", ["-depth", "32", "-define", "quantum:format=floating-point"], grey, None, 1),
        ("im_u16.png", "ramp.pgm", ["-depth", "16", "-define", "png:bit-depth=16"], grey, None, 1),
        ("im_rgb16.tif", "ramp.ppm", ["-depth", "16"], colour, None, 1),
        ("im_planes.tif", "ramp.ppm", ["-depth", "8", "-interlace", "plane"], colour, None, 1),
        ("im_cmyk.tif", "ramp.ppm", ["-depth", "8", "-colorspace", "CMYK"], colour, None, 2),
        ("im_palette.tif", "ramp.ppm", ["-type", "Palette"], None, None, 0),
        ("im_fax.tif", "ramp.pgm", ["-threshold", "50%", "-compress", "Group4"],
         levels((of_bits(16) > 32767).astype(float)), None, 0),
        ("im_tiles.tif", "ramp.ppm", ["-depth", "8", "-define", "tiff:tile-geometry=16x16"], colour, None, 1),
        ("im_lzw.tif", "ramp.ppm", ["-depth", "8", "-compress", "LZW"], colour, None, 1),
        ("im_maxval.pgm", "ramp.pgm", ["-depth", "10"], grey, None, 1),
        ("im_plain.ppm", "ramp.ppm", ["-compress", "none"], colour, None, 1),
        ("im_grey.jp2", "ramp.pgm", ["-depth", "12", "-quality", "100"], grey, None, 1),
        ("im_dark.png", "ramp.pgm", ["-evaluate", "multiply", "0.05", "-depth", "16", "-define",
                                     "png:bit-depth=16"], None, "nearly black", 0),
        ("im_psd.psd", "ramp.ppm", [], None, "Photoshop, which is not read", 0),
    ]  # fmt: skip
    for name, source, options, expected, refused, within in jobs:
        # It complains of a tag of its own in fractions and writes the file all the same.
        subprocess.run(["convert", source, "-strip", *options, name], cwd=HERE, check=name != "im_f32.tif")
        if name == "im_palette.tif":  # which colours it has left, OpenCV says
            expected = cv2.imread(str(HERE / name))[:, :, ::-1]
        note(name, "ImageMagick 6", expected, within, refused)


def libtiff_and_netpbm() -> None:
    grey = levels(RAMP)
    run("tiffcp", "-c", "zip", "-r", "3", "tf_u16_white.tif", "lt_u16_white_zip.tif")
    note("lt_u16_white_zip.tif", "libtiff tiffcp", levels(1 - RAMP))
    run("tiffcp", "-p", "separate", "im_lzw.tif", "lt_planes.tif")
    note("lt_planes.tif", "libtiff tiffcp", levels(COLOUR))
    run("tiffcp", "-t", "-w", "16", "-l", "16", "tf_u16.tif", "lt_u16_tiles.tif")
    note("lt_u16_tiles.tif", "libtiff tiffcp", grey)
    run("pnmtopng", "ramp.pgm", into="np_u16.png")
    note("np_u16.png", "netpbm pnmtopng", grey)
    run("pamdepth", "1023", "ramp.pgm", into="np_1023.pgm")
    note("np_1023.pgm", "netpbm pamdepth", grey)
    run("pamdepth", "4095", "ramp.pgm", into="np_4095.pgm")
    run("pnmtopng", "-force", "np_4095.pgm", into="np_sbit12.png")
    note("np_sbit12.png", "netpbm pnmtopng (sBIT 12)", grey)
    run("pnmtotiff", "-miniswhite", "ramp.pgm", into="np_white.tif")
    note("np_white.tif", "netpbm pnmtotiff", grey)
    # A camera's 12 bits in a PNG of 16 whose sBIT says so, but which were not scaled up as PNG asks for.
    whole = (HERE / "cv_12_in_16.png").read_bytes()
    chunk = b"\0\0\0\1sBIT\x0c" + int.to_bytes(zlib.crc32(b"sBIT\x0c"), 4, "big")
    (HERE / "cv_sbit12_low.png").write_bytes(whole[:33] + chunk + whole[33:])
    note("cv_sbit12_low.png", "OpenCV, with an sBIT chunk", grey)


def dicom(name: str, pixels: Array, bits: int, expected: Array | None = None, refused: str | None = None,
          within: int = 1, syntax: Any = ExplicitVRLittleEndian, **elements: Any) -> None:  # fmt: skip
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3.4"
    frame = pixels if "NumberOfFrames" not in elements else pixels[0]
    made.Rows, made.Columns = frame.shape[:2]
    made.SamplesPerPixel = 3 if frame.ndim == 3 else 1
    made.PhotometricInterpretation = "RGB" if frame.ndim == 3 else "MONOCHROME2"
    if frame.ndim == 3:
        made.PlanarConfiguration = 0
    made.BitsAllocated = pixels.dtype.itemsize * 8
    made.BitsStored, made.HighBit, made.PixelRepresentation = bits, bits - 1, int(pixels.dtype.kind == "i")
    made.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    made["PixelData"].VR = "OW"
    for key, value in elements.items():
        setattr(made, key, value)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID, made.file_meta.MediaStorageSOPInstanceUID = made.SOPClassUID, "1.2.3.4"
    if syntax in (RLELossless, JPEG2000Lossless):
        made.compress(syntax, generate_instance_uid=False)
    elif syntax == JPEGBaseline8Bit:
        made.PixelData, made.file_meta.TransferSyntaxUID = encapsulate([elements["PixelData"]]), syntax
    made.save_as(HERE / name, enforce_file_format=True)
    note(name, f"pydicom {pydicom.__version__}", expected, within, refused)


def item(**elements: Any) -> Dataset:
    made = Dataset()
    for key, value in elements.items():
        setattr(made, key, value)
    return made


def dicoms() -> None:
    grey, inverse, colour = levels(RAMP), levels(1 - RAMP), levels(COLOUR)
    dicom("dc_u8.dcm", of_bits(8), 8, grey)
    dicom("dc_u8_dim.dcm", of_bits(8) // 2, 8, of_bits(8) // 2)  # 8 bits without a window are levels already
    dicom("dc_u8_mono1.dcm", of_bits(8), 8, inverse, PhotometricInterpretation="MONOCHROME1")
    dicom("dc_12_in_16.dcm", of_bits(12), 12, grey)
    dicom("dc_12_mono1.dcm", of_bits(12), 12, inverse, PhotometricInterpretation="MONOCHROME1")
    dicom("dc_12_high.dcm", of_bits(12) << 4, 12, grey, HighBit=15)
    dicom("dc_inverse_shape.dcm", of_bits(12), 12, inverse, PresentationLUTShape="INVERSE")
    signed = of_bits(12).astype(np.int16) - 2048
    dicom("dc_signed.dcm", signed, 16, grey)
    dicom("dc_rle.dcm", of_bits(12), 12, grey, syntax=RLELossless)
    dicom("dc_window.dcm", of_bits(12), 12, levels(((RAMP * 4095 - 1023.5) / 1023 + 0.5).clip(0, 1)),
          WindowCenter=1024, WindowWidth=1024)  # fmt: skip
    padded = signed.copy()
    padded[:3] = -32768
    shown = levels(((signed - signed[3:].min()) / np.ptp(signed[3:])).clip(0, 1))
    shown[:3] = 0
    dicom("dc_padding.dcm", padded, 16, shown, PixelPaddingValue=-32768)
    dicom("dc_padding_range.dcm", np.where(padded < -3000, -31000, padded).astype(np.int16), 16, shown,
          PixelPaddingValue=-32768, PixelPaddingRangeLimit=-30000)  # fmt: skip
    high = of_bits(12).copy()
    high[:3] = 4095
    low = levels((4095 - high[3:]) / 4095)
    low = levels((np.max(high[3:]) - high[3:].astype(float)) / np.ptp(high[3:]))
    ends = high.copy()
    ends[3:] = np.where(high[3:] == 4095, 4094, high[3:])  # the last pixel is no padding
    low = levels((ends[3:].max() - ends[3:].astype(float)) / np.ptp(ends[3:]))
    dicom("dc_padding_mono1.dcm", ends, 12, np.vstack([np.zeros((3, WIDTH), np.uint8), low]), PixelPaddingValue=4095,
          PhotometricInterpretation="MONOCHROME1")  # fmt: skip
    dicom("dc_all_padding.dcm", np.full((HEIGHT, WIDTH), 7, np.uint16), 16, refused="one value in all its pixels",
          PixelPaddingValue=7)  # fmt: skip
    # A linear resize to twice the height is a quarter of the step to the next row away from repeated rows: 6.5 levels.
    tall = np.repeat(grey, 2, axis=0)
    dicom("dc_aspect.dcm", of_bits(8), 8, tall, within=7, PixelAspectRatio=[2, 1])
    dicom("dc_spacing.dcm", of_bits(8), 8, np.repeat(grey, 2, axis=1), within=6, PixelSpacing=[0.5, 1.0])
    dicom("dc_square.dcm", of_bits(8), 8, grey, PixelSpacing=["0.4882812", "0.4882813"])
    dicom("dc_rgb16.dcm", of_bits(16, COLOUR), 16, colour)
    tables = {"Red": np.arange(256), "Green": np.arange(256)[::-1], "Blue": np.zeros(256)}
    for name, scale in (("dc_palette.dcm", 257), ("dc_palette_low.dcm", 1)):
        palette: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
        for key, table in tables.items():
            palette[f"{key}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
            palette[f"{key}PaletteColorLookupTableData"] = (table * scale).astype("<u2").tobytes()
        dicom(name, of_bits(8), 8, np.dstack([grey, 255 - grey, 0 * grey]), **palette)
    dicom("dc_ybr.dcm", cv2.cvtColor(of_bits(8, COLOUR), cv2.COLOR_RGB2YCrCb)[:, :, [0, 2, 1]].copy(), 8, colour,
          within=3, PhotometricInterpretation="YBR_FULL")  # fmt: skip
    dicom("dc_frames.dcm", np.stack([of_bits(8), 255 - of_bits(8)]), 8, grey, NumberOfFrames=2)
    manifest["dc_frames.dcm"]["warns"] = "has 2 frames; the first is read"
    dicom("dc_float.dcm", of_bits(8), 8, refused="fractions")
    made = pydicom.dcmread(HERE / "dc_float.dcm")
    del made.PixelData, made.BitsStored, made.HighBit, made.PixelRepresentation
    made.BitsAllocated, made.FloatPixelData = 32, RAMP.astype("<f4").tobytes()
    made.save_as(HERE / "dc_float.dcm")
    slides(colour)


def slides(colour: Array) -> None:
    """The ramp in four tiles of 8 x 8, of which those at the right and below stick out."""
    values = of_bits(8, COLOUR)
    padded = np.full((16, 16, 3), 77, np.uint8)
    padded[:HEIGHT, :WIDTH] = values
    places = [(row, column) for row in (0, 8) for column in (0, 8)]
    tiles = np.stack([padded[row : row + 8, column : column + 8] for row, column in places])
    total = {"TotalPixelMatrixRows": HEIGHT, "TotalPixelMatrixColumns": WIDTH, "NumberOfFrames": 4}
    dicom("ws_full.dcm", tiles, 8, colour, DimensionOrganizationType="TILED_FULL", **total)
    order = [2, 0, 3, 1]

    def position(place: tuple[int, int]) -> Dataset:
        at = item(RowPositionInTotalImagePixelMatrix=place[0] + 1, ColumnPositionInTotalImagePixelMatrix=place[1] + 1)
        return item(PlanePositionSlideSequence=[at])

    groups = [position(places[index]) for index in order]
    sparse = {**total, "DimensionOrganizationType": "TILED_SPARSE"}
    dicom("ws_sparse.dcm", tiles[order], 8, colour, PerFrameFunctionalGroupsSequence=groups, **sparse)
    absent = colour.copy()
    absent[8:, :8] = 255
    dicom("ws_absent.dcm", tiles[order[1:]], 8, absent, PerFrameFunctionalGroupsSequence=groups[1:],
          **{**sparse, "NumberOfFrames": 3})  # fmt: skip
    manifest["ws_absent.dcm"]["warns"] = "leaves out 13% of its slide"
    dicom("ws_short.dcm", tiles[:3], 8, refused="does not say where they go", **{**total, "NumberOfFrames": 3})
    dicom("ws_focal.dcm", np.concatenate([tiles, tiles]), 8, refused="several focal planes",
          TotalPixelMatrixFocalPlanes=2, **{**sparse, "NumberOfFrames": 8},
          PerFrameFunctionalGroupsSequence=[*groups, *groups])  # fmt: skip
    dicom("ws_part.dcm", tiles, 8, refused="one of 3 files of a slide", InConcatenationTotalNumber=3, **total)
    dicom("ws_huge.dcm", tiles, 8, refused="100000x90000 is more than",
          **{**total, "TotalPixelMatrixRows": 90_000, "TotalPixelMatrixColumns": 100_000})  # fmt: skip


def main() -> None:
    for old in HERE.iterdir():
        if old.suffix != ".py" and not old.is_dir():
            old.unlink()
    tiffs()
    opencv()
    magick()
    libtiff_and_netpbm()
    dicoms()
    for left in ("ramp.pgm", "ramp.ppm", "np_4095.pgm"):
        (HERE / left).unlink()
    shutil.rmtree(HERE / "__pycache__", ignore_errors=True)
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in sorted(manifest.items()))
    (HERE / "manifest.json").write_text("{\n" + lines + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
