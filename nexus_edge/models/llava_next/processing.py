"""LLaVA-NeXT: images to views, prompts to ids with the image token repeated for each feature."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nexus_edge._words import counted
from nexus_edge.configs.values import side
from nexus_edge.errors import CheckpointError, InputError, PromptError
from nexus_edge.interfaces.processor import ModelInputs
from nexus_edge.models.llava_next import prompt as llava_prompt
from nexus_edge.models.llava_next.anyres import AnyRes, read_anyres, read_pinpoints
from nexus_edge.models.llava_next.defaults import image_token, text_config
from nexus_edge.models.llava_next.prompt import IMAGE_TAG
from nexus_edge.models.llava_next.views import preprocess_images
from nexus_edge.processing.folder import read_json
from nexus_edge.processing.messages import Message
from nexus_edge.processing.normalise import CLIP_MEAN, CLIP_STD, Rgb, read_mean_std
from nexus_edge.processing.segments import Control, ImagePlace, Prompt
from nexus_edge.processing.sources import ImageInput, as_images
from nexus_edge.processing.stop_ids import ids_in, read_stop_ids
from nexus_edge.processing.templates.chat import ChatTemplate
from nexus_edge.processing.templates.source import TemplateSource, read_template, special_tokens
from nexus_edge.processing.text_side import TextSide, as_inputs
from nexus_edge.processing.tokenizer import Tokenizer


@dataclass(frozen=True)
class LlavaNextProcessor(TextSide):
    """What the model's original processor does, on numpy arrays and for one prompt."""

    tokenizer: Tokenizer
    stop_ids: tuple[int, ...]
    anyres: AnyRes
    image_token: int
    template: ChatTemplate
    mean: Rgb = CLIP_MEAN
    std: Rgb = CLIP_STD

    @classmethod
    def from_folder(cls, folder: Path) -> "LlavaNextProcessor":
        """Reads the configuration files and the tokenizer; raises CheckpointError."""
        config, source = read_json(folder, "config.json"), folder / "config.json"
        try:
            anyres, text, token = read_anyres(config), text_config(config), image_token(config)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{source}: {error}") from error
        processor, named = _image_processor(folder)
        _compare(processor, named, anyres)
        tokenizer = Tokenizer.as_written(folder, llava_prompt.CONTROL_TOKENS)
        if tokenizer.token_id(IMAGE_TAG) != token:
            raise CheckpointError(
                f"{source}: image_token_index is {token}, and {IMAGE_TAG} in tokenizer.json "
                f"{tokenizer.token_id(IMAGE_TAG)}; take both files from the same checkpoint"
            )
        stops = read_stop_ids(folder, tokenizer) + ids_in(text, f"{source}: text_config")
        end = tokenizer.token_id(llava_prompt.END)
        stops += [] if end is None else [end]
        mean, std = read_mean_std(processor, ("image_mean", "image_std"), named)
        template = _template(folder, tokenizer, text["model_type"])
        return cls(tokenizer, tuple(dict.fromkeys(stops)), anyres, token, template, mean, std)

    @property
    def largest_id(self) -> int:
        """See `Processor.largest_id`."""
        return max((self.tokenizer.largest_id, *self.stop_ids))

    @property
    def most_views(self) -> int:
        """See `Processor.most_views`: tiles of the largest grid."""
        return self.anyres.most_tiles

    def with_most_views(self, most: int) -> "LlavaNextProcessor":
        """See `Processor.with_most_views`; raises InputError: the grids are the model's own numbers."""
        if most != self.most_views:
            raise InputError(
                f"this model cuts images by image_grid_pinpoints of its config.json, into {self.most_views} tiles at "
                f"most; {most} cannot be chosen"
            )
        return self

    def is_whole_prompt(self, text: str) -> bool:
        """See `Processor.is_whole_prompt`."""
        return llava_prompt.is_whole_prompt(text)

    @property
    def image_tag(self) -> str:
        """See `Processor.image_tag`."""
        return IMAGE_TAG

    def __call__(self, prompt: str | Prompt, images: ImageInput | Sequence[ImageInput] | None = None) -> ModelInputs:
        """The inputs of one prompt and its images, as the original processor gives them.

        Args:
            prompt: of the chat template, or a whole prompt in which each `<image>` stands for the next image
            images: image 1, 2, ...

        Raises:
            PromptError: tags and images do not fit together
            ImageError: an image cannot be read
        """
        if not isinstance(prompt, str | Prompt):
            raise PromptError(f"the prompt is a {type(prompt).__name__}; give one text per call")
        given = as_images(images)
        ids, numbers = self._read(prompt)
        tags = ids.count(self.image_token)
        if tags != len(numbers) or sorted(set(numbers)) != list(range(1, len(given) + 1)):
            raise PromptError(
                f"the prompt has {counted(tags, 'image tag')}, and {counted(len(given), 'image')} "
                f"{'was' if len(given) == 1 else 'were'} given; write one {IMAGE_TAG} for each image"
            )
        if not given:
            return as_inputs(ids)
        chosen = [given[number - 1] for number in numbers]
        pixel_values, image_sizes, layouts = preprocess_images(chosen, self.anyres, self.mean, self.std)
        taken = iter(layout.num_tokens for layout in layouts)
        expanded = [one for id_ in ids for one in [id_] * (next(taken) if id_ == self.image_token else 1)]
        return {**as_inputs(expanded), "pixel_values": pixel_values, "image_sizes": image_sizes}

    def _read(self, prompt: str | Prompt) -> tuple[list[int], list[int]]:
        """Ids with the image token once for each image, and the numbers of the images in their order."""
        if isinstance(prompt, str):
            ids = self.tokenizer.encode(prompt)
            return ids, list(range(1, ids.count(self.image_token) + 1))
        numbers = [segment.number for segment in prompt.segments if isinstance(segment, ImagePlace)]
        segments = [Control(IMAGE_TAG) if isinstance(one, ImagePlace) else one for one in prompt.segments]
        return self.tokenizer.encode_segments(segments), numbers

    def apply_chat_template(self, messages: Sequence[Message], add_generation_prompt: bool = True) -> Prompt:
        """See `ChatTemplate`; the published ones have the images of a message before its text."""
        return self.template(messages, add_generation_prompt)

    def count_image_tokens(self, width: int, height: int) -> int:
        """How many positions of the prompt an image of this size (in pixels) takes."""
        return self.anyres.layout(height, width).num_tokens


