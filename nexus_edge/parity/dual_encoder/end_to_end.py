"""P5 for dual encoders: pixels, tokens, embeddings, probabilities of labels, and hits of a search.

Pixels and tokens are held against other code (the family's original.py); from there on the reference is the quantized
PyTorch model on those inputs. What full precision would have said is reported beside it and gates nothing here: P4 has
judged that.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from nexus_edge.errors import BundleError
from nexus_edge.interfaces.parity import DualInputs
from nexus_edge.parity.dual_encoder.directions import in_many_directions
from nexus_edge.parity.dual_encoder.embeddings import embed_images, embed_texts, ensemble
from nexus_edge.parity.dual_encoder.ranking import compare_embeddings, error_deviation, ranking_checks, softmax
from nexus_edge.parity.dual_encoder.run import DualRun, dual_run
from nexus_edge.parity.formats import Formats
from nexus_edge.parity.metrics import Array, Floats, Measures, compare
from nexus_edge.parity.per_target import compare_runtimes, only, reference_for
from nexus_edge.parity.precisions import formats_of
from nexus_edge.parity.report.report import Check, NotRunError
from nexus_edge.parity.run import ParityRun
from nexus_edge.parity.samples import Sample, in_words, thumbnail
from nexus_edge.parity.sources import weight_bytes
from nexus_edge.parity.stages import Effects, Judge

if TYPE_CHECKING:
    from torch import Tensor

    from nexus_edge.models.base import ReferenceModel
    from nexus_edge.runtimes import DualEncoder


@dataclass(frozen=True)
class Answers:
    """What one model makes of the probes and the sentences.

    Attributes:
        images, texts: embeddings [images, dim] and [sentences, dim]
        labels: how well each label fits an image, cosines [images, labels]
        probabilities: [images, labels]
    """

    images: Floats
    texts: Floats
    labels: Floats
    probabilities: Floats

    @classmethod
    def of(
        cls, model: "ReferenceModel", dual: DualRun, inputs: DualInputs, pixels: "Tensor | None" = None
    ) -> "Answers":
        """By a PyTorch model, on inputs that the runtime's processing had no part in, unless `pixels` are given."""
        data = dual.evaluation_set
        if pixels is None:
            pixels = inputs.pixels([probe.image for probe in data.probes])
        images = embed_images(model, pixels)
        prompts = embed_texts(model, inputs.ids(data.prompts))
        similarities = images @ ensemble(prompts, len(data.held_out.labels)).T
        texts = embed_texts(model, inputs.ids(data.sentences))
        return cls(images, texts, similarities, softmax(dual.logit_scale * similarities))

    @property
    def values(self) -> dict[str, Array]:
        """By the names of the stages that are gated by their error."""
        return {"image embeddings": self.images, "text embeddings": self.texts, "probabilities": self.probabilities}


def compare_end_to_end(run: ParityRun, target: str) -> list[Check]:
    """What goes in, then in each precision of the runtime what comes out, stage by stage."""
    from nexus_edge.runtimes import EngineOptions, load_dual_encoder

    needed = 2 * weight_bytes(run.bundle)
    run.memory.require(needed, "the quantized model in PyTorch and in the runtime")
    run.references.make_room(needed)
    dual, judge = dual_run(run), run.judges.judge("P5", target=target)
    inputs = dual.original_inputs
    checks = [*_pixels(dual, judge, inputs), _tokens(dual, judge, inputs), _logit_scale(dual, judge)]
    model = run.references.model(reference_for(target))
    expected = Answers.of(model, dual, inputs)
    full = _full_precision(dual, inputs)

    def compare(options: EngineOptions, judge: Judge) -> list[Check]:
        @cache
        def effects() -> Mapping[str, Measures]:
            return _effects(dual, model, inputs, expected, formats_of(options))

        runtime = load_dual_encoder(only(run.bundle, target), options)
        try:
            actual = _run(dual, runtime)
        except BundleError as error:  # a tower whose embeddings are none
            return [Check("embeddings", "embeddings", "all", problem=str(error))]
        return _compare_outputs(dual, runtime, judge, actual, (expected, full), effects)

    return checks + compare_runtimes(run, target, "P5", compare)


def _full_precision(dual: DualRun, inputs: DualInputs) -> Answers | None:
    try:
        return Answers.of(dual.run.references.full_beside_runtime, dual, inputs)
    except NotRunError as error:
        dual.run.note(f"probabilities of full precision: {error}")
        return None


def _effects(
    dual: DualRun, model: "ReferenceModel", inputs: DualInputs, expected: Answers, formats: Formats
) -> Mapping[str, Measures]:
    """How far rounding moves what is found, on the runtime's pixels, which differ by a level here and there."""
    import torch

    from nexus_edge.parity.rounding import effect

    pixels = torch.from_numpy(dual.processor.images([probe.image for probe in dual.evaluation_set.probes]))
    moved = effect(lambda: Answers.of(model, dual, inputs, pixels).values, expected.values, formats)
    return in_many_directions(moved, expected.images, dual.quantized_embeddings.labels, dual.info.logit_scale)


