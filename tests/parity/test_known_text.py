"""P4 asks for the price of a scheme only on text that full precision knows."""

from typing import Any

import numpy as np
import pytest

from nexus_edge.parity.stages import Judge
from nexus_edge.parity.tolerances import load
from nexus_edge.parity.vlm.cases import Case
from nexus_edge.parity.vlm.scheme import KNOWN, compare_case

VOCABULARY, TOKENS = 400, 24
SURE = 8.0  # of 400 logits, one that is 8 above the others has a probability of 0.88


def judge() -> Judge:
    """Of P4, for real weights in 4 bits."""
    tolerances = load()
    return Judge(
        lambda stage: tolerances.gate("P4", stage, "", "int4", "real", ""),
        lambda stage: tolerances.near_tie("P4", stage, "int4", ""),
    )


def judged(known: bool, changed: bool) -> tuple[Any, str | None]:
    """Of a model that predicts the next token, or another one, beside one that predicts half of them otherwise."""
    ids = np.random.default_rng(0).integers(0, VOCABULARY, (1, TOKENS + 1))
    predicted = ids[0, 1:] if known else (ids[0, 1:] + 7) % VOCABULARY
    full = np.zeros((TOKENS + 1, VOCABULARY), np.float32)
    full[np.arange(TOKENS), predicted] = SURE
    quantized = full.copy()
    if changed:
        quantized[:TOKENS:2] = np.roll(full[:TOKENS:2], 3, axis=-1)
    case = Case("text", "", (), {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    checks, note = compare_case(judge(), case, np.zeros(TOKENS + 1, np.bool_), {"logits": full}, {"logits": quantized})
    return checks[-1], note


@pytest.mark.parametrize(("changed", "status"), [(False, "passed"), (True, "failed")])
def test_a_model_that_knows_the_text_is_asked_what_the_scheme_costs(changed: bool, status: str) -> None:
    check, note = judged(known=True, changed=changed)
    assert (check.gate.metric, check.status, note) == ("kl", status, None)


def test_one_that_does_not_is_not() -> None:
    """What it predicts has a probability below a guess's: KL between two such answers is no price."""
    check, note = judged(known=False, changed=True)
    assert check.measures["kl"] > 0.15
    assert (check.gate.metric, check.status) == ("relative_l2", "passed")
    assert note is not None and note.startswith(
        "text: KL is not gated: full precision does not know this text, its perplexity is "
    )


def test_a_guess_among_a_quarter_of_the_vocabulary_is_the_border() -> None:
    assert KNOWN * VOCABULARY == 100
