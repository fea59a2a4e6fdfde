"""P4 for vision-language models: values on their way through both models, each on what its own layers made, up to the
logits of every text token, and last the answers to the held-out questions where a checkpoint brings such a set.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nexus_edge.bundle.layer_names import layer_of_output
from nexus_edge.parity.metrics import Values, compare_logits, perplexity
from nexus_edge.parity.report.report import Check, NotRunError
from nexus_edge.parity.run import ParityRun
from nexus_edge.parity.sources import parameter_bytes, weight_bytes
from nexus_edge.parity.spool import LazyValues
from nexus_edge.parity.stages import Judge, in_order, layer_outputs
from nexus_edge.parity.vlm.cases import Case
from nexus_edge.parity.vlm.held_out import answer_all, read_questions
from nexus_edge.parity.vlm.references import text_rows
from nexus_edge.parity.vlm.run import vlm_run

if TYPE_CHECKING:
    from nexus_edge.models.base import VisionLanguageModel
    from nexus_edge.parity.vlm.streamed import Trace

IMAGES = 20  # 100 questions of the embedded checkpoint: one wrong answer is 1 %; takes some seconds
# Of the vocabulary, which is the perplexity of a guess among all tokens. A model that was trained on a language is at
# some ten to some hundred on a plain sentence of it; one that was not is at the vocabulary's size or above, and what it
# says there, in whatever bits, answers nothing.
KNOWN = 0.25
# Stages in the order of the tensor's way; the logits have their own, because another metric gates them.
STAGES = ("vision_encoder", "decoder", "logits")


def compare_schemes(run: ParityRun) -> list[Check]:
    """Layers and logits for each case, then the held-out questions."""
    vlm, judge = vlm_run(run), run.judges.judge("P4")
    full, quantized = vlm.traces("full"), vlm.traces("quantized")
    checks: list[Check] = []
    for case in vlm.cases:
        both = (_values(traces[case.name]) for traces in (full, quantized))
        found, note = compare_case(judge, case, vlm.is_image(case), *both)
        checks += found
        if note is not None:
            run.note(note)
    return checks + check_held_out(run)


def _values(trace: "Trace") -> Values:
    """What `capture` gives, of the tokens that predict text."""
    rows = np.searchsorted(trace.call.rows, text_rows(trace.call.is_image[0]))
    names = [name for name in trace.values if layer_of_output(name) is not None or name == "image_features"]
    makers = {name: trace.values[name].load for name in in_order(names)}
    return LazyValues({**makers, "logits": lambda: trace.load("logits")[rows]})


def capture(model: "VisionLanguageModel", case: Case) -> Values:
    """Every layer's output, the image features, and the logits [tokens, vocab] of one case."""
    import torch

    seen: dict[str, Any] = {}
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in case.inputs.items()}
    with torch.inference_mode(), _kept_features(model, seen), layer_outputs(model) as layers:
        logits = model(**tensors)
    values = dict(layers) | seen | {"logits": logits[0]}
    return {name: values[name].float().numpy() for name in (*in_order(list(layers)), *seen, "logits")}


@contextmanager
def _kept_features(model: "VisionLanguageModel", seen: dict[str, Any]) -> Iterator[None]:
    """Inside, the model leaves the features of a prompt's images under `image_features`."""
    compute: Any = model.image_features

    def kept(pixel_values: Any, image_sizes: Any) -> Any:
        features = compute(pixel_values, image_sizes)
        if pixel_values is not None:
            seen["image_features"] = features
        return features

    model.__dict__["image_features"] = kept
    try:
        yield
    finally:
        del model.__dict__["image_features"]


def compare_case(
    judge: Judge, case: Case, is_image: NDArray[np.bool_], full: Values, quantized: Values
) -> tuple[list[Check], str | None]:
    """Checks of one case, stage by stage, and a remark where one of them is not gated as the others are.

    Args:
        judge: with the gates of P4
        case: what was asked
        is_image: bool [tokens] of its prompt
        full, quantized: values by name; `logits` [rows, vocab] of the case's `text_rows`
    """
    groups: dict[str, list[str]] = {stage: [] for stage in STAGES}
    for name in full:
        groups["logits" if name == "logits" else _stage(name)].append(name)
    checks: list[Check] = []
    for stage, names in groups.items():
        for name in names:
            checks += judge.check(stage, case.name, {name: quantized[name]}, {name: full[name]})
    ids = case.inputs["input_ids"][0]
    targets = ids[text_rows(is_image)[:-1] + 1]
    reference = perplexity(full["logits"][:-1], targets)
    price = perplexity(quantized["logits"][:-1], targets) / reference
    logits = replace(checks[-1], measures={**checks[-1].measures, "perplexity_delta": price - 1.0})
    note = None
    if logits.gate is not None and logits.gate.metric == "kl" and reference > KNOWN * full["logits"].shape[-1]:
        note = (
            f"{case.name}: KL is not gated: full precision does not know this text, its perplexity is {reference:.3g}; "
            "--eval takes your own data"
        )
        logits = replace(logits, gate=judge.gate("logits of unknown text"))
    return [*checks[:-1], logits], note


def check_held_out(run: ParityRun) -> list[Check]:
    """Exact match on the checkpoint's held-out questions beside that of full precision; nothing where it has none."""
    folder, vlm, most = run.source.folder, vlm_run(run), run.held_out_images or IMAGES
    questions = [] if folder is None else read_questions(folder, vlm.processor, vlm.host, vlm.given.turn, most)
    if not questions:
        run.note("exact match: this checkpoint brings no held-out questions")
        return []
    try:
        run.memory.require(parameter_bytes(run.source) + weight_bytes(run.bundle), "both models in PyTorch")
        models = run.references
        full, quantized = answer_all(models.full, questions), answer_all(models.quantized, questions)
    except NotRunError as error:
        run.note(f"exact match on the held-out questions: {error}")
        return []
    judge = run.judges.judge("P4")
    share, reference = (sum(answers.exact) / len(answers.exact) for answers in (quantized, full))
    price = perplexity(quantized.logits, quantized.targets) / perplexity(full.logits, full.targets)
    measures = compare_logits(quantized.logits, full.logits, judge.near_tie("logits")) | {
        "perplexity_delta": price - 1.0,
        "items": float(len(full.exact)),
        "exact_match": share,
        "exact_match_reference": reference,
        "exact_match_drop": max(0.0, reference - share),
    }
    case = f"{len(full.exact)} held-out questions"
    return [Check("held-out questions", "answers", case, measures, judge.gate("held-out questions"))]


def _stage(name: str) -> str:
    return "vision_encoder" if name == "image_features" or "vision" in name else "decoder"
