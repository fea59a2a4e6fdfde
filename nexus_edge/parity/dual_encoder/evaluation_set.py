"""What the ladder of a dual encoder looks at: real images and real sentences, the same in every run.

The images are the held-out blood cells and fields of the embedded checkpoint (BCCD, MIT licence), which the package
brings along: whatever model is judged, its towers see photographs and not noise.
"""

from dataclasses import dataclass, replace
from itertools import chain, zip_longest

from PIL import Image

from nexus_edge.assets.heldout_crops import HeldOutCrop, HeldOutImages, held_out_images
from nexus_edge.parity.dual_encoder.sentences import SENTENCES

# Parameters times images: what may run through a pair of towers. The embedded checkpoint (2 million parameters) sees
# all 150 images; BiomedCLIP (196 million) sees 24, and half of the sentences: 80 s of one core for the whole ladder.
BUDGET = 4_800_000_000
FEWEST = 12
LARGE = 50_000_000


@dataclass(frozen=True)
class Probe:
    """An image that P5 and the goldens follow from its pixels on."""

    name: str
    image: Image.Image


@dataclass(frozen=True)
class EvaluationSet:
    """Images with what is known of them, and texts.

    Attributes:
        held_out: cells with their labels and fields with their captions, as many as the model's size allows
        probes: a few images of many sizes, larger and smaller than any model's input, upright, wide, and in grey
        sentences: of biomedical figures, from one word to more than a context holds
    """

    held_out: HeldOutImages
    probes: tuple[Probe, ...]
    sentences: tuple[str, ...]

    @property
    def crops(self) -> tuple[HeldOutCrop, ...]:
        """Cells, then fields."""
        return self.held_out.cells + self.held_out.fields

    @property
    def captions(self) -> tuple[str, ...]:
        """Of the fields; each fits its own field alone."""
        return tuple(field.caption for field in self.held_out.fields)

    @property
    def prompts(self) -> tuple[str, ...]:
        """Every label in every template: all labels in the first, then all in the second, and so on."""
        held_out = self.held_out
        return tuple(template.replace("{}", label) for template in held_out.templates for label in held_out.labels)


def make_evaluation_set(parameters: int, most: int | None = None) -> EvaluationSet:
    """For a model of so many parameters; `most` limits the images further."""
    held_out = held_out_images()
    every = len(held_out.cells) + len(held_out.fields)
    images = min(every, most or every, max(FEWEST, BUDGET // parameters))
    cells = images * len(held_out.cells) // every
    by_label = [[cell for cell in held_out.cells if cell.label == label] for label in held_out.labels]
    in_turn = [cell for cell in chain.from_iterable(zip_longest(*by_label)) if cell is not None]
    fewer = replace(held_out, cells=tuple(in_turn[:cells]), fields=held_out.fields[: images - cells])
    # From the end, where the text is that every context cuts.
    sentences = SENTENCES[::-2][::-1] if parameters > LARGE else SENTENCES
    return EvaluationSet(fewer, _probes(held_out), sentences)


def _probes(held_out: HeldOutImages) -> tuple[Probe, ...]:
    sizes = {crop: Image.open(crop.path).size[0] for crop in held_out.cells}
    smallest, largest = min(sizes, key=lambda crop: sizes[crop]), max(sizes, key=lambda crop: sizes[crop])
    smear, other = (_read(crop) for crop in held_out.smears[:2])
    return (
        Probe("smallest cell", _read(smallest)),
        Probe("largest cell", _read(largest)),
        Probe("field", _read(held_out.fields[0])),
        Probe("wide smear", smear),
        Probe("upright part of a smear", smear.crop((67, 11, 298, 402))),
        Probe("wide part of a smear, grey", other.crop((20, 40, 421, 271)).convert("L")),
    )


def _read(crop: HeldOutCrop) -> Image.Image:
    with Image.open(crop.path) as image:
        return image.convert("RGB")
