"""Images and texts to the towers' inputs, as open_clip's documentation and BERT's paper describe the steps.

Deliberately no line is shared with `nexus_edge.processing`, and neither are Pillow's resampling and the tokenizers
package: images are resized by torch, words are cut by a dozen lines of Python. P5 holds the runtime's inputs against
these.
"""

import html
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

# open_clip's OPENAI_DATASET_MEAN and OPENAI_DATASET_STD, which count where a checkpoint names none.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class OriginalInputs:
    """Settings of one checkpoint.

    Attributes:
        size: of the image tower's input, in pixels
        interpolation: filter of the resize, by torch's name
        mean, std: per channel, for pixels of 0..1
        context: most tokens of a text
        vocabulary: word piece -> id
        lowercase: BERT's uncased kind, which drops accents as well
    """

    size: int
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    context: int
    vocabulary: Mapping[str, int]
    lowercase: bool

    @classmethod
    def of(cls, config: Mapping[str, Any], files: Mapping[str, bytes]) -> "OriginalInputs":
        """From open_clip's configuration and the checkpoint's tokenizer files."""
        model, preprocess = config["model_cfg"], config.get("preprocess_cfg") or {}
        vocabulary, lowercase = _vocabulary(files)
        return cls(
            size=int(model["vision_cfg"].get("image_size", 224)),
            interpolation=preprocess.get("interpolation") or "bicubic",
            mean=tuple(preprocess.get("mean") or MEAN),
            std=tuple(preprocess.get("std") or STD),
            context=int(model["text_cfg"].get("context_length", 77)),
            vocabulary=vocabulary,
            lowercase=lowercase,
        )

    def pixels(self, images: Sequence[Image.Image]) -> Tensor:
        """[images, 3, size, size]: shortest side to `size` with an antialiased filter, the middle, normalized."""
        mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (self.mean, self.std))
        return torch.stack([(self._square(image) / 255 - mean) / std for image in images])

    def _square(self, image: Image.Image) -> Tensor:
        """float32 [3, size, size] of whole numbers 0..255."""
        if image.mode != "RGB":
            image = image.convert("RGB")
        raw = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
        pixels = raw.reshape(image.height, image.width, 3).permute(2, 0, 1)
        shortest = min(image.size)
        height, width = (int(self.size * side / shortest) for side in (image.height, image.width))
        resized = interpolate(pixels[None], size=(height, width), mode=self.interpolation, antialias=True)[0]
        top, left = round((height - self.size) / 2), round((width - self.size) / 2)
        return resized[:, top : top + self.size, left : left + self.size].float()

    def ids(self, texts: Sequence[str]) -> Tensor:
        """int64 [texts, context]: [CLS], word pieces, [SEP], then zeros."""
        table = torch.zeros(len(texts), self.context, dtype=torch.int64)
        for row, text in zip(table, texts, strict=True):
            pieces = [piece for word in self._words(text) for piece in self._pieces(word)]
            kept = ["[CLS]", *pieces[: self.context - 2], "[SEP]"]
            row[: len(kept)] = torch.tensor([self.vocabulary[piece] for piece in kept])
        return table

    def _words(self, text: str) -> list[str]:
        """Cut at white space and around each punctuation mark (Devlin et al. 2018, section A.2)."""
        text = html.unescape(html.unescape(text))
        if self.lowercase:
            text = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
        return "".join(f" {c} " if _stands_alone(c) else c for c in text).split()

    def _pieces(self, word: str) -> list[str]:
        """The longest piece that fits, again and again; a word with a rest that nothing fits is unknown as a whole."""
        found: list[str] = []
        start = 0
        while start < len(word):
            fitting = (word[start:end] for end in range(len(word), start, -1))
            known = (piece for piece in fitting if ("##" + piece if start else piece) in self.vocabulary)
            piece = next(known, "")
            if not piece:
                return ["[UNK]"]
            found.append("##" + piece if start else piece)
            start += len(piece)
        return found


def _stands_alone(character: str) -> bool:
    """Punctuation in BERT's sense: also the ASCII signs that Unicode calls symbols, and each Chinese character."""
    code = ord(character)
    is_sign = 33 <= code <= 126 and not character.isalnum()
    return is_sign or unicodedata.category(character).startswith("P") or 0x4E00 <= code <= 0x9FFF


def _vocabulary(files: Mapping[str, bytes]) -> tuple[dict[str, int], bool]:
    """Pieces with their ids, and whether the tokenizer is uncased."""
    if "tokenizer.json" in files:
        document = json.loads(files["tokenizer.json"])
        normalizer = document.get("normalizer") or {}
        return document["model"]["vocab"], bool(normalizer.get("lowercase"))
    pieces = files["vocab.txt"].decode("utf-8").split("\n")
    config = json.loads(files.get("tokenizer_config.json", b"{}"))
    return {piece: index for index, piece in enumerate(pieces) if piece}, config.get("do_lower_case") is not False