def _image_processor(folder: Path) -> tuple[Mapping[str, Any], str]:
    """The image processor's object, and the file that holds it: its own, or since transformers 5 the processor's."""
    path = folder / "processor_config.json"
    inside = read_json(folder, path.name).get("image_processor") if path.is_file() else None
    if isinstance(inside, dict) and not (folder / "preprocessor_config.json").is_file():
        return inside, f"{path}: image_processor"
    return read_json(folder, "preprocessor_config.json"), str(folder / "preprocessor_config.json")


def _compare(processor: Mapping[str, Any], source: str, anyres: AnyRes) -> None:
    """Hold the image processor's numbers against the model's; raises CheckpointError."""
    try:
        given = processor.get("image_grid_pinpoints")
        if given is not None and read_pinpoints(given) != anyres.pinpoints:
            raise ValueError("image_grid_pinpoints are not those of config.json, by which the model joins the tiles")
        for key in ("size", "crop_size"):
            value = processor.get(key)
            sides = set(value.values()) if isinstance(value, dict) else {value}
            if value is not None and {side({key: one}, key) for one in sides} != {anyres.side}:
                raise ValueError(f"{key} is {value!r:.60}, and the tower's image_size {anyres.side}")
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{source}: {error}") from error


def _template(folder: Path, tokenizer: Tokenizer, decoder: str) -> ChatTemplate:
    """The checkpoint's own template, or without one that of its decoder."""
    source = read_template(folder)
    if source is None:
        chatml = tokenizer.token_id(llava_prompt.END) is not None
        format_ = "mistral" if decoder == "mistral" else "chatml" if chatml else "vicuna"
        source = TemplateSource(llava_prompt.TEMPLATES[format_], f"the built-in chat template of {format_}")
    source = replace(source, text=source.text.replace(*llava_prompt.MISTYPED))
    return ChatTemplate(source, tokenizer, llava_prompt.IMAGES, special_tokens(folder))
