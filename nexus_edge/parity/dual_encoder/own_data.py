"""A user's labelled images: zero-shot accuracy of full precision in PyTorch and of the bundle in the runtime."""

import numpy as np

from nexus_edge.parity.dual_encoder.embeddings import embed_images, embed_texts, ensemble
from nexus_edge.parity.dual_encoder.run import dual_run
from nexus_edge.parity.per_target import only
from nexus_edge.parity.report.report import Check
from nexus_edge.parity.run import ParityRun
from nexus_edge.parity.rungs.own_data import in_words
from nexus_edge.parity.sources import scheme_class

STAGE = "own labels"
BATCH = 64  # images that are in memory together: 40 MB of pixels at 224 x 224


def compare_examples(run: ParityRun, target: str) -> list[Check]:
    """One check: what was lost of what full precision labels as the user does."""
    from nexus_edge.runtimes import EngineOptions, load_dual_encoder
    from nexus_edge.runtimes.dual_encoder.prompts import DEFAULT_TEMPLATES

    wanted, labels = [example.label for example in run.examples], labels_of(run)
    theirs = [label == right for label, right in zip(full_labels(run), wanted, strict=True)]
    runtime = load_dual_encoder(only(run.bundle, target), EngineOptions(engine=target))
    found = runtime.classify([example.images[0] for example in run.examples], labels, DEFAULT_TEMPLATES)
    ours = [result.best == right for result, right in zip(found, wanted, strict=True)]
    run.note(in_words(target, ours, theirs))
    share, reference = sum(ours) / len(ours), sum(theirs) / len(ours)
    measures = {
        "accuracy": share,
        "accuracy_reference": reference,
        "accuracy_drop": max(0.0, reference - share),
        "items": float(len(ours)),
    }
    gate = run.judges.gate("eval", scheme_class(run.manifest), target)(STAGE)
    return [Check(STAGE, f"{len(ours)} images, {len(labels)} labels", "own data", measures, gate)]


def labels_of(run: ParityRun) -> list[str]:
    """Every label that is right somewhere, in alphabetical order."""
    return sorted({example.label for example in run.examples})


def full_labels(run: ParityRun) -> list[str]:
    """What full precision says of each image, on inputs that the runtime's processing had no part in.

    Raises:
        NotRunError: there is no checkpoint, or it does not fit
    """
    from nexus_edge.processing.images import load_image
    from nexus_edge.runtimes.dual_encoder.prompts import DEFAULT_TEMPLATES

    labels, inputs, model = labels_of(run), dual_run(run).original_inputs, run.references.full
    prompts = [template.replace("{}", label) for template in DEFAULT_TEMPLATES for label in labels]
    rows = ensemble(embed_texts(model, inputs.ids(prompts)), len(labels))
    found: list[str] = []
    for start in range(0, len(run.examples), BATCH):
        images = [load_image(example.images[0]) for example in run.examples[start : start + BATCH]]
        similar = embed_images(model, inputs.pixels(images)) @ rows.T
        found += [labels[best] for best in np.argmax(similar, axis=1)]
    return found