def _compare_outputs(
    dual: DualRun,
    runtime: "DualEncoder",
    judge: Judge,
    actual: Answers,
    references: tuple[Answers, Answers | None],
    effects: Effects,
) -> list[Check]:
    expected, full = references
    checks: list[Check] = []
    for stage, ours, theirs in (
        ("image embeddings", actual.images, expected.images),
        ("text embeddings", actual.texts, expected.texts),
    ):
        measures = compare_embeddings(ours, theirs)
        gate = judge.resolved(judge.gate(stage), stage, measures, effects)
        checks.append(Check(stage, stage, f"{len(ours)} rows", measures, gate))
    found = _probabilities("probabilities", judge, actual, expected, effects)
    checks.append(replace(found, samples=_samples(dual, actual, expected if full is None else full, full is not None)))
    hits = _search(runtime, actual.images, dual.evaluation_set.sentences)
    pairs = (actual.labels, expected.labels), (hits, expected.texts @ expected.images.T)
    deviation = error_deviation(*pairs)
    for case, scores in zip(("labels of an image", "images of a text"), pairs, strict=True):
        checks += ranking_checks(judge, case, *scores, deviation)
    if full is not None:
        checks.append(_probabilities("probabilities of full precision", judge, actual, full, None))
    return checks


def _run(dual: DualRun, runtime: "DualEncoder") -> Answers:
    """The runtime that ships, as an application uses it."""
    from nexus_edge.runtimes import TruncatedTextWarning

    data = dual.evaluation_set
    images = [probe.image for probe in data.probes]
    found = runtime.classify(images, data.held_out.labels, data.held_out.templates)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncatedTextWarning)  # one of the sentences is there to be cut
        texts = runtime.embed_texts(data.sentences)
    return Answers(
        images=np.asarray(runtime.embed_images(images), np.float64),
        texts=np.asarray(texts, np.float64),
        labels=np.stack([result.similarities for result in found]).astype(np.float64),
        probabilities=np.stack([result.probabilities for result in found]).astype(np.float64),
    )


def _pixels(dual: DualRun, judge: Judge, inputs: DualInputs) -> list[Check]:
    checks: list[Check] = []
    for probe in dual.evaluation_set.probes:
        ours, theirs = dual.processor.images([probe.image]), inputs.pixels([probe.image]).numpy()
        checks += judge.check("pixels", probe.name, {"pixel_values": ours}, {"pixel_values": theirs})
    return checks


def _tokens(dual: DualRun, judge: Judge, inputs: DualInputs) -> Check:
    """Ids of every text that is used anywhere in the ladder."""
    data = dual.evaluation_set
    texts = (*data.sentences, *data.captions, *data.prompts)
    ours, theirs = dual.processor.texts(texts), inputs.ids(texts).numpy()
    same = ours.shape == theirs.shape
    mismatches = int((ours != theirs).sum()) if same else max(ours.size, theirs.size)
    return Check("tokens", "input_ids", f"{len(texts)} texts", {"mismatches": float(mismatches)}, judge.gate("tokens"))


def _logit_scale(dual: DualRun, judge: Judge) -> Check:
    said, found = (np.array([[scale]]) for scale in (dual.info.logit_scale, dual.logit_scale))
    return Check("logit scale", "logit_scale", "manifest", compare(said, found), judge.gate("logit scale"))


def _probabilities(stage: str, judge: Judge, actual: Answers, expected: Answers, effects: Effects | None) -> Check:
    case = "{} images, {} labels".format(*expected.probabilities.shape)
    measures = compare(actual.probabilities, expected.probabilities)
    return Check(stage, "probabilities", case, measures, judge.resolved(judge.gate(stage), stage, measures, effects))


def _samples(dual: DualRun, actual: Answers, reference: Answers, is_full: bool) -> tuple[Sample, ...]:
    """For readers: every probe with the labels that both find most probable."""
    labels, name = dual.evaluation_set.held_out.labels, "full precision" if is_full else "quantized, in PyTorch"
    return tuple(
        Sample(
            (thumbnail(probe.image),),
            "",
            name,
            in_words(labels, before.tolist()),
            in_words(labels, after.tolist()),
            float(np.abs(after - before).max()),
        )
        for probe, before, after in zip(
            dual.evaluation_set.probes, reference.probabilities, actual.probabilities, strict=True
        )
    )


def _search(runtime: "DualEncoder", images: Floats, sentences: tuple[str, ...]) -> Array:
    """Cosines [sentences, images] as a search in an index of the images finds them."""
    from nexus_edge.runtimes import ImageIndex, TruncatedTextWarning
    from nexus_edge.runtimes.dual_encoder.index.image_index import Stamp

    names = tuple(str(place) for place in range(len(images)))
    stamps = (Stamp(0, 0),) * len(images)
    rows = images.astype(np.float32)
    index = ImageIndex(rows, names, stamps, runtime.info.image_tower, runtime.name, runtime.weights, "")
    scores = np.zeros((len(sentences), len(images)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncatedTextWarning)
        for row, sentence in zip(scores, sentences, strict=True):
            for hit in runtime.search(sentence, index, top_k=len(images)):
                row[int(hit.path)] = hit.score
    return scores
