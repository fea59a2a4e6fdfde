"""Recipes: what they say for each layer, and what is refused with a hint."""

from pathlib import Path

import pytest

from nexus_edge._resources import recipes_dir
from nexus_edge.errors import RecipeError
from nexus_edge.recipe import Recipe, find_recipe, read_recipe

VLM, TOWERS = {"vision_encoder", "embed_tokens", "decoder"}, {"image_encoder", "text_encoder"}
MODELS = {
    "biomedclip": ("microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224", TOWERS),
    "llava-next": ("llava-hf/llava-v1.6-mistral-7b-hf", VLM),
    "phi3-vision": ("microsoft/Phi-3-vision-128k-instruct", VLM),
    "phi3.5-vision": ("microsoft/Phi-3.5-vision-instruct", VLM),
}
SHIPPED = [(model, name) for model in MODELS for name in ("int4", "int8", "fp16", "fp32")]
OWN = """
name = "mine"
description = "my fine-tune"
model_type = "phi3_v"
checkpoint = "me/my-finetune"
targets = ["onnx"]
[graphs.vision_encoder]
scheme = "int8"
[graphs.vision_encoder.overrides]
"*.img_projection.*" = "float16"
[graphs.decoder]
scheme = "int4-g32"
kv_cache = "float32"
[graphs.decoder.overrides]
"model.layers.*.mlp.*" = "int8-g32"
"model.layers.0.*" = "float16"
"lm_head" = "int8-g128"
"""


