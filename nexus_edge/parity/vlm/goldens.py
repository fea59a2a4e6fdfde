"""The goldens of a vision-language model. Images and prompts are stored, not pixels: so the device's own processing
is replayed too. Long tensors are sampled, which keeps the file at some hundred kB.

    {case}.prompt                   uint8, UTF-8            {case}.picture.{i}   uint8 [height, width, 3]
    {case}.input_ids                int64 [1, tokens]       {case}.num_crops     int64 [1]
    {case}.{value}                  float32, sampled by `sample`
    {case}.effect.*                 see `recorded`, of small models
    {case}.greedy_ids, .greedy_margins                      {case}.full_precision_logits   float32 [1, vocab]
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from nexus_edge.bundle.layer_names import layer_of_output
from nexus_edge.parity.goldens import formats_elsewhere, recorded
from nexus_edge.parity.metrics import Array, Measures, compare
from nexus_edge.parity.report.report import NotRunError
from nexus_edge.parity.run import ParityRun
from nexus_edge.parity.sources import weight_bytes
from nexus_edge.parity.vlm.answers import Answer, up_to_difference
from nexus_edge.parity.vlm.cases import Case
from nexus_edge.parity.vlm.references import of_a_token
from nexus_edge.parity.vlm.run import VlmRun, vlm_run
from nexus_edge.parity.vlm.sampling import sample

if TYPE_CHECKING:
    from nexus_edge.parity.vlm.streamed import Trace


SMALL = 100_000_000
"""Bytes of weights up to which goldens say what rounding does to them: that takes a pass for every engine."""


def record(run: ParityRun) -> Iterator[tuple[str, Array]]:
    """Every case with a prompt, as the quantized PyTorch model carried it; nothing where not even a layer fits."""
    vlm = vlm_run(run)
    cases = [case for case in vlm.cases if case.prompt]
    try:
        traces, answers = vlm.traces("quantized"), _answers(vlm)
    except NotRunError:
        return
    full: Mapping[str, Trace] = {}
    with suppress(NotRunError):  # without the checkpoint there is nothing to compare full precision with
        full = vlm.traces("full")
    for case in cases:
        values = dict(chain(_prompt(case), _values(traces[case.name]), _greedy(answers[case.name])))
        if weight_bytes(run.bundle) < SMALL:
            values |= dict(_effects(vlm, case.name))
        if case.name in full:
            values["full_precision_logits"] = full[case.name].load("logits")[-1:]
        for name, array in values.items():
            yield f"{case.name}.{name}", array


def _prompt(case: Case) -> Iterator[tuple[str, Array]]:
    yield "prompt", np.frombuffer(case.prompt.encode(), np.uint8)
    yield "num_crops", np.array([case.num_crops])
    yield "input_ids", case.inputs["input_ids"]
    for i, image in enumerate(case.images):
        yield f"picture.{i}", np.asarray(image, np.uint8)
    if "pixel_values" in case.inputs:
        yield "pixel_values", sample("pixel_values", case.inputs["pixel_values"])


def _values(trace: "Trace") -> Iterator[tuple[str, Array]]:
    for name in (name for name in trace.values if layer_of_output(name) is None):
        value = trace.load(name)
        yield name, value[None, -1:] if name == "logits" else sample(name, value)


def _effects(vlm: VlmRun, case: str) -> Iterator[tuple[str, Array]]:
    """How far rounding moves the values of a case; a pass through the model for each kind."""
    trace = vlm.traces("quantized")[case]
    clean = dict(_values(trace))
    for key, formats in formats_elsewhere(vlm.run):
        other = vlm.references.moved("quantized", formats, "pixels")[case]
        moved = dict(_values(other))
        found: dict[str, Measures] = {name: compare(moved[name], clean[name]) for name in clean}
        yield from recorded(key, found | {"logits": of_a_token(found["logits"], clean["logits"], other, trace)})


def _greedy(answer: Answer) -> Iterator[tuple[str, Array]]:
    yield "greedy_ids", np.array(answer.ids, np.int64)
    yield "greedy_margins", np.array(answer.margins, np.float32)


def _answers(vlm: VlmRun) -> Mapping[str, Answer]:
    """The quantized model's greedy answers, as far as they are those of the runtime (and the first token where they
    part): what comes after that would take a pass through the model for every token.

    One token where the runtime does not fit into memory beside what else an export holds.
    """
    try:
        found = vlm.runtime.of_any()
    except NotRunError:
        first = {name: int(trace.load("logits")[-1].argmax()) for name, trace in vlm.traces("quantized").items()}
        return vlm.forced("quantized", {name: (token,) for name, token in first.items()})
    forced = vlm.forced("quantized", found)
    return {name: up_to_difference(forced[name], ids) for name, ids in found.items()}
