"""Faults in the reading of a configuration: reference, graphs and goldens are wrong together, and every rung that
compares them with each other passes. What does not share the reading finds them: a table of derived values, worked out
from the papers and the authors' code (tests/models/derived_values/).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from faults import BIOMEDCLIP, PHI3, Fault, Scene
from nexus_edge.models.biomedclip.params import BiomedClipParams
from nexus_edge.models.phi3_v.params import Phi3VisionParams

VALUES = ("values",)
Edit = Callable[[Any], Any]


def misread(kind: Any, edit: Edit) -> Callable[[Scene], None]:
    """What `from_json` returns is changed afterwards, as if a key had been overlooked."""

    def make(scene: Scene) -> None:
        right = kind.from_json.__func__
        scene.patch(kind, "from_json", classmethod(lambda cls, config: edit(right(cls, config))))

    return make


def rope(**changes: Any) -> Edit:
    return lambda params: replace(params, rope=replace(params.rope, **changes))


def decoder(**changes: Any) -> Edit:
    return lambda params: replace(params, decoder=replace(params.decoder, **changes))


def bert(**changes: Any) -> Edit:
    return lambda params: replace(params, text=replace(params.text, **changes))


def long_is_short(params: Any) -> Any:
    return replace(params, rope=replace(params.rope, long_factor=params.rope.short_factor))


def plain(params: Any) -> Any:
    ones = (1.0,) * len(params.rope.short_factor)
    return replace(params, rope=replace(params.rope, short_factor=ones, long_factor=ones))


READINGS: tuple[tuple[str, str, Any, Edit], ...] = (
    ("RoPE's factors are overlooked", PHI3, Phi3VisionParams, plain),
    ("the long factors are overlooked", PHI3, Phi3VisionParams, long_is_short),
    ("the base of RoPE is 10000, whatever the file says", PHI3, Phi3VisionParams, rope(theta=10000.0)),
    ("yarn's magnitude is overlooked", PHI3, Phi3VisionParams, rope(kind="su", explicit=None, factor=None)),
    ("the sliding window is overlooked", PHI3, Phi3VisionParams, decoder(window=-1)),
    ("epsilon is 1e-6, whatever the file says", PHI3, Phi3VisionParams, decoder(rms_norm_eps=1e-6)),
    ("the order of views is always sub_glb", PHI3, Phi3VisionParams, lambda it: replace(it, global_first=False)),
    ("tied embeddings are overlooked", PHI3, Phi3VisionParams, lambda it: replace(it, tied=False)),
    (
        "the tower runs through its last layer",
        PHI3,
        Phi3VisionParams,
        lambda it: replace(it, vision=replace(it.vision, depth=it.vision.num_hidden_layers)),
    ),
    ("BERT's epsilon is 1e-6, whatever the file says", BIOMEDCLIP, BiomedClipParams, bert(layer_norm_eps=1e-6)),
    ("the context is always 77", BIOMEDCLIP, BiomedClipParams, lambda it: replace(it, context_length=77)),
)
FAULTS = tuple(
    Fault(name, "configuration", f"{model} onnx", "values", "derived values*", misread(kind, edit), VALUES)
    for name, model, kind, edit in READINGS
)
