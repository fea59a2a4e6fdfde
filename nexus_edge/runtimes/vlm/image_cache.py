"""Image features that are kept, so that a picture is encoded once however many turns talk about it."""

import threading
from collections import OrderedDict
from collections.abc import Callable

from nexus_edge.engines.base import Engine, Floats, Ids
from nexus_edge.runtimes.vlm.context import never, picture_digest

KEPT = 8  # pictures; one has 31 MB at most (2,500 tokens of 3,072 float32)


class PictureCache:
    """Features by the content of the pixels; the one not used for the longest time goes first.

    Threads take turns, so that two that ask for the same picture have it encoded once.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._features: OrderedDict[bytes, Floats] = OrderedDict()
        self._turn = threading.Lock()

    def encode(
        self, pixel_values: Floats, image_sizes: Ids, check: Callable[[], None] = never
    ) -> list[tuple[bytes, Floats]]:
        """Digest and features [image tokens, hidden] of each picture.

        One picture at a time goes through the encoder, which bounds its memory.

        Args:
            pixel_values: [pictures, views, 3, height, width]
            image_sizes: int64 [pictures, 2]
            check: called before each picture; what it raises ends the work
        """
        found = []
        for index in range(len(pixel_values)):
            one, size = pixel_values[index : index + 1], image_sizes[index : index + 1]
            digest = picture_digest(one, size)
            check()
            with self._turn:
                found.append((digest, self._encoded(digest, one, size)))
        return found

    def clear(self) -> None:
        """Forget all of them."""
        with self._turn:
            self._features.clear()

    def _encoded(self, digest: bytes, pixel_values: Floats, image_size: Ids) -> Floats:
        features = self._features.get(digest)
        if features is None:
            features = self._features[digest] = self._engine.encode_picture(pixel_values, image_size)
        self._features.move_to_end(digest)
        if len(self._features) > KEPT:
            self._features.popitem(last=False)
        return features
