"""Measures which engine and which of its settings are the fastest for a bundle on this machine.

What counts is what a user waits for. With a vision-language model that is a conversation about one image: its encoder
once, a prompt of its tokens, and some questions with their answers. With a dual encoder, some images and as many texts.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from nexus_edge._extras import needs_extra
from nexus_edge.axes import engine_module, engines_of
from nexus_edge.bundle import Bundle
from nexus_edge.engines.openvino.settings import OpenVinoSettings
from nexus_edge.errors import BundleError, InputError, MissingExtraError
from nexus_edge.families import family_named
from nexus_edge.interfaces.engine_info import EngineInfo
from nexus_edge.runtimes import DualEncoder, EngineOptions, load
from nexus_edge.runtimes.machine import Clock
from nexus_edge.runtimes.tuned import Tuned
from nexus_edge.runtimes.vlm.benchmark import QUESTION, measure
from nexus_edge.runtimes.vlm.image_cache import ImageCache
from nexus_edge.runtimes.vlm.model import VLM

PROMPT, ANSWER, CROPS = 256, 17, 3
"""Tokens of the run that is measured, and crops of the image that is encoded."""
QUESTIONS, ASKED, ANSWERED = 4, 64, 128
"""The conversation that it stands for: so many questions of so many tokens, and tokens of an answer."""
IMAGES = 4
ROUNDS = 2  # the better one counts: whatever else runs on a machine only ever slows down


@dataclass(frozen=True)
class Part:
    """Something that a user waits for, and its seconds."""

    name: str
    seconds: float


@dataclass(frozen=True)
class Candidate:
    """A way to run a bundle, and what a user waits for then."""

    engine: str
    openvino: OpenVinoSettings | None
    parts: tuple[Part, ...]

    @property
    def seconds(self) -> float:
        return sum(part.seconds for part in self.parts)


def candidates(bundle: Bundle, threads: int | None) -> Iterator[Candidate]:
    """Measure every way in which the bundle can run here, one after the other.

    Raises:
        BundleError: there is none
        MissingExtraError: there would be, with a package that is not installed
    """
    measured, missing = False, None
    kind = family_named(bundle.manifest.model_type).kind
    for info in engines_of(bundle.manifest.targets):
        if kind not in info.modules or info.is_reference():
            continue
        try:
            for settings in settings_of(info):
                model = load(bundle, EngineOptions(threads, engine=info.name, openvino=settings, keep_vision=True))
                measured = True
                yield Candidate(info.name, settings, _best(model))
        except MissingExtraError as error:
            missing = error
    if not measured:
        raise missing or BundleError(
            f"{bundle.root}: nothing of it runs here but evaluators; export it for another target (--target)"
        )


def settings_of(engine: EngineInfo) -> tuple[OpenVinoSettings | None, ...]:
    """In which ways an engine can compute on this CPU: none of those that it would only emulate.

    Raises:
        MissingExtraError: its package is not installed
    """
    if engine.tuning is None:
        return (None,)
    with needs_extra(f"engine {engine.name}", engine.extra):
        found: tuple[OpenVinoSettings, ...] = engine_module(engine, engine.tuning).settings_here()
    return found


def fastest(found: list[Candidate]) -> Tuned:
    """Of all, and of those that have settings."""
    best = min(found, key=lambda candidate: candidate.seconds)
    tuned = Tuned(best.engine)
    openvino = [candidate for candidate in found if candidate.openvino is not None]
    if not openvino:
        return tuned
    settings = min(openvino, key=lambda candidate: candidate.seconds).openvino
    assert settings is not None
    return replace(tuned, openvino=settings)


def _best(model: VLM | DualEncoder) -> tuple[Part, ...]:
    """Each part in its better round."""
    work: Callable[[], tuple[Part, ...]]
    work = (lambda: _embed(model)) if isinstance(model, DualEncoder) else (lambda: _converse(model))
    work()  # the first run lays out weights and fills caches
    rounds = [work() for _ in range(ROUNDS)]
    return tuple(min(same, key=lambda part: part.seconds) for same in zip(*rounds, strict=True))


def _converse(vlm: VLM) -> tuple[Part, ...]:
    vision, image_tokens = _encode(vlm)
    prompt = min(PROMPT, vlm.limits.context_length - ANSWER)
    run = measure(vlm, prompt, ANSWER)
    return (
        Part("image", vision),
        Part("prompts", run.prefill_s / prompt * (image_tokens + QUESTIONS * ASKED)),
        Part("answers", run.decode_s / (ANSWER - 1) * QUESTIONS * ANSWERED),
    )


def _encode(vlm: VLM) -> tuple[float, int]:
    """Seconds for one image of as many views as the processor makes at most, measured on fewer where it can make fewer,
    and the tokens of such an image."""
    image = np.random.default_rng(0).integers(0, 256, (336, 672, 3), np.uint8)
    wrapped = vlm.wrap(QUESTION, 1)
    try:
        fewer = vlm.processor.with_most_views(min(CROPS, vlm.processor.most_views))
    except InputError:  # a model that cuts images in one way only
        fewer = vlm.processor
    images = vlm.host.prompt(fewer(wrapped, [image])).images
    clock = Clock()
    ImageCache(vlm.engine, vlm.host).encode(images)
    seconds = clock.lap() / vlm.host.views(images[0])
    whole = vlm.host.prompt(vlm.processor(wrapped, [image]))
    return seconds * vlm.host.views(whole.images[0]), int(whole.is_image.sum())


def _embed(model: DualEncoder) -> tuple[Part, ...]:
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (256, 256, 3), np.uint8) for _ in range(IMAGES)]
    clock = Clock()
    model.embed_images(images)
    seconds = clock.lap()
    model.embed_texts(["a photomicrograph of a blood smear"] * IMAGES)
    return Part("images", seconds), Part("texts", clock.lap())
