"""What the PyTorch models make of the cases: one streamed pass of each model, which all rungs share.

A prompt is computed as a whole. Its last token serves as the decoder's next one: what a prompt's first tokens leave
does not depend on the last, so both calls of a decoder's graph have their expected values in one pass.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from nexus_edge.bundle.layer_names import ENDING, layer_of_output
from nexus_edge.parity.formats import Formats
from nexus_edge.parity.metrics import Array, Floats, Measures, compare, top2_margin
from nexus_edge.parity.references import MemoryLimit, Reference
from nexus_edge.parity.spool import LazyValues, Spool
from nexus_edge.parity.stages import Step, in_order
from nexus_edge.parity.vlm.answers import Answer

if TYPE_CHECKING:
    from nexus_edge.parity.vlm.streamed import Call, Streamed, Trace

Ids = NDArray[np.int64]

ACTIVATION_BYTES = 500_000
"""Of one token in the widest part of a layer: a gated MLP of 2 x 8,192 in a few copies, and its row of scores."""

Fed = Literal["layers", "graphs", "pixels"]
"""What a pass with errors gets without them: the input of each layer, the inputs of each graph, or those of the first
graph alone."""


@dataclass
class StreamedReferences:
    """The passes of one run.

    Attributes:
        source: opens one of the models
        prompts: a call for each case, by its name
        limit: tokens up to which a sequence takes LongRoPE's short factors; None for a model with one list of factors
        memory: what a pass may fill
        part_bytes: of the largest layer, or table outside of layers, in float32
    """

    source: Callable[[Reference], "Streamed"]
    prompts: "Mapping[str, Call]"
    limit: int | None
    memory: MemoryLimit
    part_bytes: int
    _spool: Spool = field(default_factory=Spool)
    _traces: "dict[Reference, dict[str, Trace]]" = field(default_factory=dict)
    _moved: "dict[tuple[Reference, Formats, Fed], dict[str, Trace]]" = field(default_factory=dict)
    _answers: dict[tuple[Reference, str, tuple[int, ...]], Answer] = field(default_factory=dict)

    @property
    def bytes_needed(self) -> int:
        """Memory that a pass takes: one layer in float32, as it is stored, and the longest prompt's activations."""
        tokens = max(call.ids.shape[1] for call in self.prompts.values())
        return self.part_bytes * 5 // 4 + tokens * ACTIVATION_BYTES

    def require_room(self) -> None:
        """Raise NotRunError unless a pass fits."""
        self.memory.require(self.bytes_needed, "one layer in float32 with its activations")

    def traces(self, reference: Reference) -> "dict[str, Trace]":
        """What every case left in a model, by the case's name."""
        if reference not in self._traces:
            self._traces[reference] = self._carry(reference, self.prompts)
        return self._traces[reference]

    def forced(self, reference: Reference, answers: Mapping[str, tuple[int, ...]]) -> dict[str, Answer]:
        """What a model would have said at each token of an answer that is not its own: all tokens in one pass.

        Up to the first token that differs this is the model's own greedy answer.

        Args:
            reference: which model
            answers: token ids by the case's name, at least one each
        """
        wanted = {case: ids for case, ids in answers.items() if (reference, case, ids) not in self._answers}
        prompts = self.traces(reference)
        calls: dict[str, Call] = {}
        for case, ids in wanted.items():
            calls |= dict(self._continuations(case, prompts[case], ids[:-1]))
        found = self._carry(reference, calls)
        for case, ids in wanted.items():
            rows = [prompts[case].load("logits")[-1:]]
            rows += [found[name].load("logits") for name in (case, _beyond(case)) if name in found]
            logits: Floats = np.concatenate(rows)
            own, margins = logits.argmax(-1).tolist(), top2_margin(logits).tolist()
            self._answers[reference, case, ids] = Answer(own, margins, logits)
        return {case: self._answers[reference, case, ids] for case, ids in answers.items()}

    def _continuations(self, case: str, prompt: "Trace", ids: tuple[int, ...]) -> "Iterator[tuple[str, Call]]":
        """Calls that give logits at each of `ids` after a prompt; a sequence that grows past the limit of LongRoPE's
        short factors is computed anew from there on."""
        tokens, added = prompt.tokens, np.array([ids], np.int64).reshape(1, -1)
        fits = len(ids)
        if self.limit is not None and tokens <= self.limit:
            fits = min(fits, self.limit - tokens)
        call = prompt.call
        if fits:
            rows = np.arange(fits)
            text = np.zeros((1, fits), np.bool_)
            yield (
                case,
                replace(
                    call, ids=added[:, :fits], is_image=text, rows=rows, images=None, after=prompt, only_logits=True
                ),
            )
        if fits < len(ids):
            rows = np.arange(tokens + fits, tokens + len(ids))
            longer = np.concatenate((call.ids, added), axis=1)
            is_image = np.concatenate((call.is_image, np.zeros(added.shape, np.bool_)), axis=1)
            yield _beyond(case), replace(call, ids=longer, is_image=is_image, rows=rows, only_logits=True)

    def steps(self, reference: Reference, owner: Callable[[str], str]) -> Iterator[Step]:
        """Every case on its way through the graphs.

        Args:
            reference: by which model
            owner: from a module's name to the graph that it is in
        """
        for case, trace in self.traces(reference).items():
            names = in_order([name for name in trace.values if layer_of_output(name) is not None])
            layers = {name: owner(name.removesuffix(ENDING)) for name in names}
            steps = partial(_steps, case, layers=layers, prefix=self._prefix(trace.tokens))
            for index, step in enumerate(steps(trace)):
                yield replace(step, moved=partial(self._effect, reference, steps, case, index))

    def _effect(
        self,
        reference: Reference,
        steps: "Callable[[Trace], Iterator[Step]]",
        case: str,
        place: int,
        formats: Formats,
        cut: bool,
    ) -> Mapping[str, Measures]:
        """Of one step, found in passes with and without errors of some formats."""
        clean = self.traces(reference)[case]
        moved = self.moved(reference, formats, "layers" if cut else "graphs")[case]
        ours, theirs = (next(islice(steps(trace), place, None)).expected for trace in (moved, clean))
        found: dict[str, Measures] = {name: compare(ours[name], theirs[name]) for name in theirs}
        for name in theirs:
            if layer_of_output(name) is not None and theirs[name].shape[-2] == 1:
                found[name] = of_one_token(found[name], name, moved, clean)
        if "logits" in found:
            found["logits"] = of_a_token(found["logits"], theirs["logits"], moved, clean)
        return found

    def moved(self, reference: Reference, formats: Formats, fed: Fed) -> "dict[str, Trace]":
        """`traces` with errors of these formats, see rounding.py."""
        from nexus_edge.parity.rounding import rounded

        key = (reference, formats, fed)
        if key not in self._moved:
            given = [] if fed == "pixels" else list(self.traces(reference).values())
            with rounded(formats):
                self._moved[key] = self._carry(reference, self.prompts, given, cut=fed == "layers")
        return self._moved[key]

    def effects(self, reference: Reference, formats: Formats, case: str) -> Mapping[str, Measures]:
        """By how much errors of these formats move a case's image features and the logits of its last token."""
        clean, moved = self.traces(reference)[case], self.moved(reference, formats, "pixels")[case]
        own = clean.load("logits")[-1:]
        found = {"logits": of_a_token(compare(moved.load("logits")[-1:], own), own, moved, clean)}
        if "image_features" in clean.values:
            found["image_features"] = compare(moved.load("image_features"), clean.load("image_features"))
        return found

    def _prefix(self, tokens: int) -> int:
        """Tokens of the first of a prompt's two decoder calls; all of them where the second could not follow it."""
        first = tokens - 1
        switches = self.limit is not None and first <= self.limit < tokens
        return tokens if not first or switches else first

    def _carry(
        self, reference: Reference, calls: "Mapping[str, Call]", fed: "Sequence[Trace]" = (), *, cut: bool = True
    ) -> "dict[str, Trace]":
        from nexus_edge.parity.vlm.streamed import carry

        if not calls:
            return {}
        traces = carry(self.source(reference), list(calls.values()), self._spool, fed, cut=cut)
        return dict(zip(calls, traces, strict=True))


