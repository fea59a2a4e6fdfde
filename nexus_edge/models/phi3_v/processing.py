"""Phi-3-Vision and Phi-3.5-Vision: images to crops, prompts to ids with the places of the images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nexus_edge.configs.values import MOST_VIEWS, count
from nexus_edge.errors import CheckpointError, InputError, PromptError
from nexus_edge.interfaces.processor import ModelInputs
from nexus_edge.models.phi3_v import prompt as phi3_prompt
from nexus_edge.processing.folder import read_json
from nexus_edge.processing.hd_transform import CROP, TOKENS_PER_SIDE, HdGeometry, hd_geometry, hd_transform
from nexus_edge.processing.images import load_image
from nexus_edge.processing.messages import Message
from nexus_edge.processing.normalise import CLIP_MEAN, CLIP_STD, Rgb, normalisation_table, read_mean_std
from nexus_edge.processing.resize import resize_bicubic
from nexus_edge.processing.segments import Prompt
from nexus_edge.processing.sources import ImageInput, as_images, name_of
from nexus_edge.processing.stop_ids import read_stop_ids
from nexus_edge.processing.templates.chat import ChatTemplate
from nexus_edge.processing.text_side import TextSide, as_inputs
from nexus_edge.processing.tokenizer import Tokenizer


def preprocess_images(
    images: Sequence[ImageInput], num_crops: int, mean: Rgb = CLIP_MEAN, std: Rgb = CLIP_STD
) -> tuple[NDArray[np.float32], NDArray[np.int64], list[int]]:
    """Images as the vision encoder reads them: `(pixel_values, image_sizes, num_img_tokens)`.

    pixel_values [images, num_crops + 1, 3, 336, 336]: the global view, then the crops row by row, then zeros.
    image_sizes [images, 2]: height and width of the padded image in pixels. num_img_tokens: positions in a prompt.
    `mean` and `std` are those of RGB in 0..1. Raises ImageError, and InputError if `num_crops` is below 1.
    """
    if num_crops < 1:
        raise InputError(f"num_crops is {num_crops}; it must be at least 1")
    table = normalisation_table(mean, std)
    pixel_values = np.zeros((len(images), num_crops + 1, 3, CROP, CROP), dtype=np.float32)
    geometries = []
    for index, (given, views) in enumerate(zip(images, pixel_values, strict=True)):
        name = name_of(given, f"image {index + 1}")
        image = load_image(given, name)
        geometry = hd_geometry(*image.size, num_crops, name)
        _fill_views(views, hd_transform(image, geometry), geometry, table)
        geometries.append(geometry)
    sizes = np.array([geometry.image_size for geometry in geometries], dtype=np.int64).reshape(-1, 2)
    return pixel_values, sizes, [geometry.num_tokens for geometry in geometries]


def _fill_views(
    views: NDArray[np.float32], padded: NDArray[np.uint8], geometry: HdGeometry, table: NDArray[np.float32]
) -> None:
    """Writes the global view and the crops of `padded` [height, width, 3] into `views` [num_crops + 1, 3, 336, 336]."""
    rows, columns = geometry.grid
    for channel in range(3):
        plane = table[channel][padded[:, :, channel]]
        views[0, channel] = resize_bicubic(plane, CROP)
        crops = plane.reshape(rows, CROP, columns, CROP).swapaxes(1, 2)
        views[1 : rows * columns + 1, channel] = crops.reshape(-1, CROP, CROP)


@dataclass(frozen=True)
class Phi3VProcessor(TextSide):
    """What the model's original processor does, on numpy arrays."""

    tokenizer: Tokenizer
    stop_ids: tuple[int, ...]
    num_crops: int
    template: ChatTemplate
    mean: Rgb = CLIP_MEAN
    std: Rgb = CLIP_STD

    @classmethod
    def from_folder(cls, folder: Path) -> "Phi3VProcessor":
        """Reads preprocessor_config.json and the tokenizer; raises CheckpointError."""
        tokenizer = Tokenizer.from_folder(folder, phi3_prompt.STOP_TOKENS)
        for token in ("<|user|>", "<|assistant|>", "<|end|>"):
            if tokenizer.token_id(token) is None:
                raise CheckpointError(f"{folder / 'tokenizer.json'} has no token {token}; it is not a Phi-3 tokenizer")
        stops = [id_ for token in phi3_prompt.STOP_TOKENS if (id_ := tokenizer.token_id(token)) is not None]
        config = read_json(folder, "preprocessor_config.json")
        source = str(folder / "preprocessor_config.json")
        tokens_per_crop = config.get("num_img_tokens", TOKENS_PER_SIDE**2)
        if tokens_per_crop != TOKENS_PER_SIDE**2:
            raise CheckpointError(
                f"{source}: num_img_tokens is {tokens_per_crop!r}; Phi-3-Vision has {TOKENS_PER_SIDE**2}"
            )
        try:
            num_crops = count(config, "num_crops", most=MOST_VIEWS)
        except KeyError as error:
            raise CheckpointError(f"{source}: num_crops is missing; it says how many crops an image has") from error
        except ValueError as error:
            raise CheckpointError(f"{source}: {error}") from error
        mean, std = read_mean_std(config, ("image_mean", "image_std"), source)
        template = ChatTemplate.from_folder(folder, tokenizer, phi3_prompt.IMAGES, phi3_prompt.CHAT_TEMPLATE)
        stop_ids = tuple(dict.fromkeys(stops + read_stop_ids(folder, tokenizer)))
        return cls(tokenizer, stop_ids, num_crops, template, mean, std)

    @property
    def largest_id(self) -> int:
        """See `Processor.largest_id`."""
        return max(self.tokenizer.largest_id, *self.stop_ids)

    @property
    def most_views(self) -> int:
        """See `Processor.most_views`: crops."""
        return self.num_crops

    def with_most_views(self, most: int) -> "Phi3VProcessor":
        """See `Processor.with_most_views`; the graphs take any number of crops."""
        return replace(self, num_crops=most)

    def is_whole_prompt(self, text: str) -> bool:
        """See `Processor.is_whole_prompt`."""
        return phi3_prompt.is_whole_prompt(text)

    @property
    def image_tag(self) -> str:
        """See `Processor.image_tag`."""
        return "<|image_N|>"

    def __call__(self, prompt: str | Prompt, images: ImageInput | Sequence[ImageInput] | None = None) -> ModelInputs:
        """The inputs of one prompt and its images: tag N, or place N, is image N, in whatever order they come.

        The authors' model puts the first image at the first tag, whatever its number. So the rows of pixels follow
        the places in the prompt here, and a number means what it says.

        Args:
            prompt: of the chat template, or a whole prompt with control tokens and tags written out
            images: image 1, 2, ...

        Raises:
            PromptError: tags and images do not fit together
            ImageError: an image cannot be read
        """
        if not isinstance(prompt, str | Prompt):
            raise PromptError(f"the prompt is a {type(prompt).__name__}; give one text per call")
        given = as_images(images)
        numbers, encode_with = self._read(prompt, len(given))
        if not given:
            return as_inputs(encode_with([]))
        pixel_values, image_sizes, num_img_tokens = preprocess_images(given, self.num_crops, self.mean, self.std)
        inputs = as_inputs(encode_with(num_img_tokens))
        order = [number - 1 for number in dict.fromkeys(numbers)]
        if order != sorted(order):
            pixel_values, image_sizes = pixel_values[order], image_sizes[order]
        return {**inputs, "pixel_values": pixel_values, "image_sizes": image_sizes}

    def _read(self, prompt: str | Prompt, num_images: int) -> tuple[list[int], Callable[[list[int]], list[int]]]:
        """The numbers of the images in the prompt, and what makes its ids from how many positions each image takes."""
        if isinstance(prompt, str):
            texts, numbers = phi3_prompt.split_prompt(prompt, num_images)
            return numbers, lambda taken: phi3_prompt.encode_prompt(texts, numbers, taken, self.encode)
        chunks, places = prompt.split()
        phi3_prompt.check_numbers(places, num_images)
        return places, lambda taken: phi3_prompt.encode_prompt(chunks, places, taken, self.tokenizer.encode_segments)

    def apply_chat_template(self, messages: Sequence[Message], add_generation_prompt: bool = True) -> Prompt:
        """See `ChatTemplate`; images are numbered 1, 2, ... over the whole conversation."""
        return self.template(messages, add_generation_prompt)

    def count_image_tokens(self, width: int, height: int) -> int:
        """How many positions of the prompt an image of this size (in pixels) takes; raises ImageError."""
        return hd_geometry(width, height, self.num_crops).num_tokens
