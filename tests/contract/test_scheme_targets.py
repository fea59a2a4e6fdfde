"""Every target computes with what was stored, in every scheme that it can hold."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import pytest
from tiny_families import Tiny
from torch import nn

from nexus_edge.axes import targets
from nexus_edge.bundle import Bundle
from nexus_edge.families import families
from nexus_edge.models.loading import build_empty
from nexus_edge.parity import ladder
from nexus_edge.parity.rungs.p4_scheme import check_weights
from nexus_edge.pipeline.export import export
from nexus_edge.pipeline.support import recipes_of, refusal
from nexus_edge.quant.schemes import available_schemes, load_scheme
from nexus_edge.recipe import GraphRecipe, Recipe


def layers_of(tiny: Tiny) -> dict[str, str]:
    """Module that a scheme can be chosen for -> its graph."""
    split, model = tiny.family.split(), build_empty(tiny.checkpoint)
    named = model.named_modules()
    return {name: split.owner(name) for name, module in named if isinstance(module, nn.Linear | nn.Embedding)}


def mixed(tiny: Tiny, target: str) -> Recipe:
    """A recipe in which each scheme that the target can hold is that of some layer."""
    held = [name for name in available_schemes() if load_scheme(name).encoding in targets()[target].encodings]
    layers = layers_of(tiny)
    assert len(layers) >= len(held)
    overrides: dict[str, dict[str, str]] = {}
    for (layer, graph), scheme in zip(layers.items(), cycle(held)):
        overrides.setdefault(graph, {})[layer] = scheme
    base = next(iter(recipes_of(tiny.family).values())).with_targets((target,))
    graphs: Mapping[str, GraphRecipe] = {
        name: GraphRecipe("float32", overrides.get(name, {}), graph.kv_cache) for name, graph in base.graphs.items()
    }
    return replace(base, name="mixed", graphs=graphs)


@pytest.mark.slow
@pytest.mark.parametrize("target", targets())
def test_a_target_computes_with_the_numbers_of_every_scheme_that_it_can_hold(
    target: str, tiny_of: Callable[[str], Tiny], tmp_path: Path
) -> None:
    """A layer of each scheme in one model: P3 holds each layer against the same codes in PyTorch, P4 the codes."""
    name = next(name for name, family in families().items() if refusal(family, targets()[target]) is None)
    tiny = tiny_of(name)
    export(tiny.checkpoint, mixed(tiny, target), tmp_path / "mixed", parity=False)
    run = ladder.prepare(Bundle.open(tmp_path / "mixed"), tiny.checkpoint)
    (rung,) = ladder.run(run, ("P3",)).rungs
    checks = [*rung.checks, *check_weights(run)]
    assert rung.reason is None and rung.checks
    assert [check.finding for check in checks if check.status == "failed"] == []
