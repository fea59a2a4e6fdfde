"""The runtime on an exported model gives what open_clip recorded: embeddings, and the probabilities of labels."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import open_checkpoint
from nexus_edge.recipe import find_recipe
from nexus_edge.runtimes import DualEncoder, build_index, load_dual_encoder

GOLDEN = Path(__file__).parents[1] / "golden" / "biomedclip_tiny"
# Of a unit vector's length: float32 sums in another order than torch's, through six layers of two towers.
NOISE = 1e-5
CASES = json.loads((GOLDEN / "cases.json").read_text("utf-8"))
IMAGES = [GOLDEN / name for name in CASES["images"]]
# The last recorded texts are longer than the context; open_clip cuts them without a word.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::nexus_edge.runtimes.TruncatedTextWarning")]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> DualEncoder:
    from nexus_edge.pipeline.export import export  # heavy

    out = tmp_path_factory.mktemp("golden") / "fp32"
    recipe = find_recipe("biomedclip", "fp32")
    export(open_checkpoint(str(GOLDEN), recipe.checkpoint), recipe, out, parity=False)
    return load_dual_encoder(Bundle.open(out))


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    return load_file(GOLDEN / "outputs.safetensors")


def test_embeddings_of_images_from_their_files(model: DualEncoder, recorded: dict[str, np.ndarray]) -> None:
    for batch_size in (1, 3, 16):
        found = model.embed_images(IMAGES, batch_size=batch_size)
        assert np.abs(found - recorded["image_features_normalized"]).max() <= NOISE


def test_embeddings_of_texts_without_their_padding(model: DualEncoder, recorded: dict[str, np.ndarray]) -> None:
    """open_clip computes all 256 positions of each text; here a batch is as wide as its longest."""
    for batch_size in (1, 4, 16):
        found = model.embed_texts(CASES["texts"], batch_size=batch_size)
        assert np.abs(found - recorded["text_features_normalized"]).max() <= NOISE


def test_the_logit_scale_is_the_recorded_factor(model: DualEncoder, recorded: dict[str, np.ndarray]) -> None:
    assert model.info.logit_scale == pytest.approx(float(recorded["logit_scale_exp"][0]), rel=1e-6)


def test_probabilities_of_labels(model: DualEncoder, recorded: dict[str, np.ndarray]) -> None:
    unlike = [place for place, text in enumerate(CASES["texts"]) if text.strip()]  # no label is empty
    labels = [CASES["texts"][place] for place in unlike]
    expected = recorded["probs_per_image"][:, unlike]
    expected = expected / expected.sum(axis=1, keepdims=True)
    found = np.stack([one.probabilities for one in model.classify(IMAGES, labels, ["{}"])])
    # An error of the cosines is multiplied by the scale, and a probability's slope is a quarter at most.
    assert np.abs(found - expected).max() <= NOISE * model.info.logit_scale


def test_search_ranks_as_the_recorded_similarities(
    model: DualEncoder, recorded: dict[str, np.ndarray], tmp_path: Path
) -> None:
    index = build_index(model, IMAGES, tmp_path / "i.safetensors").index
    for text, logits in zip(CASES["texts"], recorded["logits_per_text"], strict=True):
        hits = model.search(text, index, len(IMAGES))
        scores = [hit.score * model.info.logit_scale for hit in hits]
        assert np.allclose(scores, np.sort(logits)[::-1], atol=NOISE * model.info.logit_scale, rtol=0)
        best = Path(hits[0].path).name
        assert logits[[path.name for path in IMAGES].index(best)] >= logits.max() - NOISE * model.info.logit_scale