def write(tmp_path: Path, text: str, name: str = "mine.toml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


@pytest.fixture
def mine(tmp_path: Path) -> Recipe:
    return read_recipe(write(tmp_path, OWN))


@pytest.mark.parametrize(
    ("graph", "fqn", "scheme"),
    [
        ("decoder", "model.layers.7.self_attn.qkv_proj", "int4-g32"),
        ("decoder", "model.layers.7.mlp.down_proj", "int8-g32"),
        ("decoder", "model.layers.0.mlp.down_proj", "float16"),  # two patterns match: the last one wins
        ("decoder", "lm_head", "int8-g128"),
        ("vision_encoder", "model.vision_embed_tokens.img_projection.0", "float16"),
        ("vision_encoder", "lm_head", "int8"),  # the other graph's patterns do not count
    ],
)
def test_the_last_pattern_that_matches_decides(graph: str, fqn: str, scheme: str, mine: Recipe) -> None:
    assert mine.scheme_for(graph, fqn) == scheme


def test_patterns_that_match_nothing_are_reported(mine: Recipe) -> None:
    modules = {"decoder": ["model.layers.0.mlp.down_proj", "lm_heads"], "vision_encoder": ["x.img_projection.0"]}
    assert mine.unused_overrides(modules) == ["decoder: lm_head"]
    assert "vision_encoder: *.img_projection.*" in mine.unused_overrides({"decoder": []})


@pytest.mark.parametrize(("model", "name"), SHIPPED)
def test_shipped_recipes_are_valid_and_named_after_their_place(model: str, name: str) -> None:
    recipe = find_recipe(model, name)
    assert recipe.name == f"{model}-{name}"
    assert (recipe.checkpoint, set(recipe.graphs)) == MODELS[model]


@pytest.mark.parametrize(("model", "name"), SHIPPED)
def test_shipped_recipes_gate_what_a_bundle_costs(model: str, name: str) -> None:
    gates = find_recipe(model, name).gates
    assert {"size_ratio", "peak_memory_ratio"} < gates.keys()
    assert any(gate.endswith("_per_s_ratio") for gate in gates)


def test_every_shipped_file_is_tested_here() -> None:
    assert sorted(SHIPPED) == sorted((path.parent.name, path.stem) for path in recipes_dir().glob("*/*.toml"))


BAD = {
    "unknown key": ('name = "mine"', 'name = "mine"\ntarget = "onnx"', "unknown key 'target'; did you mean 'targets'"),
    "unknown graph key": ('kv_cache = "float32"', 'kvcache = "float32"', "'kvcache'; did you mean 'kv_cache'"),
    "unknown scheme": ('scheme = "int8"', 'scheme = "int9"', "vision_encoder: scheme = 'int9'; did you mean 'int8"),
    "unknown override": ('= "int8-g128"', '= "int8g128"', "overrides: lm_head = 'int8g128'; did you mean 'int8-g128'"),
    "unknown target": ('["onnx"]', '["onxx"]', "targets: 'onxx'; did you mean 'onnx'"),
    "unknown system": ('name = "mine"', 'name = "mine"\ndeployment = "iOS16"', "'iOS16'; did you mean 'iOS1"),
    "no target": ('["onnx"]', "[]", "targets must name each target once"),
    "target twice": ('["onnx"]', '["onnx", "onnx"]', "targets must name each target once"),
    "unknown cache type": ('kv_cache = "float32"', 'kv_cache = "fp32"', "kv_cache = 'fp32'"),
    "number for text": ('scheme = "int8"', "scheme = 8", "scheme must be a string, not a int 8"),
    "text for list": ('["onnx"]', '"onnx"', "targets must be a list of strings"),
    "text for table": ('[graphs.decoder.overrides]', 'overrides = "x"\n[graphs.x]', "overrides: must be a table"),
    "description missing": ('description = "my fine-tune"', "", "description is missing"),
    "scheme missing": ('scheme = "int8"', "", "vision_encoder: scheme is missing"),
    "name leads elsewhere": ('name = "mine"', 'name = "../mine"', "must be letters, digits"),
    "name empty": ('name = "mine"', 'name = ""', "must be letters, digits"),
    "no TOML": ('name = "mine"', "name = mine", "is not valid TOML"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_mistake_is_named_with_its_place(case: str, tmp_path: Path) -> None:
    old, new, message = BAD[case]
    assert old in OWN
    path = write(tmp_path, OWN.replace(old, new, 1))
    with pytest.raises(RecipeError, match=message) as caught:
        read_recipe(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_a_recipe_without_graphs_points_to_those_to_copy(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"graphs is missing; copy a recipe of .*export"):
        read_recipe(write(tmp_path, OWN.partition("[graphs")[0]))


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir, lambda path: path.write_bytes(b"\xff")])
def test_a_file_that_cannot_be_read_is_a_recipe_error(make: object, tmp_path: Path) -> None:
    assert callable(make)
    make(tmp_path / "mine.toml")
    with pytest.raises(RecipeError, match=r"mine\.toml: (cannot be read|is not valid TOML)"):
        read_recipe(tmp_path / "mine.toml")


def test_extends_changes_only_what_it_names(tmp_path: Path, mine: Recipe) -> None:
    top = 'extends = "mine.toml"\nname = "other"\n[graphs.decoder.overrides]\n"*.mlp.*" = "float32"\nlm_head = "int8"\n'
    other = read_recipe(write(tmp_path, top, "other.toml"))
    assert (other.name, other.checkpoint, other.graphs["vision_encoder"]) == (
        "other", mine.checkpoint, mine.graphs["vision_encoder"]
    )  # fmt: skip
    assert other.graphs["decoder"].scheme == "int4-g32"
    assert other.scheme_for("decoder", "model.layers.0.mlp.down_proj") == "float32"  # the later pattern wins
    assert other.scheme_for("decoder", "model.layers.0.self_attn.o_proj") == "float16"
    assert other.scheme_for("decoder", "lm_head") == "int8"


def test_a_users_recipe_may_extend_a_shipped_one_from_anywhere(tmp_path: Path) -> None:
    top = 'extends = "phi3-vision/int4.toml"\nname = "mine"\ncheckpoint = "me/my-finetune"\n'
    recipe = read_recipe(write(tmp_path, top))
    assert recipe.graphs == find_recipe("phi3-vision", "int4").graphs


def test_extends_must_exist_be_text_and_come_to_an_end(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"absent\.toml: cannot be read"):
        read_recipe(write(tmp_path, 'extends = "absent.toml"'))
    with pytest.raises(RecipeError, match="extends must be a string"):
        read_recipe(write(tmp_path, "extends = 3"))
    write(tmp_path, 'extends = "a.toml"', "b.toml")
    with pytest.raises(RecipeError, match="leads back to this file"):
        read_recipe(write(tmp_path, 'extends = "b.toml"', "a.toml"))


def test_unknown_model_and_recipe_come_with_a_suggestion() -> None:
    with pytest.raises(RecipeError, match="no model 'phi3-vison'; did you mean 'phi3-vision'"):
        find_recipe("phi3-vison", "int4")
    with pytest.raises(RecipeError, match="phi3-vision has no recipe 'int3'; did you mean 'int"):
        find_recipe("phi3-vision", "int3")


def test_a_resolved_recipe_is_plain_data(mine: Recipe) -> None:
    data = mine.to_json()
    assert data["graphs"]["decoder"]["overrides"]["lm_head"] == "int8-g128"
    assert data["targets"] == ("onnx",) and "extends" not in data
