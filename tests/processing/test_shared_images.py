"""One image that several threads give at once: a file's position and a Pillow image not loaded yet are shared."""

import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from nexus_edge.errors import ImageError
from nexus_edge.processing.images import load_image

THREADS, ROUNDS = 4, 8  # without a lock 2 to 8 of 32 images were wrong, by format
NOISE = np.random.default_rng(0).integers(0, 256, (600, 600, 3), dtype=np.uint8)


def written(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(NOISE).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("shared", [lambda data: Image.open(io.BytesIO(data)), io.BytesIO], ids=["pillow", "file"])
def test_every_thread_gets_the_image(kind: str, shared: Callable[[bytes], Image.Image | io.BytesIO]) -> None:
    data = written(kind)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    barrier = threading.Barrier(THREADS)

    def load(given: Image.Image | io.BytesIO) -> bool:
        barrier.wait(timeout=60)
        return bool((np.asarray(load_image(given)) == expected).all())

    with ThreadPoolExecutor(THREADS) as pool:
        for _ in range(ROUNDS):
            assert list(pool.map(load, [shared(data)] * THREADS)) == [True] * THREADS


def test_a_masked_array_is_refused() -> None:
    with pytest.raises(ImageError, match="is a masked array"):
        load_image(np.ma.masked_array(NOISE, NOISE > 200))
