"""Speed of a loaded dual encoder: its towers at several batch sizes, and the preparation of an image."""

import io
from collections.abc import Callable, Sequence
from statistics import median

import numpy as np
from PIL import Image

from nexus_edge.errors import InputError
from nexus_edge.interfaces.engine import Floats, Ids
from nexus_edge.processing.images import ImageInput
from nexus_edge.runtimes.dual_encoder.model import DualEncoder
from nexus_edge.runtimes.machine import Clock

BATCHES = (1, 4, 16)
TEXT_TOKENS = 32  # a long label prompt, or a short caption
MIN_SECONDS = 0.5  # that a run takes at least, by repeating what is fast
SENTENCE = "histopathology of lung tissue with squamous cell carcinoma and normal alveoli, "


def image_rates(model: DualEncoder, runs: int) -> dict[int, list[float]]:
    """Images per second of the image tower alone, for each batch size, run by run; the pixels are noise."""
    side = model.processor.image_size
    pixels = np.random.default_rng(0).standard_normal((max(BATCHES), 3, side, side), np.float32)
    return {batch: _rates(lambda rows: model.engine.encode_images(rows), pixels[:batch], runs) for batch in BATCHES}


def text_rates(model: DualEncoder, tokens: int, runs: int) -> dict[int, list[float]]:
    """Texts per second of the text tower alone, each of exactly `tokens`, special tokens included.

    Raises:
        InputError: more tokens than the model reads, or fewer than 2
    """
    ids = text_ids(model, tokens, max(BATCHES))
    return {batch: _rates(lambda rows: model.engine.encode_texts(rows), ids[:batch], runs) for batch in BATCHES}


def text_ids(model: DualEncoder, tokens: int, count: int) -> Ids:
    """int64 [count, tokens] without padding; raises InputError."""
    limit = model.processor.context_length
    if not 2 <= tokens <= limit:
        raise InputError(f"prompt tokens: {tokens}; a text of this model has 2 to {limit}")
    row = model.processor.texts([SENTENCE * limit])[0]
    return np.tile(np.concatenate((row[: tokens - 1], row[-1:])), (count, 1))


def prepare_ms(model: DualEncoder, images: Sequence[ImageInput], runs: int) -> float:
    """Milliseconds from a file to pixels on one thread: median over runs of the mean over the images."""
    times = []
    for _ in range(runs):
        clock = Clock()
        for image in images:
            model.processor.images([image])
        times.append(1000 * clock.lap() / len(images))
    return median(times)


def sample_image() -> bytes:
    """A JPEG of 1024 x 768 with as much detail as a photograph has: 255 kB."""
    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize((1024, 768), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


def first_call_s(run: Callable[[], object]) -> float:
    """Seconds of a first call, which loads a tower."""
    clock = Clock()
    run()
    return clock.lap()


def _rates(run: Callable[..., object], rows: Floats | Ids, runs: int) -> list[float]:
    run(rows)  # the first of a new shape lays out its memory
    rates = []
    for _ in range(runs):
        clock, seconds, done = Clock(), 0.0, 0
        while seconds < MIN_SECONDS:
            run(rows)
            done += len(rows)
            seconds += clock.lap()
        rates.append(done / seconds)
    return rates
