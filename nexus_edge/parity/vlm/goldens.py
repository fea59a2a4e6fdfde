"""The goldens of a vision-language model. Pictures and prompts are stored, not pixels: so the device's own processing
is replayed too. Long tensors are sampled, which keeps the file at some hundred kB.

    {case}.prompt                   uint8, UTF-8            {case}.picture.{i}   uint8 [height, width, 3]
    {case}.input_ids                int64 [1, tokens]       {case}.num_crops     int64 [1]
    {case}.{value}                  float32, sampled by `sample`
    {case}.effect.*                 see `recorded_effects`
    {case}.greedy_ids, .greedy_margins                      {case}.full_precision_logits   float32 [1, vocab]
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from nexus_edge.bundle.layer_names import layer_of_output
from nexus_edge.graphs import split_of
from nexus_edge.parity.goldens import recorded_effects
from nexus_edge.parity.metrics import Array, top2_margin
from nexus_edge.parity.report import NotRunError
from nexus_edge.parity.vlm.answers import torch_answer
from nexus_edge.parity.vlm.cases import Case, walk
from nexus_edge.parity.vlm.sampling import sample

if TYPE_CHECKING:
    from nexus_edge.parity.vlm.lab import VlmLab


def record(lab: "VlmLab") -> Iterator[tuple[str, Array]]:
    """Every case with a prompt; where the quantized model does not fit into memory the text alone, layer by layer."""
    try:
        recorded = [(case, _record(lab, case)) for case in lab.cases if case.prompt and lab.quantized]
    except NotRunError:
        recorded = [(lab.text_case, _record_streamed(lab))]
    for case, values in recorded:
        for name, array in values:
            yield f"{case.name}.{name}", array


def _prompt(case: Case) -> Iterator[tuple[str, Array]]:
    yield "prompt", np.frombuffer(case.prompt.encode(), np.uint8)
    yield "num_crops", np.array([case.num_crops])
    yield "input_ids", case.inputs["input_ids"]


def _record_streamed(lab: "VlmLab") -> Iterator[tuple[str, Array]]:
    yield from _prompt(lab.text_case)
    values = dict(lab.streamed_text)
    logits = values.pop("logits")[-1]
    for name, array in values.items():
        if layer_of_output(name) is None:
            yield name, sample(name, array)
    yield "logits", logits[None, None]
    yield "greedy_ids", np.array([logits.argmax()])
    yield "greedy_margins", np.array([top2_margin(logits)], np.float32)


def _values(lab: "VlmLab", case: Case) -> dict[str, Array]:
    """What leaves each graph, sampled; the step after the prompt is in the greedy tokens."""
    model = lab.quantized
    steps = walk(model, split_of(lab.manifest.model_type).graphs(model), [case])
    return {
        name: sample(name, value)
        for step in steps
        if step.case == case.name
        for name, value in step.expected.items()
        if layer_of_output(name) is None
    }


def _record(lab: "VlmLab", case: Case) -> Iterator[tuple[str, Array]]:
    yield from _prompt(case)
    for i, picture in enumerate(case.pictures):
        yield f"picture.{i}", np.asarray(picture, np.uint8)
    if "pixel_values" in case.inputs:
        yield "pixel_values", sample("pixel_values", case.inputs["pixel_values"])
    model = lab.quantized
    values = _values(lab, case)
    yield from values.items()
    yield from recorded_effects(lab, lambda: _values(lab, case), values)
    answer = torch_answer(model, case.inputs, lab.processor.stop_ids)
    yield "greedy_ids", np.array(answer.ids, np.int64)
    yield "greedy_margins", np.array(answer.margins, np.float32)
    try:
        yield "full_precision_logits", torch_answer(lab.full, case.inputs, ()).first_logits[None]
    except NotRunError:
        return
