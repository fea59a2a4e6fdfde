"""Packed training batches: one picture per row, several questions behind its image prefix."""

from dataclasses import dataclass

import numpy as np
import torch
from model import image_positions
from PIL import Image
from questions import QA, TRAINING_MIX, ask, subjects, without_picture
from scenes import COLORS, KINDS, WORDS, Scene, make_scene
from tokenizers import Tokenizer
from torch import Tensor

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
IMAGE_TOKENS, BLOCKS = 313, 144
HELD_OUT = 10_000_000  # seeds from here on are never trained on


@dataclass(frozen=True)
class Batch:
    """What one forward pass reads.

    pixels [b, 3, 336, 336]; keep [b, kept]: the blocks of 2 x 2 patches looked at; labels [b, 4, kept, 4]: what covers
    each patch; ids and positions [b, n]; mask [b, 1, n, n], true where a token sees another; targets [b, n]: the token
    to predict, or -1; weights [b, n]: its share in the loss; pointers
    int64 [b, n]: the items, as bits, that a token of an answer is about.
    """

    pixels: Tensor
    labels: Tensor
    keep: Tensor
    ids: Tensor
    positions: Tensor
    mask: Tensor
    targets: Tensor
    weights: Tensor
    pointers: Tensor


def view_of(scene: Scene) -> tuple[Image.Image, float, int, int]:
    """The one view that num_crops = 1 makes: longer side 336, white bars. Also scale and offsets (x, y) in pixels."""
    width, height = scene.image.size
    tall = width < height
    # The original transposes tall pictures, so rounding and padding always happen on the shorter side.
    picture = scene.image.transpose(Image.Transpose.TRANSPOSE) if tall else scene.image
    short = int(336 / (max(width, height) / min(width, height)))
    bar = (336 - short) // 2
    view = Image.new("RGB", (336, 336), "white")
    view.paste(picture.resize((336, short), Image.Resampling.BILINEAR), (0, bar))
    view = view.transpose(Image.Transpose.TRANSPOSE) if tall else view
    return view, 336 / max(width, height), bar if tall else 0, 0 if tall else bar


def patch_labels(scene: Scene, scale: float, x: int, y: int) -> np.ndarray:
    """What covers each patch: int64 [4, 144, 4] of kind, colour, place and item.

    Kind and colour 0 are background, place 0 is a white bar. Places 1 to 9 are the cells, also where nothing is drawn;
    10 to 12 are the rows of a word, on the word. Items are numbered from 1, as in the scene.
    """
    labels = np.zeros((4, 24, 24), np.int64)
    centres = np.arange(24) * 14 + 7.0
    width, height = (side * scale for side in scene.image.size)
    column, row = np.floor((centres - x) / width * 3), np.floor((centres - y) / height * 3)
    inside = ((row >= 0) & (row < 3))[:, None] & ((column >= 0) & (column < 3))
    labels[2] = np.where(inside, row[:, None] * 3 + column + 1, 0)
    for number, item in enumerate(scene.items, 1):
        edges = [round((v * scale + o) / 14) for v, o in zip(item.box, (x, y, x, y), strict=True)]
        left, top, right, bottom = edges
        area = np.s_[top : max(bottom, top + 1), left : max(right, left + 1)]
        place = item.place + (10 if item.kind in WORDS else 1)
        values = (KINDS.index(item.kind) + 1, list(COLORS).index(item.color) + 1, place, number)
        for plane, label in zip(labels, values, strict=True):
            plane[area] = label
    return labels.reshape(4, 12, 2, 12, 2).swapaxes(2, 3).reshape(4, BLOCKS, 4)


def choose_blocks(kinds: np.ndarray, kept: int, rng: np.random.Generator) -> np.ndarray:
    """`kept` of the 144 blocks, ascending: those with something on them first, then background at random."""
    score = (kinds > 0).any(1) + rng.random(BLOCKS)
    return np.sort(np.argsort(-score)[:kept])


def _segment(tokenizer: Tokenizer, qa: QA, opening: str, bos: bool) -> tuple[list[int], list[int], list[float]]:
    """ids, targets and weights of one question with its answer; the loss is on the answer and its <|end|>.

    An answer of n tokens weighs sqrt(n), so that descriptions do not outweigh everything else.
    """
    asked = tokenizer.encode(f"{opening}{qa.question}<|end|>\n<|assistant|>\n", add_special_tokens=bos).ids
    answer = tokenizer.encode(f"{qa.answer}<|end|>", add_special_tokens=False).ids
    ids, silent = asked + answer, len(asked) - 1
    return ids, [-1] * silent + answer + [-1], [len(answer) ** -0.5] * len(ids)


