"""The tolerances file and its reader."""

import json
import tomllib
from pathlib import Path

import pytest

from nexus_edge import models
from nexus_edge.axes import targets
from nexus_edge.parity import tolerances
from nexus_edge.parity.ladder import OWN_DATA, RUNGS
from nexus_edge.parity.metrics import METRICS
from nexus_edge.parity.tolerances import SCHEME_CLASSES, Gate, TolerancesError, parse

WEIGHTS = ("real", "trained-tiny", "synthetic")
GATE = {"rung": "P3", "metric": "kl", "limit": 0.1, "reason": "because"}
EMBEDDINGS = ("image embeddings", "text embeddings")
STAGES = {
    "P0": ("files", "decoder"),
    "P1": ("vision_encoder", "decoder", "pixels", "tokens", "image_encoder", "text_encoder", "similarities"),
    "P2": ("vision_encoder", "embed_tokens", "decoder", "image_encoder", "text_encoder"),
    "P3": ("vision_encoder", "embed_tokens", "decoder", "image_encoder", "text_encoder"),
    "P4": ("logits", "held-out questions", "image embeddings", "text embeddings"),
    "P5": ("crops", "tokens", "image features", "logits", "greedy tokens", "pixels", "logit scale", *EMBEDDINGS),
    "verify": (
        *("crops", "tokens", "vision_encoder", "embed_tokens", "decoder", "greedy tokens"),
        *("pixels", *EMBEDDINGS, "probabilities", "top-1", "ranking", "facts", "storage", "dual_encoder"),
    ),
}
# What synthetic weights cannot be asked: no image fits any of their texts.
OF_TRAINED_WEIGHTS = {
    "P4": ("top-1", "ranking"),
    "P5": ("probabilities", "top-1", "ranking"),
}


def test_every_entry_of_the_file_has_a_reason_of_its_own_words() -> None:
    for path in tolerances.files():
        document = tomllib.loads(path.read_text("utf-8"))
        for entry in (*document["gate"], *document.get("near_tie", ())):
            assert len(entry["reason"].split()) >= 3, entry


def test_a_target_is_named_in_its_own_file_alone() -> None:
    """Whoever adds a target adds a file."""
    found = {path.parent.name: tomllib.loads(path.read_text("utf-8"))["gate"] for path in tolerances.files()}
    assert set(found) == {"parity", "dual_encoder", "vlm", "openvino", "coreml"}
    for folder, gates in found.items():
        own = {folder} if folder in targets() else {"*"}
        assert {gate.get("target", "*") for gate in gates} == own


@pytest.mark.parametrize("scheme", SCHEME_CLASSES)
@pytest.mark.parametrize("weights", WEIGHTS)
def test_every_stage_has_a_gate_for_every_scheme(scheme: str, weights: str) -> None:
    assert set(STAGES) == {*RUNGS, "verify"}
    loaded = tolerances.load()
    for rung, stages in STAGES.items():
        for stage in stages:
            assert loaded.gate(rung, stage, "onnx", scheme, weights) is not None, (rung, stage)


@pytest.mark.parametrize("scheme", SCHEME_CLASSES)
def test_trained_weights_are_asked_more(scheme: str) -> None:
    loaded = tolerances.load()
    for rung, stages in OF_TRAINED_WEIGHTS.items():
        for stage in stages:
            gates = [loaded.gate(rung, stage, "onnx", scheme, weights) is None for weights in WEIGHTS]
            assert gates == [False, False, True], (rung, stage)
    for stage in ("held-out cells", "held-out captions"):
        assert loaded.gate("P4", stage, "", scheme, "trained-tiny") is not None
        assert loaded.gate("P4", stage, "", scheme, "synthetic") is None


def test_eight_bits_keep_the_cosine_that_was_demanded() -> None:
    for stage in EMBEDDINGS:
        gate = tolerances.load().gate("P4", stage, "", "int8", "real")
        assert gate is not None
        assert (gate.metric, gate.limit) == ("cosine", 0.995)


def test_when_two_candidates_tie() -> None:
    """No margin is set on a checkpoint: one rule, for every rung, stage and scheme."""
    loaded = tolerances.load()
    rules = {loaded.near_tie(rung, stage, scheme) for rung in RUNGS for stage in ("top-1", "x") for scheme in "ab"}
    assert len(rules) == 1 and rules.pop().times > 0
    rule = {"times": 4, "reason": "x"}
    found = parse({"near_tie": [rule, {**rule, "times": 2, "rung": "P5"}]}, "test")
    assert (found.near_tie("P4", "top-1", "int8").times, found.near_tie("P5", "top-1", "int8").times) == (4, 2)
    assert parse({}, "test").near_tie("P5", "top-1", "int8").margin(1.0) == 0.0


def test_a_limit_follows_from_what_rounding_does() -> None:
    gate = Gate("relative_l2", 0.03, "because", rounding=4, least=1e-5, most=0.3)
    limits = {moved: gate.with_rounding({"relative_l2": moved}).limit for moved in (0.0, 0.01, 1.0)}
    assert limits == {0.0: 1e-5, 0.01: 0.04, 1.0: 0.3}
    assert gate.with_rounding(None) == gate, "nobody could measure"
    fixed = Gate("relative_l2", 0.03, "because")
    assert fixed.with_rounding({"relative_l2": 0.5}) == fixed


