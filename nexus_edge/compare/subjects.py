"""What a process of a comparison does with its bundle: load it, run it against the clock, and ask it everything."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from nexus_edge.bundle import Bundle
from nexus_edge.compare.inputs import Inputs
from nexus_edge.compare.record import Floats, Reply
from nexus_edge.runtimes import DualEncoder, EngineOptions

NEW_TOKENS = 64  # of an answer: those of the embedded checkpoint end before, and a full-size model takes seconds


@dataclass(frozen=True)
class Load:
    """What is run against the clock: a prompt of this many tokens with these images, and so many new ones."""

    prompt_tokens: int
    new_tokens: int
    images: tuple[Path, ...] = ()


class Subject(Protocol):
    """A bundle that can be loaded again and again."""

    def load(self) -> float:
        """Load it anew; seconds."""

    def speeds(self) -> dict[str, float]:
        """One round against the clock, per second, by the names of `Record.speeds`."""

    def ask(self, inputs: Inputs) -> tuple[list[Reply], dict[str, Floats]]:
        """A reply to each item, and what vectors a runtime gives away."""


def subject_of(bundle: Bundle, options: EngineOptions, load: Load) -> Subject:
    """By the kind of model."""
    return Answering(bundle, options, load) if bundle.manifest.dual_encoder is None else Embedding(bundle, options)


class Answering:
    """A vision-language model; see `Subject`."""

    def __init__(self, bundle: Bundle, options: EngineOptions, load: Load) -> None:
        self._bundle, self._options, self._load = bundle, options, load

    def load(self) -> float:
        from nexus_edge.runtimes import load_vlm
        from nexus_edge.runtimes.machine import Clock

        self._vlm = None  # its memory goes back before the next one takes its own
        clock = Clock()
        self._vlm = load_vlm(self._bundle, self._options)
        return clock.lap()

    def speeds(self) -> dict[str, float]:
        from nexus_edge.runtimes.vlm.benchmark import default_prompt_tokens, measure

        assert self._vlm is not None
        images, new = list(self._load.images), self._load.new_tokens
        room = self._vlm.limits.context_length - new  # where there is none, `measure` says so
        tokens = min(self._load.prompt_tokens, room) if room > 0 else self._load.prompt_tokens
        if images:
            tokens = max(tokens, default_prompt_tokens(self._vlm, images))
        run = measure(self._vlm, tokens, new, images)
        speeds = {"tokens_per_s": run.decode_tokens_per_s, "prefill_tokens_per_s": run.prefill_tokens_per_s}
        return speeds | ({"images_per_s": len(images) / run.vision_s} if images else {})

    def ask(self, inputs: Inputs) -> tuple[list[Reply], dict[str, Floats]]:
        assert self._vlm is not None
        replies = []
        for item in inputs.items:
            text = "".join(
                self._vlm.generate(item.question, list(item.images), max_new_tokens=NEW_TOKENS, raw=False)
            ).strip()
            replies.append(Reply(item.name, text, text in item.right if item.right else None))
        return replies, {}


class Embedding:
    """A model of two towers; see `Subject`. Its first call of a tower loads it, so that belongs to loading."""

    def __init__(self, bundle: Bundle, options: EngineOptions) -> None:
        self._bundle, self._options = bundle, options

    def load(self) -> float:
        from nexus_edge.runtimes import load_dual_encoder
        from nexus_edge.runtimes.dual_encoder import benchmark as dual_benchmark
        from nexus_edge.runtimes.machine import Clock

        self._model = None
        clock = Clock()
        self._model = load_dual_encoder(self._bundle, self._options)
        side = self._model.processor.image_size
        self._model.engine.encode_images(np.zeros((1, 3, side, side), np.float32))
        if self._has_text:
            self._model.engine.encode_texts(dual_benchmark.text_ids(self._model, _text_tokens(self._model), 1))
        return clock.lap()

    def speeds(self) -> dict[str, float]:
        from nexus_edge.runtimes.dual_encoder import benchmark as dual_benchmark

        assert self._model is not None
        speeds = {"images_per_s": dual_benchmark.image_rates(self._model, 1)[1][0]}
        if self._has_text:
            speeds["texts_per_s"] = dual_benchmark.text_rates(self._model, _text_tokens(self._model), 1)[1][0]
        return speeds

    def ask(self, inputs: Inputs) -> tuple[list[Reply], dict[str, Floats]]:
        from nexus_edge.runtimes import TruncatedTextWarning

        assert self._model is not None
        images = self._model.embed_images([item.images[0] for item in inputs.items])
        vectors = {"image embeddings": images}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TruncatedTextWarning)  # one sentence of the goldens is there to be cut
            if self._has_text:
                vectors["text embeddings"] = self._model.embed_texts(inputs.sentences)
            bank = (
                self._model.label_bank(inputs.labels, inputs.templates) if self._has_text else self._model.bundled_bank
            )
        if bank is None:
            return [], vectors
        best = [self._model.compare(row, bank).best for row in images]
        return [_reply(item.name, label, item.right) for item, label in zip(inputs.items, best, strict=True)], vectors

    @property
    def _has_text(self) -> bool:
        from nexus_edge.engines.dual import TEXT, has_graph

        return has_graph(self._bundle, TEXT)


def _text_tokens(model: DualEncoder) -> int:
    """Of a text that is timed."""
    from nexus_edge.runtimes.dual_encoder import benchmark as dual_benchmark

    return min(dual_benchmark.TEXT_TOKENS, model.processor.context_length)


def _reply(name: str, label: str, right: Sequence[str]) -> Reply:
    return Reply(name, label, label in right if right else None)
