"""A manifest whose recipe is none: P0 says so in one line, whatever stands there."""

import json
from dataclasses import replace
from typing import Any

import pytest

from nexus_edge.bundle import Bundle
from nexus_edge.errors import BundleError
from nexus_edge.parity.sources import recipe_of
from nexus_edge.recipe import find_recipe


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        *((("graphs",), value) for value in (None, {}, [], "x", {"decoder": None})),
        *((("graphs", "decoder", "scheme"), value) for value in (None, [], {}, "no-such-scheme", 7)),
        *((("graphs", "decoder", "overrides"), value) for value in (None, [], {"*": None}, {"*": "nothing"})),
        *((("model_type",), value) for value in (None, 5)),
        *((("checkpoint",), value) for value in ([], None)),
        *((("targets",), value) for value in ("onnx", None, [7])),
        *((("gates",), value) for value in ([], {"size_ratio": "x"})),
        (("surprise",), 1),
    ],
)
def test_a_recipe_that_is_none_is_named(toy_bundle: Bundle, keys: tuple[str, ...], value: Any) -> None:
    recipe: Any = json.loads(json.dumps(find_recipe("phi3-vision", "int4").to_json()))
    table = recipe
    for key in keys[:-1]:
        table = table[key]
    table[keys[-1]] = value
    with pytest.raises(BundleError, match=r"^manifest\.json: recipe"):
        recipe_of(replace(toy_bundle.manifest, recipe=recipe))


def test_the_recipe_of_a_sound_bundle_is_read(toy_bundle: Bundle) -> None:
    recipe = find_recipe("phi3-vision", "int4")
    written = json.loads(json.dumps(recipe.to_json()))
    assert recipe_of(replace(toy_bundle.manifest, recipe=written)) == recipe