def test_what_rounding_decides_has_a_ceiling() -> None:
    for entry in tolerances.load().entries:
        if entry.gate.rounding is not None:
            assert entry.gate.least < entry.gate.most <= 1.0, entry
            assert entry.gate.metric in ("relative_l2", "max_abs", "mean_abs"), "what errors of formats are measured in"


def test_coarser_schemes_never_have_tighter_gates() -> None:
    loaded = tolerances.load()
    order = ("float32", "int8", "int4")
    for rung, stage in (("P3", "decoder"), ("P4", "logits"), ("P5", "logits"), ("verify", "decoder")):
        gates = [loaded.gate(rung, stage, "onnx", scheme, "real") for scheme in order]
        limits = [gate.limit for gate in gates if gate is not None]
        assert limits == sorted(limits), (rung, stage)
        assert len({gate.metric for gate in gates if gate is not None}) == 1, "one metric gates a stage"


def test_the_last_match_wins() -> None:
    found = parse({"gate": [GATE, {**GATE, "stage": "dec*", "limit": 0.2}]}, "test")
    assert found.gate("P3", "decoder", "onnx", "int4", "real").limit == 0.2
    assert found.gate("P3", "logits", "onnx", "int4", "real").limit == 0.1
    assert found.gate("P4", "decoder", "onnx", "int4", "real") is None


def test_a_family_has_the_last_word_on_itself_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in its folder is found with no edit, and no other family is judged by it."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in {**GATE, "stage": "dec*", "target": "openvino"}.items()]
    for name in ("third", "fourth"):
        (tmp_path / name).mkdir()
    (tmp_path / "third" / "tolerances.toml").write_text("\n".join(["[[gate]]", *lines]), "utf-8")
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    tolerances.load.cache_clear()
    asked = ("P3", "decoder", "openvino", "int4", "real")
    third, fourth, none = (tolerances.load(name).gate(*asked) for name in ("third", "fourth", ""))
    tolerances.load.cache_clear()
    assert third is not None and (third.metric, third.limit) == ("kl", 0.1)
    assert fourth == none and none is not None and none.metric != "kl"
    assert [path.parent.name for path in tolerances.files("third")][-2:] == ["openvino", "third"], "after the targets"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"gates": []}, "only"),
        ({"gate": [{**GATE, "reason": "  "}]}, "needs a reason"),
        ({"gate": [{**GATE, "metric": "cosinus"}]}, "unknown metric 'cosinus'"),
        ({"gate": [{**GATE, "metric": ["cosine"]}]}, r"metric is \['cosine'\]; text is needed"),
        ({"gate": [{**GATE, "reason": 5}]}, "reason is 5; text is needed"),
        ({"gate": [{**GATE, "limit": -1}]}, "limit is -1"),
        ({"gate": [{**GATE, "limit": float("nan")}]}, "limit is nan"),
        ({"gate": [{**GATE, "limit": True}]}, "limit is True"),
        ({"gate": [{**GATE, "limit": float("inf")}]}, "limit is inf"),
        ({"gate": [{**GATE, "limit": 10**400}]}, "a finite number"),
        ({"gate": [{**GATE, "rung": "p4"}]}, "rung = 'p4' matches none; known: P0, P1, P2, P3, P4, P5, eval"),
        ({"gate": [{**GATE, "rung": "P9"}]}, "rung = 'P9' matches none"),
        ({"gate": [{**GATE, "rung": 4}]}, "rung is 4; a text"),
        ({"gate": [{**GATE, "rung": ["P4"]}]}, "rung is"),
        ({"gate": [{**GATE, "stage": 4}]}, "stage is 4"),
        ({"gate": [{**GATE, "target": "onxx"}]}, "target = 'onxx' matches none; did you mean 'onnx'"),
        ({"gate": [{**GATE, "scheme": "int5"}]}, "scheme = 'int5' matches none"),
        ({"gate": [{**GATE, "weights": "reel"}]}, "weights = 'reel' matches none; did you mean 'real'"),
        ({"near_tie": [{"times": 4, "reason": "x", "rung": "P7"}]}, "near_tie 1: rung = 'P7' matches none"),
        ({"near_tie": [{"times": float("inf"), "reason": "x"}]}, "times is inf"),
        ({"gate": [{**GATE, "stages": "x"}]}, "may have"),
        ({"gate": [{key: GATE[key] for key in ("rung", "metric", "limit")}]}, "has the keys"),
        ({"near_tie": [{"scheme": "*", "reason": "x"}]}, "times"),
        ({"gate": [{**GATE, "rounding": 4}]}, "go together"),
    ],
)
def test_a_wrong_file_is_explained(document: dict[str, object], message: str) -> None:
    with pytest.raises(TolerancesError, match=message):
        parse(document, "test")


def test_what_gates_may_name_is_what_the_ladder_has() -> None:
    layers = {"P2, carried", "P3, carried"}
    assert set(tolerances.RUNGS) == {*RUNGS, *OWN_DATA} | layers


def test_metrics_that_gate_are_known() -> None:
    assert {entry.gate.metric for entry in tolerances.load().entries} <= set(METRICS)
