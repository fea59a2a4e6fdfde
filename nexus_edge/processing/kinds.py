"""What a file is, by its first bytes: names and endings lie."""

import struct
from dataclasses import dataclass

HEAD = 1024  # bytes that `kind_of` looks at

DICOM_MAGIC = b"DICM"  # at byte 128, PS3.10 section 7.1
# DICOM files that hold no image: beginnings of their SOP class (PS3.6 annex A), and what they are.
WITHOUT_IMAGE = {
    "1.2.840.10008.1.3.10": "a DICOM directory",
    "1.2.840.10008.5.1.4.1.1.88.": "a DICOM report",
    "1.2.840.10008.5.1.4.1.1.11.": "a DICOM presentation state",
    "1.2.840.10008.5.1.4.1.1.104.": "a document in DICOM",
    "1.2.840.10008.5.1.4.1.1.9.": "a DICOM waveform",
    "1.2.840.10008.5.1.4.1.1.66": "DICOM raw data or registration",
    "1.2.840.10008.5.1.4.1.1.481.3": "a DICOM structure set",
    "1.2.840.10008.5.1.4.1.1.481.5": "a DICOM treatment plan",
}
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # these have pixels


@dataclass(frozen=True)
class Kind:
    """A format by its name.

    Attributes:
        is_image: whether a person would call it an image
        advice: what to do with an image that is not read here; None if it is read
    """

    name: str
    is_image: bool = True
    advice: str | None = None


JPEG = "save it as JPEG or PNG"
UNKNOWN = Kind("a file of no known kind", is_image=False)
DICOM = Kind("DICOM")
HEIC = Kind("HEIC", advice=f"{JPEG}, or set the phone to its most compatible format")

MAGIC = {
    b"\xff\xd8\xff": Kind("JPEG"),
    b"\x89PNG\r\n\x1a\n": Kind("PNG"),
    b"GIF8": Kind("GIF"),
    b"II*\0": Kind("TIFF"),
    b"MM\0*": Kind("TIFF"),
    b"II+\0": Kind("TIFF"),
    b"MM\0+": Kind("TIFF"),
    b"\0\0\0\x0cjP  \r\n\x87\n": Kind("JPEG 2000"),
    b"\xff\x4f\xff\x51": Kind("JPEG 2000"),
    b"\xff\x0a": Kind("JPEG XL", advice=JPEG),
    b"\0\0\0\x0cJXL \r\n\x87\n": Kind("JPEG XL", advice=JPEG),
    b"8BPS": Kind("Photoshop", advice=JPEG),
    b"v/1\x01": Kind("OpenEXR", advice="save it with 8 bits as PNG"),
    b"%!PS": Kind("PostScript", advice="draw it as PNG"),
    b"%PDF": Kind("PDF", is_image=False, advice="save its pages as PNG"),
    b"PK\x03\x04": Kind("ZIP", is_image=False, advice="unpack it"),
    b"SIMPLE  =": Kind("FITS", advice="save it with 8 bits as PNG"),
    b"FUJIFILMCCD-RAW": Kind("camera raw", advice="develop it and save it as JPEG"),
    b"version https://git-lfs": Kind("Git LFS pointer", advice="fetch the file itself with git lfs pull"),
}
BRANDS = {  # of ISO base media files, ISO/IEC 14496-12 section 4.3
    b"avif": Kind("AVIF"),
    b"avis": Kind("AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"), HEIC),
    b"crx ": Kind("camera raw", advice="develop it and save it as JPEG"),
}
VIDEO = Kind("a video", is_image=False, advice="save its frames as PNG")


def kind_of(head: bytes) -> Kind:
    """The kind of a file that begins with `head`; `UNKNOWN` if it is none of those known here."""
    if head[128:132] == DICOM_MAGIC:
        return _kind_of_dicom(head)
    for magic, kind in MAGIC.items():
        if head.startswith(magic):
            return kind
    if head[4:8] == b"ftyp":
        brands = [head[8:12], *(head[place : place + 4] for place in range(16, min(_u32(head), 64), 4))]
        return next((BRANDS[brand] for brand in brands if brand in BRANDS), VIDEO)
    if head[:4] == b"RIFF":
        return Kind("WebP") if head[8:12] == b"WEBP" else VIDEO
    if head[:2] == b"BM" and head[6:10] == bytes(4):  # two fields that are reserved
        return Kind("BMP")
    if head[:1] == b"P" and head[1:2] in b"123456f" and head[2:3].isspace():
        return Kind("PNM")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:512].lower()
    if text.startswith((b"<svg", b"<?xml")) and b"<svg" in head.lower():
        return Kind("SVG", advice="draw it as PNG")
    if text.startswith((b"<!doctype html", b"<html")):
        return Kind("a web page", is_image=False, advice="it is what a server sent instead of an image; fetch it again")
    return UNKNOWN


def _kind_of_dicom(head: bytes) -> Kind:
    """By MediaStorageSOPClassUID, which stands in the first group, always as explicit VR, little endian."""
    place = head.find(b"\x02\0\x02\0UI", 132)
    if place < 0:
        return DICOM
    length = int.from_bytes(head[place + 6 : place + 8], "little")
    uid = head[place + 8 : place + 8 + length].rstrip(b"\0 ").decode("ascii", "replace")
    if not uid.startswith(SEGMENTATIONS):
        for beginning, what in WITHOUT_IMAGE.items():
            if uid.startswith(beginning):
                return Kind(what, is_image=False)
    return DICOM


def _u32(head: bytes) -> int:
    """The length of the first box."""
    return int(struct.unpack(">I", head[:4])[0])
