"""Quantized layers go through torch.export on the meta device as one op each, with dynamic shapes."""

import pytest
import torch
from torch import Tensor, nn

from nexus_edge.quant.apply import quantize_modules
from nexus_edge.quant.schemes import Scheme, available_schemes, load_scheme


class _Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(100, 64)
        self.block = nn.ModuleDict({"proj": nn.Linear(64, 48, bias=True)})
        self.head = nn.Linear(48, 100, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.block["proj"](self.embed(ids)))


@pytest.mark.parametrize("name", available_schemes())
def test_layers_survive_export_on_meta(name: str) -> None:
    scheme = load_scheme(name)
    with torch.device("meta"):
        model = _Toy().eval()
    quantize_modules(model, lambda _: scheme)
    ids = torch.zeros(2, 7, dtype=torch.int64, device="meta")
    shapes = {"ids": {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")}}
    program = torch.export.export(model, (ids,), dynamic_shapes=shapes, strict=False)

    output = program.graph_module.graph.output_node().args[0][0].meta["val"]
    batch, tokens, vocab = output.shape
    assert isinstance(batch, torch.SymInt)
    assert isinstance(tokens, torch.SymInt)
    assert (vocab, output.dtype) == (100, torch.float32)
    targets = [str(node.target) for node in program.graph.nodes]
    assert sum(target.startswith("nexus.matmul") for target in targets) == (0 if scheme.is_float else 2)
    assert sum(target.startswith("nexus.gather_quantized") for target in targets) == (
        scheme.group_size > 0 and not scheme.two_level
    )


def test_the_scheme_is_chosen_by_full_name() -> None:
    asked = []

    def scheme_for(name: str) -> Scheme:
        asked.append(name)
        return load_scheme("int8" if name == "block.proj" else "float32")

    with torch.device("meta"):
        model = _Toy()
    quantize_modules(model, scheme_for)
    assert asked == ["embed", "head", "block.proj"]
    assert set(model.state_dict()) == {
        "embed.weight", "head.weight", "block.proj.qweight", "block.proj.scales", "block.proj.bias",
    }  # fmt: skip
