"""The two orders of the HD layout, against the authors' own: rows joined with their ends, then concatenated."""

import pytest
import torch
from torch import Tensor

from nexus_edge.layers.hd_assembly import CROP, CropLayout, assemble
from nexus_edge.models.phi3_v.hd_layout import Separators, lay_out_joined

WIDTH, SIDE = 3, 12


def with_ends(rows: Tensor, end: Tensor) -> Tensor:
    """[rows, columns, width] -> one after the other, each with the separator after it."""
    return torch.cat([torch.cat([row, end]) for row in rows])


def by_hand(images: list[Tensor], grids: list[tuple[int, int]], sub: Tensor, glb: Tensor, order: str) -> Tensor:
    parts = []
    for crops, (rows, columns) in zip(images, grids, strict=True):
        views = crops.view(-1, SIDE, SIDE, WIDTH)
        joined = torch.cat(
            [torch.cat([views[1 + row * columns + column] for column in range(columns)], 1) for row in range(rows)]
        )
        by_view = [with_ends(joined, sub), glb, with_ends(views[0], sub)]
        parts += by_view if order == "sub_glb" else by_view[::-1]
    return torch.cat(parts)


@pytest.mark.parametrize("order", ["sub_glb", "glb_sub"])
def test_both_orders(order: str) -> None:
    grids = [(1, 1), (2, 3), (3, 1)]
    generator = torch.Generator().manual_seed(7)
    images = [torch.randn((rows * columns + 1) * 144, WIDTH, generator=generator) for rows, columns in grids]
    sub, glb = torch.full((1, WIDTH), 100.0), torch.full((1, WIDTH), 200.0)
    layout = CropLayout.of(torch.tensor(grids) * CROP)
    found = assemble(torch.cat(images), sub, glb, layout, global_first=order == "glb_sub")
    assert torch.equal(found, by_hand(images, grids, sub, glb, order))


@pytest.mark.parametrize("order", ["sub_glb", "glb_sub"])
def test_both_orders_in_a_runtime(order: str) -> None:
    views = torch.randn(7 * 144, WIDTH, generator=torch.Generator().manual_seed(7))
    sub, glb = torch.full((1, WIDTH), 100.0), torch.full((1, WIDTH), 200.0)
    found = lay_out_joined(
        views.view(7, SIDE, SIDE, WIDTH).numpy(), (2, 3), Separators(sub[0].numpy(), glb[0].numpy()),
        global_first=order == "glb_sub",
    )  # fmt: skip
    assert torch.equal(torch.from_numpy(found), by_hand([views], [(2, 3)], sub, glb, order))


def test_rows_of_one_order_move_into_the_other() -> None:
    """OpenVINO's projection graph does this for a runtime that knows the crops first only."""
    pytest.importorskip("openvino", reason="needs the extra `openvino`")
    from nexus_edge.models.phi3_v.clients.openvino_genai_modules import global_view_first

    views = torch.randn(3 * 144, WIDTH, generator=torch.Generator().manual_seed(7))
    sub, glb = torch.full((1, WIDTH), 100.0), torch.full((1, WIDTH), 200.0)
    given, wanted = (by_hand([views], [(1, 2)], sub, glb, order) for order in ("sub_glb", "glb_sub"))
    assert torch.equal(global_view_first(given[None])[0], wanted)
