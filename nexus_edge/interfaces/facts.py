"""What a runtime must know of a model, as data: the section `facts` of a bundle's manifest.

The words are closed: an image primitive, a position scheme or a kind of tokenizer that is none of these is refused by
every runtime. So a family of models is data to Swift, TypeScript or Kotlin: they implement primitives, not families.
Each number stands once: context length, logit scale and length of embeddings are the manifest's own, and names and
shapes of tensors are those of its graphs. Paths are relative to the bundle.

`runtimes/schema/manifest.schema.json` is made from these types: `python -m nexus_edge.bundle.schema`.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=1)]
TokenId = Annotated[int, Meta(ge=0)]
Deviation = Annotated[float, Meta(gt=0)]
Level = Annotated[int, Meta(ge=0, le=255)]
Rgb = tuple[float, float, float]
Filter = Literal["bilinear", "bicubic"]
"""Pillow's filter of this name, with antialiasing."""

Part = Literal["crops", "overview", "separator"]
ChatRole = Literal["system", "user", "assistant"]
Merge = Literal["replace", "add"]
Score = Literal["softmax", "sigmoid"]


class Facts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """A record whose `kind` says which of a closed set it is."""


class ImageFacts(Facts, frozen=True, kw_only=True):
    """What all image primitives share.

    Attributes:
        mean, std: of red, green and blue in 0 to 1; a pixel p becomes (p / 255 - mean) / std, in float32
        resample: how the image is resized
    """

    mean: Rgb
    std: tuple[Deviation, Deviation, Deviation]
    resample: Filter


class HdCrops(ImageFacts, frozen=True, kw_only=True, tag="hd_crops"):
    """A grid of square crops of the image's shape, padded in the middle, and an overview of the padded image.

    The HD transform of InternLM-XComposer2-4KHD (arXiv 2404.06512) with the rounding of Phi-3-Vision.

    Attributes:
        view: pixels per side of a crop and of the overview
        most_crops: without the overview
        tokens_per_side: features per side of a crop
        padding: level of the padding's pixels
        overview_resample: how the normalised padded image becomes the overview, without antialiasing
    """

    view: Count
    most_crops: Count
    tokens_per_side: Count
    padding: Level
    overview_resample: Filter


class AnyresUnpad(ImageFacts, frozen=True, kw_only=True, tag="anyres_unpad"):
    """The whole image squeezed into one view, and tiles of the grid that wastes least, whose padding has no features.

    LLaVA-NeXT's AnyRes, with the rounding of transformers 4.57.

    Attributes:
        view: pixels per side of a view
        grids: height and width in pixels of the grids to choose from; of equals the first
        tokens_per_side: features per side of a view
        padding: level of the padding's pixels
    """

    view: Count
    grids: tuple[tuple[Count, Count], ...]
    tokens_per_side: Count
    padding: Level


class SmartResize(ImageFacts, frozen=True, kw_only=True, tag="smart_resize"):
    """Both sides rounded to multiples of patch * merge, within bounds of the area.

    Qwen2-VL's `smart_resize`; halves are rounded to even.

    Attributes:
        patch: pixels per side of a patch
        merge: patches per side that become one feature
        frames: that become one patch in time
        least_pixels, most_pixels: of the resized image
    """

    patch: Count
    merge: Count
    frames: Count
    least_pixels: Count
    most_pixels: Count


class OverlapCrops(ImageFacts, frozen=True, kw_only=True, tag="overlap_crops"):
    """Crops that overlap, of which the margins have no features, and an overview.

    Molmo's `overlap-and-resize-c2` (arXiv 2409.17146).

    Attributes:
        view: pixels per side of a crop and of the overview
        most_crops: without the overview
        patch: pixels per side of a patch
        pool: patches per side that become one feature
        margins: patches at the left or top, and at the right or bottom of a crop, that its neighbour shows
        padding: level of the padding's pixels
    """

    view: Count
    most_crops: Count
    patch: Count
    pool: Count
    margins: tuple[Annotated[int, Meta(ge=0)], Annotated[int, Meta(ge=0)]]
    padding: Level


class PadSquare(ImageFacts, frozen=True, kw_only=True, tag="pad_square"):
    """The image in the middle of a square, resized.

    Attributes:
        size: pixels per side
        padding: levels of red, green and blue of the padding
    """

    size: Count
    padding: tuple[Level, Level, Level]


class CentreCrop(ImageFacts, frozen=True, kw_only=True, tag="centre_crop"):
    """The short side resized, and the square in the middle.

    Attributes:
        size: pixels per side
    """

    size: Count


Images = HdCrops | AnyresUnpad | SmartResize | OverlapCrops | PadSquare | CentreCrop


