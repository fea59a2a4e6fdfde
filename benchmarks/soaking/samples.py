"""Sound files for the soak to damage: images and tables of every format that people hand over."""

import json
from pathlib import Path

import numpy as np
from PIL import Image


def write_images(folder: Path) -> None:
    """One image in every format that Pillow writes and people have, in several depths, and DICOM."""
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    image = Image.fromarray(noise)
    for ending in ("png", "jpg", "bmp", "tif", "webp", "gif", "ppm", "jp2", "avif"):
        image.save(folder / f"a.{ending}")
    image.save(folder / "deflated.tif", compression="tiff_adobe_deflate")
    image.save(folder / "turned.jpg", exif=_turned())
    image.convert("L").save(folder / "grey.tif")
    image.convert("1").save(folder / "bits.pbm")
    image.convert("P").save(folder / "palette.png")
    image.convert("CMYK").save(folder / "ink.jpg")
    image.save(folder / "frames.gif", save_all=True, append_images=[image.rotate(180)])
    grey = noise[:, :, 0]
    Image.fromarray(grey.astype(np.uint16) * 257).save(folder / "deep.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(folder / "deep.tif")
    Image.fromarray(grey.astype(np.float32) / 255).save(folder / "fractions.tif")
    write_dicom(folder / "scan.dcm", grey)


def write_dicom(path: Path, grey: np.ndarray) -> None:
    """A secondary capture with a window, of 12 bits in 16."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    scan = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    scan.SOPClassUID, scan.SOPInstanceUID, scan.Modality = SecondaryCaptureImageStorage, generate_uid(), "OT"
    scan.Rows, scan.Columns = grey.shape
    scan.SamplesPerPixel, scan.PhotometricInterpretation, scan.PixelRepresentation = 1, "MONOCHROME2", 0
    scan.BitsAllocated, scan.BitsStored, scan.HighBit = 16, 12, 11
    scan.WindowCenter, scan.WindowWidth = 2048, 4096
    scan.PixelData = (grey.astype("<u2") * 16).tobytes()
    scan.save_as(path, enforce_file_format=True)


def write_tables(folder: Path, image: Path) -> None:
    """Files of lines that commands read: labels, and samples for a calibration."""
    folder.mkdir()
    (folder / "labels.txt").write_text("red blood cell\nwhite blood cell\nplatelet\n", "utf-8")
    lines = [{"text": f"an image of {what}", "image": str(image)} for what in ("a cell", "a letter", "a circle")]
    (folder / "calibration.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif
