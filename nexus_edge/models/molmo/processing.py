"""Molmo: an image to overlapping crops, a prompt to ids with the image's tokens before it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nexus_edge.configs.values import count
from nexus_edge.errors import CheckpointError, InputError, PromptError
from nexus_edge.interfaces.processor import ModelInputs
from nexus_edge.models.molmo import prompt as molmo_prompt
from nexus_edge.models.molmo.crops import layout_of
from nexus_edge.models.molmo.params import VOCAB_SIZE
from nexus_edge.models.molmo.views import preprocess_image
from nexus_edge.processing.folder import read_json
from nexus_edge.processing.images import load_image
from nexus_edge.processing.messages import Message
from nexus_edge.processing.normalise import CLIP_MEAN, CLIP_STD, Rgb, read_mean_std
from nexus_edge.processing.segments import Control, ImagePlace, Prompt
from nexus_edge.processing.sources import ImageInput, as_images, name_of
from nexus_edge.processing.stop_ids import read_stop_ids
from nexus_edge.processing.text_side import TextSide, as_inputs
from nexus_edge.processing.tokenizer import Tokenizer, read_tokenizer

MOST_CROPS = 256
"""At most, of `max_crops`: 21 times the published number, 37 megapixels."""


@dataclass(frozen=True)
class MolmoProcessor(TextSide):
    """What the model's original processor does, on numpy arrays and for one prompt."""

    tokenizer: Tokenizer
    stop_ids: tuple[int, ...]
    max_crops: int
    mean: Rgb = CLIP_MEAN
    std: Rgb = CLIP_STD

    @classmethod
    def from_folder(cls, folder: Path) -> "MolmoProcessor":
        """Reads the configuration files and the tokenizer; raises CheckpointError."""
        tokenizer = _tokenizer(folder)
        config, source = read_json(folder, "preprocessor_config.json"), str(folder / "preprocessor_config.json")
        _check_image_tokens(folder, tokenizer)
        try:
            max_crops = count(config, "max_crops", most=MOST_CROPS)
        except (KeyError, ValueError) as error:
            raise CheckpointError(f"{source}: {error}") from error
        mean, std = read_mean_std(config, ("image_mean", "image_std"), source)
        stops = tuple(dict.fromkeys(read_stop_ids(folder, tokenizer)))
        return cls(tokenizer, stops, max_crops, mean, std)

    @property
    def largest_id(self) -> int:
        """See `Processor.largest_id`."""
        return max((self.tokenizer.largest_id, *self.stop_ids))

    @property
    def most_views(self) -> int:
        """See `Processor.most_views`: crops."""
        return self.max_crops

    def with_most_views(self, most: int) -> "MolmoProcessor":
        """See `Processor.with_most_views`; the graphs take any number of crops. Raises InputError."""
        if not 1 <= most <= MOST_CROPS:
            raise InputError(f"max_crops is {most}; it must be 1 to {MOST_CROPS}")
        return replace(self, max_crops=most)

    def is_whole_prompt(self, text: str) -> bool:
        """See `Processor.is_whole_prompt`."""
        return molmo_prompt.is_whole_prompt(text)

    @property
    def image_tag(self) -> str:
        """See `Processor.image_tag`."""
        return molmo_prompt.IMAGE

    def __call__(self, prompt: str | Prompt, images: ImageInput | Sequence[ImageInput] | None = None) -> ModelInputs:
        """The inputs of one prompt and its image: pixel_values [1, views, 3, 336, 336], the whole and the crops.

        The original gives masks and positions of the features besides; they follow from size and views (`crops`).

        Args:
            prompt: of the chat template, or a whole prompt such as " User: ... Assistant:", before which the image's
                tokens are put
            images: one image at most

        Raises:
            PromptError: the prompt has places for other images, or tokens of images
            ImageError: the image cannot be read
        """
        if not isinstance(prompt, str | Prompt):
            raise PromptError(f"the prompt is a {type(prompt).__name__}; give one text per call")
        given = as_images(images)
        text = self._text_ids(prompt, len(given))
        if not given:
            return self._inputs(text)
        image = load_image(given[0], name_of(given[0], "image 1"))
        views, layout = preprocess_image(image, self.max_crops, self.mean, self.std)
        tokens = self.tokenizer.encode_segments(molmo_prompt.image_segments(layout), add_bos=False)
        sizes = np.array([[image.height, image.width]], dtype=np.int64)
        return {**self._inputs([*tokens, *text]), "pixel_values": views[None], "image_sizes": sizes}

    def _inputs(self, ids: list[int]) -> ModelInputs:
        """The first id goes before image and text."""
        return as_inputs(ids if self.tokenizer.bos_id is None else [self.tokenizer.bos_id, *ids])

    def _text_ids(self, prompt: str | Prompt, given: int) -> list[int]:
        """Ids of the text of a prompt, which none of the images' tokens is among."""
        if isinstance(prompt, str):
            ids = self.tokenizer.encode(prompt, add_bos=False)
            molmo_prompt.check_images(range(1, given + 1), given)
        else:
            places = [one.number for one in prompt.segments if isinstance(one, ImagePlace)]
            molmo_prompt.check_images(places, given)
            if any(isinstance(one, ImagePlace) for one in prompt.segments[len(places) :]):
                raise PromptError("Molmo reads the image before all text; put the image first")
            segments = [one for one in prompt.segments if isinstance(one, str | Control)]
            ids = self.tokenizer.encode_segments(segments, add_bos=False)
        reserved = {self.token_id(token) for token in molmo_prompt.IMAGE_TOKENS}
        if reserved.intersection(ids):
            raise PromptError(
                f"the prompt has tokens of images ({', '.join(molmo_prompt.IMAGE_TOKENS)}); leave them out, they are "
                "put before the prompt where an image is given"
            )
        return ids

    def apply_chat_template(self, messages: Sequence[Message], add_generation_prompt: bool = True) -> Prompt:
        """See `prompt.apply_chat_template`."""
        return molmo_prompt.apply_chat_template(messages, add_generation_prompt)

    def count_image_tokens(self, width: int, height: int) -> int:
        """How many positions of the prompt an image of this size (in pixels) takes."""
        return layout_of(height, width, self.max_crops).num_tokens


