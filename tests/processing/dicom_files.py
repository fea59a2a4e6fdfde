"""DICOM files for tests, written by pydicom."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid


def dataset(pixels: NDArray[Any], bits: int | None = None, **elements: Any) -> Dataset:
    """A grey image [height, width] (or colour with a third axis of 3) of `bits` stored bits, with further elements."""
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID, made.Modality = CTImageStorage, generate_uid(), "CT"
    made.Rows, made.Columns = pixels.shape[:2]
    made.SamplesPerPixel = pixels.shape[2] if pixels.ndim == 3 else 1
    made.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        made.PlanarConfiguration = 0
    made.BitsAllocated = pixels.dtype.itemsize * 8
    made.BitsStored = bits or made.BitsAllocated
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    made.PixelData = np.ascontiguousarray(pixels).tobytes()
    made["PixelData"].VR = "OW"
    for key, value in elements.items():
        setattr(made, key, value)
    return made


def written(made: Dataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    """The file of a dataset."""
    made.file_meta = FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID, made.file_meta.MediaStorageSOPInstanceUID = made.SOPClassUID, "1.2.3"
    made.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def item(**elements: Any) -> Dataset:
    """One item of a sequence."""
    made = Dataset()
    for key, value in elements.items():
        setattr(made, key, value)
    return made
