"""Lays the crops of high-resolution images out as one token sequence, with learned separators between rows.

Source: the HD transform of InternLM-XComposer2-4KHD (arXiv 2404.06512) in the two orders of Phi-3-Vision's code:
all rows of the crops' joint grid, one separator, all rows of the global view ("sub_glb", which the published models
use), or the global view first ("glb_sub"); every row ends in a row separator.

Everything here is arithmetic on indices followed by one gather, so that any grid and any number of images go through
one exported graph without a loop.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

CROP = 336  # pixels along one side of a crop
MERGED = 12  # merged patches along one side of a crop: 24 x 24 patches, merged 2 x 2
GLOBAL_TOKENS = MERGED * (MERGED + 1)  # of the global view: its rows, with a separator each


@dataclass(frozen=True)
class CropLayout:
    """Which crops of the padded batch exist, for `n` images.

    rows, columns: int64 [n], the grid of crops of each image, the global view not counted
    starts: int64 [n], where each image's first crop stands among all existing crops
    """

    rows: Tensor
    columns: Tensor
    starts: Tensor

    @classmethod
    def of(cls, image_sizes: Tensor) -> "CropLayout":
        """From the padded sizes in pixels, int64 [n, 2] as (height, width), multiples of `CROP`."""
        rows, columns = (image_sizes // CROP).unbind(1)
        counts = rows * columns + 1
        return cls(rows, columns, counts.cumsum(0) - counts)


def existing_crops(pixel_values: Tensor, layout: CropLayout) -> Tensor:
    """Drop the padding crops: [n, crops, 3, 336, 336] -> [existing crops, 3, 336, 336], each global view first."""
    owner, place = _owners(layout.rows * layout.columns + 1)
    return _pick(pixel_values.flatten(0, 1), owner * pixel_values.shape[1] + place)


def merge_patches(features: Tensor) -> Tensor:
    """Join each 2 x 2 block of patches: [crops, 576, hidden] -> [crops * 144, 4 * hidden], in order (row, column)."""
    hidden = features.shape[-1]
    blocks = features.view(-1, MERGED, 2, MERGED, 2, hidden).permute(0, 1, 3, 2, 4, 5)
    return blocks.reshape(-1, 4 * hidden)


def assemble(
    patches: Tensor, row_separator: Tensor, view_separator: Tensor, layout: CropLayout, *, global_first: bool = False
) -> Tensor:
    """Put the merged patches of all images in reading order.

    Args:
        patches: [existing crops * 144, width]
        row_separator, view_separator: [1, width] (`sub_GN` and `glb_GN` of the checkpoint)
        global_first: the global view's rows before those of the crops

    Returns:
        [image tokens of all images, width]
    """
    rows, columns = layout.rows * MERGED, layout.columns * MERGED
    crop_tokens = rows * (columns + 1)
    owner, place = _owners(crop_tokens + 1 + GLOBAL_TOKENS)
    first_patch = _pick(layout.starts, owner) * MERGED * MERGED
    rows_end = _pick(crop_tokens, owner)
    width = _pick(columns, owner)
    if global_first:  # the places as they would be with the crops first
        place = torch.where(place < GLOBAL_TOKENS, place + rows_end + 1, place - GLOBAL_TOKENS - 1)
        place = torch.where(place < 0, rows_end, place)

    row, column = _divide(place, width + 1)
    crop_row, patch_row = _divide(row, MERGED)
    crop_column, patch_column = _divide(column, MERGED)
    crop = 1 + crop_row * (width // MERGED) + crop_column  # the global view is crop 0
    from_crops = first_patch + (crop * MERGED + patch_row) * MERGED + patch_column

    global_row, global_column = _divide(place - rows_end - 1, MERGED + 1)
    from_global = first_patch + global_row * MERGED + global_column

    in_crops = place < rows_end
    ends_row = torch.where(in_crops, width - column, MERGED - global_column) == 0
    row_index, view_index = patches.shape[0], patches.shape[0] + 1
    index = torch.where(in_crops, from_crops, from_global)
    index = torch.where(ends_row, row_index, index)
    index = torch.where(place == rows_end, view_index, index)
    return _pick(torch.cat((patches, row_separator, view_separator)), index)


def _owners(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Number `counts.sum()` items: which image each belongs to, and its place within that image."""
    ends = counts.cumsum(0)
    total = cast("int", counts.sum().item())  # symbolic while exporting, so it must not go through int()
    torch._check(total >= 1)
    item = torch.arange(total, device=counts.device)
    owner = (item.unsqueeze(1) >= ends).sum(1)
    return owner, item - _pick(ends - counts, owner)


def _pick(x: Tensor, index: Tensor) -> Tensor:
    """Entries of the first axis; `index_select` exports as one Gather, indexing with brackets does not."""
    return x.index_select(0, index)


def _divide(dividend: Tensor, divisor: Tensor | int) -> tuple[Tensor, Tensor]:
    """Quotient and remainder."""
    quotient = dividend // divisor
    return quotient, dividend - quotient * divisor