def _tokenizer(folder: Path) -> Tokenizer:
    """With the token that begins a prompt: bos_token, or where there is none eos_token; raises CheckpointError."""
    config, path = read_json(folder, "tokenizer_config.json"), folder / "tokenizer.json"
    key = "eos_token" if config.get("bos_token") is None else "bos_token"
    token = config.get(key)
    text = token.get("content") if isinstance(token, dict) else token  # older files hold the token's flags as well
    core = read_tokenizer(path)
    id_ = core.token_to_id(text) if isinstance(text, str) else None
    if id_ is None:
        raise CheckpointError(f"{folder / 'tokenizer_config.json'}: {key} {text!r:.60} is not in {path.name}; fix one")
    return Tokenizer(core, id_, molmo_prompt.IMAGE_TOKENS)


def _check_image_tokens(folder: Path, tokenizer: Tokenizer) -> None:
    """The model knows image tokens by their ids alone, those after the vocabulary; raises CheckpointError."""
    config: Mapping[str, Any] = read_json(folder, "config.json")
    try:
        first = count(config, "vocab_size", VOCAB_SIZE)
    except ValueError as error:
        raise CheckpointError(f"{folder / 'config.json'}: {error}") from error
    for id_, token in enumerate(molmo_prompt.IMAGE_TOKENS, first):
        if tokenizer.token_id(token) != id_:
            raise CheckpointError(
                f"{folder / 'tokenizer.json'}: {token} has id {tokenizer.token_id(token)}, and vocab_size in "
                f"config.json is {first}, which makes it {id_}; take both files from the same checkpoint"
            )
