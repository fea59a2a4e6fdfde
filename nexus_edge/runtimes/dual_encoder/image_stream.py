"""Decodes images ahead of the tower that waits for them, and never more than a few of them."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from nexus_edge.errors import ImageError
from nexus_edge.interfaces.engine import Floats
from nexus_edge.processing import DualProcessor
from nexus_edge.processing.images import open_image
from nexus_edge.processing.sources import ImageInput, name_of

WORKERS = min(4, os.cpu_count() or 1)  # Pillow lets go of the interpreter while it decodes and resizes


def prepared(processor: DualProcessor, images: Iterable[ImageInput], ahead: int) -> Iterator[Floats | ImageError]:
    """The pixels [3, height, width] of each image in order, or the error that says why it cannot be read.

    At most `ahead` images are decoded before they are taken, and at most `WORKERS` are in memory at their own size.
    """
    pool, waiting = ThreadPoolExecutor(WORKERS), deque[Future[Floats | ImageError]]()
    try:
        for index, image in enumerate(images):
            waiting.append(pool.submit(_prepare, processor, image, f"image {index + 1}"))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare(processor: DualProcessor, image: ImageInput, name: str) -> Floats | ImageError:
    try:
        # The processor, which sees one image at a time, would call each without a path the first.
        given = image if name_of(image, "") else open_image(image, name)
        pixels: Floats = processor.images([given])[0]
    except ImageError as error:
        return error
    return pixels