def text_rows(is_image: NDArray[np.bool_]) -> Ids:
    """The tokens of a prompt that predict text: those before a text token, and the last.

    What a decoder predicts in the middle of an image is never read, and no training made it mean anything.

    Args:
        is_image: bool [tokens]
    """
    return np.append(np.flatnonzero(~is_image[:-1] & ~is_image[1:]), len(is_image) - 1)


def wanted_rows(is_image: NDArray[np.bool_]) -> Ids:
    """`text_rows`, and the token before the last, where the first of a prompt's two decoder calls ends."""
    return np.union1d(text_rows(is_image), [max(0, len(is_image) - 2)])


def of_a_token(drawn: Measures, logits: Array, moved: "Trace", clean: "Trace") -> Measures:
    """By how much errors may move one token's logits.

    Another draw for a single token may be ten times as large, or nothing at all: its errors have few directions, and
    few of its numbers lie between two codes. So they count as those of an average token of the prompt at least.

    Args:
        drawn: between this token's logits with errors and without
        logits: of this token, without errors
        moved, clean: the prompt with errors and without
    """
    size = float(np.linalg.norm(logits.astype(np.float64)))
    if not size:
        return drawn
    errors = np.subtract(moved.load("logits"), clean.load("logits"), dtype=np.float64)
    average = float(np.linalg.norm(errors)) / math.sqrt(len(errors)) / size
    return {**drawn, "relative_l2": max(drawn["relative_l2"], average)}