class FeatureLayout(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """In which order the features of one image take its positions in the prompt.

    Attributes:
        order: parts, one after the other; `separator` is one position
        row_ends: parts of which each row of features ends with one more position, the row separator
    """

    order: tuple[Part, ...]
    row_ends: tuple[Literal["crops", "overview"], ...]


class BytePairs(Facts, frozen=True, kw_only=True, tag="bpe"):
    """A tokenizer of byte pairs or of sentence pieces, in the format of Hugging Face's tokenizers.

    Attributes:
        file: tokenizer.json
        config: tokenizer_config.json
        bos_id: begins each text; null: nothing does
        special: ids of control tokens by their texts
    """

    file: str
    config: str
    bos_id: TokenId | None
    special: Mapping[str, TokenId]


class WordPieces(Facts, frozen=True, kw_only=True, tag="word_pieces"):
    """BERT's tokenizer, after open_clip's cleaning of texts.

    Attributes:
        file: tokenizer.json, or vocab.txt
        config: tokenizer_config.json; null where the checkpoint has none
        pad_id: fills a text up
        special: ids of control tokens by their texts
    """

    file: str
    config: str | None
    pad_id: TokenId
    special: Mapping[str, TokenId]


class Frame(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands around the texts of one message.

    Attributes:
        before, after: the texts
        between: two texts that follow each other
    """

    before: str
    between: str
    after: str


class Turns(Facts, frozen=True, kw_only=True, tag="turns"):
    """A prompt is its messages, each in the frame of its role. Control tokens in a frame are those of the tokenizer.

    Attributes:
        frames: by role; one that is absent is refused
        reply: opens the answer, unless the last message is the assistant's
        image: what stands for an image in a message; `{image}` are its positions
        images_first: images stand before all texts of their message, wherever they were
    """

    frames: Mapping[ChatRole, Frame]
    reply: str
    image: str
    images_first: bool


class JinjaTemplate(Facts, frozen=True, kw_only=True, tag="jinja"):
    """What the checkpoint's own chat template writes is no turns in frames: it takes a runtime with Jinja."""


Chat = Turns | JinjaTemplate
"""What a chat template writes."""


class ImageTags(Facts, frozen=True, kw_only=True, tag="tags"):
    """In a prompt that is written out, a tag in the text names the image that stands there.

    Attributes:
        text: of a tag, with {number}, from 1; it is no token
    """

    text: str


class ImageToken(Facts, frozen=True, kw_only=True, tag="token"):
    """In a prompt that is written out, a token is the place of the next image.

    Attributes:
        text: of the token
        id: of the token; it is repeated for each position of the image
    """

    text: str
    id: TokenId


class Sequential(Facts, frozen=True, kw_only=True, tag="sequential"):
    """Positions 0, 1, 2, ..., and one set of frequencies."""


class LongRope(Facts, frozen=True, kw_only=True, tag="longrope"):
    """Positions 0, 1, 2, ..., and two sets of frequencies (LongRoPE, arXiv 2402.13753).

    Attributes:
        limit: tokens of the longest sequence that takes the short factors; a longer one takes the long ones as a whole
    """

    limit: Count


class MRope(Facts, frozen=True, kw_only=True, tag="mrope"):
    """Three positions for each token: time, height and width (Qwen2-VL, arXiv 2409.12191).

    Attributes:
        sections: how many frequencies go by each of the three
    """

    sections: tuple[Count, Count, Count]


class VlmFacts(Facts, frozen=True, kw_only=True, tag="vlm"):
    """Of a model that answers a prompt with images.

    Attributes:
        images: from an image to views
        layout: from the features of views to positions of the prompt
        merge: what features do to the embeddings at their positions
        tokenizer: from text to ids
        chat: from a conversation to a prompt
        image_place: how a prompt that is written out says where images are
        stop_ids: end an answer
        positions: what the decoder is told of where a token stands
    """

    images: Images
    layout: FeatureLayout
    merge: Merge
    tokenizer: BytePairs
    chat: Chat
    image_place: ImageTags | ImageToken
    stop_ids: tuple[TokenId, ...]
    positions: Sequential | LongRope | MRope


class DualEncoderFacts(Facts, frozen=True, kw_only=True, tag="dual_encoder"):
    """Of a model with an image and a text tower. The factor of the cosines is the manifest's `logit_scale`.

    Attributes:
        images: from an image to the input of its tower
        tokenizer: from text to ids
        score: from cosines to probabilities
        templates: sentences around a label, whose place is {}, where the user gives none
    """

    images: Images
    tokenizer: WordPieces
    score: Score
    templates: tuple[str, ...]


RuntimeFacts = VlmFacts | DualEncoderFacts
