"""Pixels of BiomedCLIP, bit for bit those of open_clip's own transform."""

import io
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from nexus_edge.errors import ImageError
from nexus_edge.models.biomedclip.processing import BiomedClipProcessor

pytestmark = pytest.mark.slow

SIZE = 224
MODES = ["RGB", "L", "LA", "RGBA", "P", "1", "CMYK", "YCbCr", "HSV", "LAB", "I", "F", "RGBX", "RGBa"]
SHAPES = [(224, 224), (225, 224), (223, 225), (640, 480), (97, 61), (1, 1), (2, 1), (3, 500), (700, 5), (449, 333)]

Original = Callable[[Image.Image], NDArray[np.float32]]


@pytest.fixture(scope="module")
def processor(biomedclip_golden: Path) -> BiomedClipProcessor:
    return BiomedClipProcessor.from_folder(biomedclip_golden)


@pytest.fixture(scope="module")
def original(open_clip: ModuleType) -> Original:
    transform = open_clip.image_transform(SIZE, is_train=False)
    return lambda image: transform(image).numpy()


def noise(width: int, height: int, mode: str, seed: int = 0) -> Image.Image:
    """Every pixel another value, in each mode: what tells one filter, rounding or order of steps from another."""
    values = np.random.default_rng([seed, width, height]).integers(0, 256, (height, width, 4), dtype=np.uint8)
    if mode in ("RGBA", "RGBa", "RGBX", "CMYK"):
        image = Image.fromarray(values).convert("RGBA")
        return image.convert(mode) if mode in ("RGBa", "CMYK") else Image.frombytes(mode, image.size, image.tobytes())
    if mode in ("LA", "PA"):
        image = Image.merge("LA", [Image.fromarray(values[:, :, channel]) for channel in (0, 3)])
        return image if mode == "LA" else image.convert(mode)
    if mode == "P":
        image = Image.fromarray(values[:, :, 0]).convert("P")
        image.putpalette(np.random.default_rng(seed).integers(0, 256, 768, dtype=np.uint8).tobytes())
        return image
    return Image.fromarray(values[:, :, :3]).convert(mode)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_and_shape_has_the_originals_bits(
    processor: BiomedClipProcessor, original: Original, mode: str
) -> None:
    for shape in SHAPES:
        image = noise(*shape, mode)
        assert image.mode == mode
        assert np.array_equal(processor.images([image])[0], original(image)), shape


def test_a_palette_with_alpha_has_the_bits_of_its_colours(processor: BiomedClipProcessor, original: Original) -> None:
    """The original resizes the palette's indices and loses the palette: what it sees is black."""
    for shape in SHAPES:
        image = noise(*shape, "PA")
        assert np.array_equal(processor.images([image])[0], original(image.convert("RGBA"))), shape


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 9))
def test_any_shape_has_the_originals_bits(
    processor: BiomedClipProcessor, original: Original, width: int, height: int, seed: int
) -> None:
    image = noise(width, height, "RGB", seed)
    assert np.array_equal(processor.images([image])[0], original(image))


def test_real_photographs_have_the_originals_bits(
    processor: BiomedClipProcessor, original: Original, photographs: list[Path]
) -> None:
    random = np.random.default_rng(1)
    for path in photographs[::24]:
        whole = Image.open(path)
        assert np.array_equal(processor.images([path])[0], original(whole)), path
        left, top = (int(side) for side in random.integers(0, 200, 2))
        right, bottom = (int(side) for side in random.integers(205, 480, 2))
        for mode in ("RGB", "P", "CMYK", "L"):
            part = whole.crop((left, top, right, bottom)).convert(mode)
            assert np.array_equal(processor.images([part])[0], original(part)), (path, part.size, mode)


def test_the_golden_images_have_the_recorded_bits(processor: BiomedClipProcessor, biomedclip_golden: Path) -> None:
    cases = json.loads((biomedclip_golden / "cases.json").read_text(encoding="utf-8"))
    pixels = processor.images([biomedclip_golden / name for name in cases["images"]])
    assert [sha256(image.tobytes()).hexdigest() for image in pixels] == cases["pixel_sha256"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_is_what_the_original_makes_of_the_upright_one(
    processor: BiomedClipProcessor, original: Original, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    noise(300, 231, "RGB").save(file, "PNG", exif=exif)
    upright = ImageOps.exif_transpose(Image.open(file))
    assert np.array_equal(processor.images([file.getvalue()])[0], original(upright))


def test_16_bit_grey_is_the_originals_8_bit_grey_and_not_white(
    processor: BiomedClipProcessor, original: Original
) -> None:
    values = np.random.default_rng(3).integers(0, 65536, (300, 231), dtype=np.uint16)
    high_byte = Image.fromarray((values >> 8).astype(np.uint8))
    assert np.array_equal(processor.images([Image.fromarray(values)])[0], original(high_byte))


def test_a_batch_is_its_images_one_by_one(processor: BiomedClipProcessor) -> None:
    images = [noise(30, 40, "RGB"), noise(500, 20, "L"), noise(224, 224, "RGBA")]
    batch = processor.images(images)
    assert batch.dtype == np.float32 and batch.shape == (3, 3, SIZE, SIZE) and batch.flags["C_CONTIGUOUS"]
    for row, image in zip(batch, images, strict=True):
        assert np.array_equal(row, processor.images([image])[0])
    assert processor.images([]).shape == (0, 3, SIZE, SIZE)


@pytest.mark.parametrize("size", [64, 225, 384])
def test_another_size_mean_and_filter(open_clip: ModuleType, size: int) -> None:
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    transform = open_clip.image_transform(size, is_train=False, mean=mean, std=std, interpolation="bilinear")
    processor = BiomedClipProcessor(None, size, 77, mean, std, Image.Resampling.BILINEAR)  # type: ignore[arg-type]
    image = noise(401, 263, "RGB")
    assert np.array_equal(processor.images([image])[0], transform(image).numpy())


def test_the_image_itself_is_not_changed(processor: BiomedClipProcessor) -> None:
    image = noise(300, 200, "RGBA")
    before = image.tobytes()
    processor.images([image])
    assert image.tobytes() == before and image.mode == "RGBA"


@pytest.mark.parametrize("shape", [(1, 3000), (3000, 1)])
def test_an_image_too_narrow_to_resize_is_refused_with_its_name(
    processor: BiomedClipProcessor, tmp_path: Path, shape: tuple[int, int]
) -> None:
    path = tmp_path / "strip.png"
    noise(*shape, "L").save(path)
    with pytest.raises(ImageError, match=r"strip\.png: \d+x\d+ is too narrow.*crop or pad it"):
        processor.images([path])


def test_an_image_that_cannot_be_read_is_named(processor: BiomedClipProcessor, tmp_path: Path) -> None:
    good, bad = noise(9, 9, "RGB"), tmp_path / "bad.jpg"
    bad.write_bytes(b"\xff\xd8\xff\xe0 no image")
    with pytest.raises(ImageError, match=r"bad\.jpg cannot be read"):
        processor.images([good, bad])
    with pytest.raises(ImageError, match="image 2 cannot be read"):
        processor.images([good, bad.read_bytes()])
