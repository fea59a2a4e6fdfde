"""Image features that are kept, so that a picture is encoded once however many turns talk about it."""

from collections import OrderedDict

from nexus_edge.runtimes.context import picture_digest
from nexus_edge.runtimes.engine import Engine, Floats, Ids

KEPT = 8  # pictures; one has 31 MB at most (2,500 tokens of 3,072 float32)


class PictureCache:
    """Features by the content of the pixels; the one not used for the longest time goes first."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._features: OrderedDict[bytes, Floats] = OrderedDict()

    def encode(self, pixel_values: Floats, image_sizes: Ids) -> list[tuple[bytes, Floats]]:
        """Digest and features [image tokens, hidden] of each picture.

        One picture at a time goes through the encoder, which bounds its memory.

        Args:
            pixel_values: [pictures, views, 3, height, width]
            image_sizes: int64 [pictures, 2]
        """
        found = []
        for index in range(len(pixel_values)):
            one, size = pixel_values[index : index + 1], image_sizes[index : index + 1]
            digest = picture_digest(one, size)
            if digest not in self._features:
                self._features[digest] = self._engine.encode_picture(one, size)
            self._features.move_to_end(digest)
            found.append((digest, self._features[digest]))
            if len(self._features) > KEPT:
                self._features.popitem(last=False)
        return found
