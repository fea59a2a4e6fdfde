"""Image features that are kept, so that an image is encoded once however many turns talk about it."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import blake2b

import numpy as np

from nexus_edge.interfaces.engine import Engine, Floats
from nexus_edge.interfaces.host import Image, VlmHost
from nexus_edge.runtimes.vlm.context import Encoded, never

KEPT = 8  # images; one has 31 MB at most (2,500 tokens of 3,072 float32)


class ImageCache:
    """Features by the content of the arrays; the one not used for the longest time goes first.

    Threads take turns, so that two that ask for the same image have it encoded once.
    """

    def __init__(self, engine: Engine, host: VlmHost) -> None:
        self._engine, self._host = engine, host
        self._features: OrderedDict[bytes, Floats] = OrderedDict()
        self._turn = threading.Lock()

    def encode(self, images: Sequence[Image], check: Callable[[], None] = never) -> list[Encoded]:
        """Each image with its features.

        One image at a time goes through the encoder, which bounds its memory.

        Args:
            images: of a prompt, see `VlmHost.images`
            check: called before each image; what it raises ends the work
        """
        found = []
        for image in images:
            digest = image_digest(image)
            check()
            with self._turn:
                found.append(Encoded(digest, self._encoded(digest, image)))
        return found

    def clear(self) -> None:
        """Forget all of them."""
        with self._turn:
            self._features.clear()

    def _encoded(self, digest: bytes, image: Image) -> Floats:
        features = self._features.get(digest)
        if features is None:
            with self._engine.vision() as run:
                features = self._features[digest] = self._host.encode(run, image)
        self._features.move_to_end(digest)
        if len(self._features) > KEPT:
            self._features.popitem(last=False)
        return features


def image_digest(image: Image) -> bytes:
    """A hash of what the vision graphs read of an image."""
    digest = blake2b(digest_size=16)
    for name in sorted(image):
        array = np.ascontiguousarray(image[name])
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.data)
    return digest.digest()
