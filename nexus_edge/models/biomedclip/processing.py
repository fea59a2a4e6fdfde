"""BiomedCLIP and other open_clip models of its shape: images and texts, each for its own tower."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nexus_edge._renamed import renamed_keyword
from nexus_edge.configs.keys import check_values_of
from nexus_edge.errors import CheckpointError, PromptError
from nexus_edge.models.biomedclip.config_keys import PROCESSING
from nexus_edge.processing.centre_crop import centre_crop
from nexus_edge.processing.folder import read_json
from nexus_edge.processing.images import open_image, to_rgb
from nexus_edge.processing.normalise import CLIP_MEAN, CLIP_STD, Rgb, normalisation_table, read_mean_std
from nexus_edge.processing.open_clip_folder import OPEN_CLIP_CONFIG, section, tokenizer_folder
from nexus_edge.processing.sources import ImageInput, as_images, name_of
from nexus_edge.processing.word_pieces import WordPieceTokenizer

RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
# What open_clip takes where the file is silent (CLIPVisionCfg, DEFAULT_CONTEXT_LENGTH).
IMAGE_SIZE, CONTEXT_LENGTH = 224, 77


@dataclass(frozen=True)
class BiomedClipProcessor:
    """What open_clip's `image_transform` and `HFTokenizer` do, on numpy arrays."""

    tokenizer: WordPieceTokenizer
    image_size: int
    context_length: int
    mean: Rgb = CLIP_MEAN
    std: Rgb = CLIP_STD
    resample: Image.Resampling = Image.Resampling.BICUBIC

    @classmethod
    def from_folder(cls, folder: Path) -> "BiomedClipProcessor":
        """Reads an open_clip checkpoint, or a bundle's processor folder (config.json); raises CheckpointError."""
        name = OPEN_CLIP_CONFIG if (folder / OPEN_CLIP_CONFIG).is_file() else "config.json"
        source, config = str(folder / name), read_json(folder, name)
        model = section(config, "model_cfg", source)
        text, preprocess = section(model, "text_cfg", source), section(config, "preprocess_cfg", source)
        check_values_of(config, PROCESSING, source)
        interpolation = preprocess.get("interpolation") or "bicubic"
        if not isinstance(interpolation, str) or interpolation not in RESAMPLING:
            raise CheckpointError(f"{source}: interpolation is {interpolation!r}; use one of {', '.join(RESAMPLING)}")
        mean, std = read_mean_std(preprocess, ("mean", "std"), source)
        image_size = _size(section(model, "vision_cfg", source).get("image_size", IMAGE_SIZE), "image_size", source)
        if preprocess.get("size") is not None and _size(preprocess["size"], "size", source) != image_size:
            raise CheckpointError(
                f"{source}: preprocess_cfg.size is {preprocess['size']}, the tower's image_size {image_size}; fix one"
            )
        return cls(
            WordPieceTokenizer.from_folder(tokenizer_folder(folder, config)),
            image_size,
            _size(text.get("context_length", CONTEXT_LENGTH), "context_length", source),
            mean,
            std,
            RESAMPLING[interpolation],
        )

    @property
    def largest_id(self) -> int:
        """See `DualProcessor.largest_id`."""
        return self.tokenizer.largest_id

    def token_id(self, token: str) -> int | None:
        """The id of a token given as text, or None."""
        return self.tokenizer.token_id(token)

    @renamed_keyword("pictures", "images")
    def images(self, images: ImageInput | Sequence[ImageInput]) -> NDArray[np.float32]:
        """Pixels for the image tower: [images, 3, image_size, image_size]; raises ImageError.

        Bit for bit open_clip's transform of the same Pillow image, with three exceptions where that would show the
        model another image than the one a person sees: EXIF orientation is applied, 16-bit grey keeps its high byte
        instead of turning white, and a palette with alpha keeps its colours instead of turning black.
        """
        given = as_images(images)
        table = normalisation_table(self.mean, self.std)
        pixels = np.empty((len(given), 3, self.image_size, self.image_size), dtype=np.float32)
        for index, image in enumerate(given):
            name = name_of(image, f"image {index + 1}")
            cropped = centre_crop(open_image(image, name), self.image_size, self.resample, name)
            values = np.asarray(to_rgb(cropped, name))
            for channel in range(3):
                np.take(table[channel], values[:, :, channel], out=pixels[index, channel])
        return pixels

    def texts(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Ids for the text tower: [texts, context_length], padded with 0; longer texts are cut, see `count_tokens`.

        The ids are those of open_clip's HFTokenizer. Raises PromptError.
        """
        if isinstance(texts, str):
            raise PromptError("texts is a single text; give a list of texts")
        return self.tokenizer.encode(texts, self.context_length)

    def count_tokens(self, text: str) -> int:
        """How many ids the whole text has; it is cut if they are more than `context_length`. Raises PromptError."""
        return self.tokenizer.count(text)


def _size(value: Any, key: str, source: str) -> int:
    """A whole number above 0, or the same one twice (height and width); raises CheckpointError."""
    if isinstance(value, list) and len(value) == 2 and value[0] == value[1]:
        value = value[0]
    if type(value) is not int or value < 3:
        raise CheckpointError(f"{source}: {key} is {value!r}; it must be one whole number above 2")
    return value
