"""What a model asks of a checkpoint: every key, every shape, and nothing else."""

import pytest

from nexus_edge.checkpoints import TensorInfo, check_keys
from nexus_edge.errors import CheckpointError
from nexus_edge.models.phi3_v.model import weight_rules

RULES, TIED = weight_rules({}), weight_rules({"tie_word_embeddings": True})
EXPECTED = {"model.embed_tokens.weight": (4, 3), "model.norm.weight": (3,)}
FOUND = {key: TensorInfo("bfloat16", shape) for key, shape in EXPECTED.items()}
ALIAS = "model.vision_embed_tokens.wte.weight"


def test_known_extras_are_ignored() -> None:
    found = {**FOUND, ALIAS: FOUND["model.embed_tokens.weight"], "a.b.position_ids": TensorInfo("int64", (1, 577))}
    assert check_keys(found, EXPECTED, RULES) == {key: key for key in EXPECTED}


def test_alias_stands_in_for_a_missing_key() -> None:
    found = {ALIAS: FOUND["model.embed_tokens.weight"], "model.norm.weight": FOUND["model.norm.weight"]}
    assert check_keys(found, EXPECTED, RULES)["model.embed_tokens.weight"] == ALIAS


def test_alias_of_the_wrong_shape_is_not_taken() -> None:
    found = {ALIAS: TensorInfo("bfloat16", (4, 4)), "model.norm.weight": FOUND["model.norm.weight"]}
    with pytest.raises(CheckpointError, match=r"embed_tokens.weight \[4, 4\] instead of \[4, 3\]"):
        check_keys(found, EXPECTED, RULES)


def test_all_problems_come_in_one_line() -> None:
    found = {"model.norm.weight": TensorInfo("int8", (2,)), "extra.weight": TensorInfo("float32", (1,))}
    with pytest.raises(CheckpointError) as caught:
        check_keys(found, EXPECTED, RULES)
    assert str(caught.value) == (
        "the checkpoint does not fit the model: 1 missing: model.embed_tokens.weight; 1 unexpected: extra.weight; "
        "1 of the wrong shape: model.norm.weight [2] instead of [3]; "
        "1 not floating point (quantized checkpoint?): model.norm.weight (int8)"
    )


def test_long_lists_are_cut_and_counted() -> None:
    with pytest.raises(CheckpointError, match=r"20 missing: k0, .*, k7, and 12 more$"):
        check_keys({}, {f"k{index}": (1,) for index in range(20)})


@pytest.mark.parametrize(
    "held", [("model.embed_tokens.weight",), ("lm_head.weight",), ("model.embed_tokens.weight", "lm_head.weight")]
)
def test_tied_weights_are_one_tensor_whichever_the_checkpoint_has(held: tuple[str, ...]) -> None:
    expected = {"model.embed_tokens.weight": (4, 3), "lm_head.weight": (4, 3)}
    found = {key: TensorInfo("bfloat16", (4, 3)) for key in held}
    assert check_keys(found, expected, TIED) == dict.fromkeys(expected, held[0])
    if len(held) == 1:
        with pytest.raises(CheckpointError, match="1 missing"):
            check_keys(found, expected, RULES)
