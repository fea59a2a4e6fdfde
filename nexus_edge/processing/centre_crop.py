"""The square in the middle of an image, as CLIP's transform takes it: shortest side resized, the rest cut off."""

from PIL import Image

from nexus_edge.errors import ImageError
from nexus_edge.processing.images import MAX_PIXELS
from nexus_edge.processing.resize import resize_image


def centre_crop(
    image: Image.Image, size: int, resample: Image.Resampling = Image.Resampling.BICUBIC, name: str = "image"
) -> Image.Image:
    """`size` x `size` pixels in the image's own mode, resized with antialiasing.

    Its mode decides how Pillow resizes: palettes and 1-bit images by the nearest pixel, colours in proportion to
    their opacity. So a caller who wants the original's bits converts to RGB after this, as the original does.
    Raises ImageError if the image is so narrow that the resize would not fit into memory.
    """
    width, height = image.size
    long = int(size * max(width, height) / min(width, height))  # truncated, as in torchvision
    resized = (size, long) if width <= height else (long, size)
    if size * long > MAX_PIXELS:
        raise ImageError(
            f"{name}: {width}x{height} is too narrow, it would be resized to {resized[0]}x{resized[1]}; crop or pad it"
        )
    # round() takes halves to the even neighbour, as it does in torchvision.
    left, top = round((resized[0] - size) / 2), round((resized[1] - size) / 2)
    return resize_image(image, *resized, resample).crop((left, top, left + size, top + size))