def of_one_token(drawn: Measures, name: str, moved: "Trace", clean: "Trace") -> Measures:
    """By how much errors may move what a layer makes of one token.

    Of a single token often no number lies between two codes in one draw, and one or two do in a kernel; that one moves
    it more than all of them an average token. So errors count as those of the text token that they move most.

    Args:
        drawn: between this token's output with errors and without
        name: of the layer's output
        moved, clean: the prompt with errors and without
    """
    expected, text = clean.load(name), ~clean.call.is_image
    errors = np.linalg.norm(np.subtract(moved.load(name), expected, dtype=np.float64), axis=-1)[..., text]
    sizes = np.linalg.norm(expected.astype(np.float64), axis=-1)[..., text]
    worst = float(np.max(errors[sizes > 0] / sizes[sizes > 0], initial=0.0))
    return {**drawn, "relative_l2": max(drawn["relative_l2"], worst)}


def _beyond(case: str) -> str:
    return f"{case}, beyond the LongRoPE limit"


def _steps(case: str, trace: "Trace", layers: Mapping[str, str], prefix: int) -> Iterator[Step]:
    call, values = trace.call, trace.values
    features: Array = np.zeros((0, values["inputs_embeds"].shape[-1]), np.float32)
    if call.images is not None:
        names = [*(name for name, graph in layers.items() if graph == "vision_encoder"), "image_features"]
        yield Step("vision_encoder", case, call.seen, LazyValues({name: values[name].load for name in names}))
        features = trace.load("image_features")
    ids = {"input_ids": call.ids, "image_features": features}
    yield Step("embed_tokens", case, ids, LazyValues({"inputs_embeds": values["inputs_embeds"].load}))
    decoder = [name for name, graph in layers.items() if graph == "decoder"]
    yield _decoder_step(case, trace, decoder, 0, prefix)
    if prefix < trace.tokens:
        yield _decoder_step(f"{case}, next token", trace, decoder, prefix, trace.tokens)


def _decoder_step(case: str, trace: "Trace", layers: list[str], start: int, stop: int) -> Step:
    """The decoder's call for the tokens from `start` to `stop` of a prompt."""

    def tokens(name: str, first: int = start, last: int = stop) -> Callable[[], Array]:
        load = trace.values[name].load
        return lambda: load()[..., first:last, :]

    def logits() -> Array:
        row = int(np.flatnonzero(trace.call.rows == stop - 1)[0])
        return trace.load("logits")[None, row : row + 1]

    caches = [name for name in trace.values if name.startswith("present.")]
    inputs: dict[str, Callable[[], Array]] = {
        "inputs_embeds": tokens("inputs_embeds"),
        "attention_mask": lambda: np.ones((1, stop), np.int64),
    }
    inputs |= {name.replace("present", "past_key_values"): tokens(name, 0, start) for name in caches}
    expected = {name: tokens(name) for name in layers} | {name: tokens(name, 0) for name in caches}
    makers = expected | {"logits": logits}
    return Step(
        "decoder", case, LazyValues(inputs), LazyValues({name: makers[name] for name in in_order(list(makers))})
    )
