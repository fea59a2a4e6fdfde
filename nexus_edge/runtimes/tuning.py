"""Measures which engine and which of its settings are the fastest for a bundle on this machine."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from nexus_edge.bundle import Bundle
from nexus_edge.errors import BundleError, MissingExtraError
from nexus_edge.runtimes import DualEncoder, EngineOptions, load
from nexus_edge.runtimes.benchmark import measure
from nexus_edge.runtimes.engine import ENGINES, is_reference
from nexus_edge.runtimes.openvino_settings import OpenVinoSettings
from nexus_edge.runtimes.tuned import Tuned
from nexus_edge.runtimes.vlm import VLM

PROMPT, ANSWER = 256, 17
"""Tokens of the run that is measured."""
TURN = (512, 128)
"""Tokens of the turn that it stands for: a prompt and its answer."""
PICTURES = 4
ROUNDS = 2  # the better one counts: whatever else runs on a machine only ever slows down

SETTINGS = (
    OpenVinoSettings("bf16", 128, "u8"),
    OpenVinoSettings("bf16", 64, "u8"),
    OpenVinoSettings("f32", 128, "u8"),
    OpenVinoSettings("f32", 64, "u8"),
    OpenVinoSettings("f32", 32, "u8"),
)
"""Those that were the fastest for some model on some machine."""


@dataclass(frozen=True)
class Candidate:
    """A way to run a bundle, and the seconds that a turn takes, or embedding some pictures and texts."""

    engine: str
    openvino: OpenVinoSettings | None
    seconds: float


def candidates(bundle: Bundle, threads: int | None) -> Iterator[Candidate]:
    """Measure every way in which the bundle can run here, one after the other.

    Raises:
        BundleError: there is none
        MissingExtraError: there would be, with a package that is not installed
    """
    measured, missing = False, None
    for target in bundle.manifest.targets:
        if target not in ENGINES or is_reference(target):
            continue
        for settings in SETTINGS if target == "openvino" else (None,):
            try:
                model = load(bundle, EngineOptions(threads, engine=target, openvino=settings))
            except MissingExtraError as error:
                missing = error
                break
            measured = True
            yield Candidate(target, settings, _seconds(model))
    if not measured:
        raise missing or BundleError(
            f"{bundle.root}: nothing of it runs here but evaluators; export it for onnx or openvino (--target)"
        )


def fastest(found: list[Candidate]) -> Tuned:
    """Of all, and of those that are OpenVINO's."""
    best = min(found, key=lambda candidate: candidate.seconds)
    tuned = Tuned(best.engine)
    openvino = [candidate for candidate in found if candidate.openvino is not None]
    if not openvino:
        return tuned
    settings = min(openvino, key=lambda candidate: candidate.seconds).openvino
    assert settings is not None
    return replace(tuned, openvino=settings)


def _seconds(model: VLM | DualEncoder) -> float:
    work: Callable[[], float] = (lambda: _embed(model)) if isinstance(model, DualEncoder) else (lambda: _turn(model))
    work()  # the first run lays out weights and fills caches
    return min(work() for _ in range(ROUNDS))


def _turn(vlm: VLM) -> float:
    prompt = min(PROMPT, vlm.limits.context_length - ANSWER)
    run = measure(vlm, prompt, ANSWER)
    return run.prefill_s / prompt * TURN[0] + run.decode_s / (ANSWER - 1) * TURN[1]


def _embed(model: DualEncoder) -> float:
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (256, 256, 3), np.uint8) for _ in range(PICTURES)]
    started = time.perf_counter()
    model.embed_images(pictures)
    model.embed_texts(["a photomicrograph of a blood smear"] * PICTURES)
    return time.perf_counter() - started
