"""Where image features go, beyond what the golden vectors recorded."""

import golden_phi3
import torch
from golden_phi3 import Case
from torch import Tensor

from nexus_edge.layers.hd_assembly import CropLayout, assemble, merge_patches
from nexus_edge.layers.kv_cache import KVCache

NOISE = 1e-5  # of the largest value, see test_phi3_v_stages.py


def test_images_of_a_batch_are_taken_row_by_row() -> None:
    model = golden_phi3.model()
    features = torch.randn(5, 96, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[-1, 7, -1, 8], [9, -2, -2, -3]])
    embeds = model.model.embed(ids, features)
    table = model.model.embed_tokens.weight
    assert torch.equal(embeds[0], torch.stack((features[0], table[7], features[1], table[8])))
    assert torch.equal(embeds[1], torch.stack((table[9], features[2], features[3], features[4])))


def test_padding_crops_make_no_difference() -> None:
    """The crops beyond an image's own are zeros from preprocessing; the model must not even look at them."""
    case = Case("img1")
    pixels = case.pixel_values
    assert pixels is not None
    more = torch.cat((pixels, torch.full((1, 3, 3, 336, 336), torch.nan)), dim=1)
    with torch.inference_mode():
        expected = case.model.image_features(pixels, case.image_sizes)
        assert torch.equal(case.model.image_features(more, case.image_sizes), expected)


def test_images_of_different_grids_are_independent() -> None:
    model, sizes = golden_phi3.model(), torch.tensor([[672, 336], [336, 336], [336, 1008]])
    pixels = torch.randn(3, 5, 3, 336, 336, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        together = model.image_features(pixels, sizes)
        apart = torch.cat([model.image_features(pixels[i : i + 1], sizes[i : i + 1]) for i in range(3)])
    # T = (rows * columns + 1) * 144 + 1 + (rows + 1) * 12, Phi-3-Vision's own count
    counts = [(r * c + 1) * 144 + 1 + (r + 1) * 12 for r, c in ((2, 1), (1, 1), (1, 3))]
    assert together.shape == (sum(counts), 96)
    assert (together - apart).abs().max() <= NOISE * apart.abs().max()


def test_assembly_puts_every_patch_in_its_place() -> None:
    """Against a layout written with loops: crops' rows with a separator each, one separator, the global view's rows."""
    sizes = torch.tensor([[672, 1008], [5376, 336], [336, 5376]])
    layout = CropLayout.of(sizes)
    crops = int((layout.rows * layout.columns + 1).sum())
    patches = torch.arange(crops * 576, dtype=torch.float32).view(crops, 576, 1)
    row_end, view_end = torch.full((1, 4), -1.0), torch.full((1, 4), -2.0)
    tokens = assemble(merge_patches(patches), row_end, view_end, layout)
    expected, first = [], 0
    for height, width in (sizes // 336).tolist():
        expected += _view_rows(first + 1, height, width, row_end)
        expected.append(view_end)
        expected += _view_rows(first, 1, 1, row_end)
        first += height * width + 1
    assert torch.equal(tokens, torch.cat(expected))


def _view_rows(first_crop: int, rows: int, columns: int, row_end: Tensor) -> list[Tensor]:
    lines = []
    for y in range(rows * 12):
        for x in range(columns * 12):
            crop = first_crop + y // 12 * columns + x // 12
            corner = crop * 576 + y % 12 * 48 + x % 12 * 2
            lines.append(torch.tensor([[corner, corner + 1, corner + 24, corner + 25]], dtype=torch.float32))
        lines.append(row_end)
    return lines


def test_a_second_turn_about_an_image_needs_no_image() -> None:
    case, cache, more = Case("img1"), KVCache(), torch.tensor([[5, 6, 7]])
    with torch.inference_mode():
        case.model(case.input_ids, case.pixel_values, case.image_sizes, cache=cache)
        continued = case.model(more, cache=cache)
        whole = case.model(torch.cat((case.input_ids, more), dim=1), case.pixel_values, case.image_sizes)
    assert (continued - whole[:, -3:]).abs().max() <= NOISE * whole.abs().max()