def _pointers(tokenizer: Tokenizer, scene: Scene, qa: QA) -> list[int]:
    """For each token of an answer but its end: the items it is about, as bits. A description goes item by item."""
    answer = tokenizer.encode(qa.answer, add_special_tokens=False).tokens
    if qa.kind != "describe":
        return [sum(1 << i for i in subjects(scene, qa.question))] * len(answer)
    return [0 if token == "," else 1 << answer[:n].count(",") for n, token in enumerate(answer)]


def pack(
    tokenizer: Tokenizer, places: list[int], qas: list[QA], alone: QA | None, turns: bool, scene: Scene
) -> tuple[list, ...]:
    """One row behind image tokens at `places`: ids, positions, targets, segment numbers, weights and pointers.

    Segments: 0 is the prefix, -1 the question without a picture.

    With `turns` the questions are one conversation: each sees those before it. Else each sees the prefix and itself.
    """
    opening = tokenizer.encode("<|user|>\n").ids
    ids = [*opening, *[-1] * len(places)]
    positions = [*range(len(opening)), *(len(opening) + place for place in places)]
    targets, segments, weights, pointers = [-1] * len(ids), [0] * len(ids), [0.0] * len(ids), [0] * len(ids)
    after = len(opening) + IMAGE_TOKENS
    for number, qa in enumerate(qas, 1):
        later = turns and number > 1
        seg, want, share = _segment(tokenizer, qa, "\n<|user|>\n" if later else "\n", bos=not later)
        start = positions[-1] + 1 if later else after
        ids += seg
        targets += want
        about = _pointers(tokenizer, scene, qa)
        pointers += [*[0] * (len(seg) - len(about) - 2), *about, 0, 0]
        weights += share
        positions += range(start, start + len(seg))
        segments += [1 if turns else number] * len(seg)
    if alone is not None:
        seg, want, share = _segment(tokenizer, alone, "<|user|>\n", bos=True)
        ids, targets, weights = ids + seg, targets + want, weights + share
        positions += range(len(seg))
        pointers += [0] * len(seg)
        segments += [-1] * len(seg)
    return ids, positions, targets, segments, weights, pointers


def make_batch(tokenizer: Tokenizer, seeds: list[int], questions: int, kept: int = BLOCKS) -> Batch:
    """The batch of these picture seeds. With no questions the token fields are empty: the tower's own lessons."""
    pixels, labels, keeps, rows = [], [], [], []
    for seed in seeds:
        scene, rng = make_scene(seed), np.random.default_rng([seed, 1])
        view, scale, x, y = view_of(scene)
        covered = patch_labels(scene, scale, x, y)
        keep = choose_blocks(covered[0], kept, np.random.default_rng([seed, 2]))
        pixels.append(torch.from_numpy(np.array(view)))
        labels.append(torch.from_numpy(covered[:, keep]))
        keeps.append(torch.from_numpy(keep))
        if questions:
            alone = without_picture(rng, scene) if rng.random() < 0.25 else None
            places = image_positions(keeps[-1][None])[0].tolist()
            asked, turns = ask(scene, rng, questions, TRAINING_MIX), rng.random() < 0.15
            rows.append(pack(tokenizer, places, asked, alone, turns, scene))
    longest = max((len(row[0]) for row in rows), default=0)

    def column(index: int, fill: float) -> Tensor:
        padded = [row[index] + [fill] * (longest - len(row[index])) for row in rows]
        return torch.tensor(padded, dtype=torch.int64 if isinstance(fill, int) else torch.float32).view(
            -1, longest or 1
        )

    ids, positions, targets, segments, weights, pointers = (
        column(index, fill) for index, fill in enumerate((0, 0, -1, -2, 0.0, 0))
    )
    sees_prefix = (segments[:, :, None] > 0) & (segments[:, None, :] == 0)
    mask = ((segments[:, :, None] == segments[:, None, :]) | sees_prefix).tril().unsqueeze(1)
    stacked = (torch.stack(pixels).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD
    return Batch(stacked, torch.stack(labels), torch.stack(keeps), ids, positions, mask, targets, weights, pointers)
