"""The dual encoder on the toy bundle, whose towers are repeated in numpy (toy_dual.py)."""

import dataclasses
import io
import shutil
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_dual
from toy_dual import plain_image

import nexus_edge
from nexus_edge.bundle import Bundle
from nexus_edge.errors import BundleError, ImageError, InputError
from nexus_edge.processing.images import ImageInput
from nexus_edge.runtimes import (
    VLM,
    DualEncoder,
    EngineOptions,
    PromptSet,
    TruncatedTextWarning,
    load_dual_encoder,
    load_vlm,
)

NOISE = 1e-6  # a few roundings of float32 in sums of a dozen numbers below 1
LABELS = ["red", "green", "blue"]


@pytest.fixture(scope="module")
def model(dual_bundle: Bundle) -> DualEncoder:
    return load_dual_encoder(dual_bundle, EngineOptions(threads=1))


def close(found: np.ndarray, expected: object) -> bool:
    return found.dtype == np.float32 and bool(np.allclose(found, np.asarray(expected), atol=NOISE, rtol=0))


def noise_images(count: int) -> list[ImageInput]:
    random = np.random.default_rng(1)
    return [random.integers(0, 256, (20 + index, 30, 3), np.uint8) for index in range(count)]


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_images_are_embedded_in_their_order_whatever_the_batch(model: DualEncoder, batch_size: int) -> None:
    images = noise_images(10)
    expected = toy_dual.image_embedding(model.processor.images(images))
    assert close(model.embed_images(images, batch_size=batch_size), expected)


def test_the_old_keyword_works_and_says_the_new_one(model: DualEncoder) -> None:
    with pytest.warns(DeprecationWarning, match="embed_images: pictures= is now images="):
        found = model.embed_images(pictures=[plain_image("red")])  # type: ignore[call-arg]
    assert close(found, model.embed_images(images=[plain_image("red")]))


def test_every_kind_of_image_is_taken(model: DualEncoder, tmp_path: Path) -> None:
    (path,) = toy_dual.write_images(tmp_path, "red.png")
    file = io.BytesIO()
    plain_image("red").save(file, "PNG")
    kinds: list[ImageInput] = [path, str(path), file.getvalue(), plain_image("red"), np.asarray(plain_image("red"))]
    embeddings = model.embed_images(kinds)
    assert close(embeddings, [embeddings[0]] * len(kinds))


def test_texts_are_embedded_in_their_order_though_sorted_by_length(model: DualEncoder) -> None:
    texts = ["this is a photo of a red cell", "blue", "a green cell", "red red blue", "a photo"] * 7
    expected = [toy_dual.text_embedding(text) for text in texts]
    for batch_size in (1, 4, 64):
        assert close(model.embed_texts(texts, batch_size=batch_size), expected)


def test_nothing_to_embed(model: DualEncoder) -> None:
    assert model.embed_images([]).shape == model.embed_texts([]).shape == (0, toy_dual.DIM)


def test_padding_is_trimmed_to_the_longest_of_a_batch(dual_bundle: Bundle) -> None:
    model = load_dual_encoder(dual_bundle)
    shapes: list[tuple[int, ...]] = []

    class Spy:
        def encode_texts(self, ids: np.ndarray) -> np.ndarray:
            shapes.append(ids.shape)
            return np.repeat(np.eye(1, toy_dual.DIM, dtype=np.float32), len(ids), axis=0)

    model.engine = Spy()  # type: ignore[assignment]
    model.embed_texts(["a red cell", "blue", "red", "this is a photo of a blue cell"], batch_size=2)
    # With [CLS] and [SEP]: two texts of one word, then the two longer ones.
    assert shapes == [(2, 3), (2, 10)]


def test_progress_counts_to_the_end(model: DualEncoder) -> None:
    seen: list[tuple[int, int]] = []
    model.embed_images(noise_images(5), batch_size=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 5), (2, 5), (4, 5), (5, 5)]
    seen.clear()
    model.embed_texts(["red"] * 3, batch_size=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 3), (2, 3), (3, 3)]


def test_few_images_are_decoded_ahead_of_the_tower(dual_bundle: Bundle) -> None:
    model, lock = load_dual_encoder(dual_bundle), threading.Lock()
    taken = 0

    def many() -> Iterator[ImageInput]:
        nonlocal taken
        for _ in range(1000):
            with lock:
                taken += 1
            yield plain_image("red")

    next(model.stream_images(many(), batch_size=4))
    assert 4 <= taken <= 4 + 2 * 4 + 1


def test_an_image_that_cannot_be_read_is_named_and_the_others_go_on(model: DualEncoder) -> None:
    images: list[ImageInput] = [plain_image("red"), b"a letter", plain_image("blue")]
    with pytest.raises(ImageError, match="cannot be read"):
        model.embed_images(images)
    (batch,) = model.stream_images(images, 16)
    assert isinstance(batch[1], ImageError)
    good = model.embed_images([images[0], images[2]])
    assert close(np.stack([batch[0], batch[2]]), good)


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum()


def test_classify_is_the_softmax_of_scaled_cosines(model: DualEncoder) -> None:
    red = toy_dual.image_embedding(model.processor.images([plain_image("red")]))[0]
    rows = np.stack([toy_dual.text_embedding(f"this is a photo of {label}") for label in LABELS])
    result = model.classify(plain_image("red"), LABELS)
    assert result.labels == tuple(LABELS)
    assert close(result.similarities, rows @ red)
    assert close(result.probabilities, softmax(toy_dual.LOGIT_SCALE * (rows @ red)))
    assert result.best == "red"
    assert [label for label, _ in result.top(2)] == ["red", "blue"]  # green is further from red than blue, after std
    assert sum(share for _, share in result.top()) == pytest.approx(1)


def test_templates_are_normalised_averaged_and_normalised_again(model: DualEncoder) -> None:
    templates = ["{}", "red red red red {} cell"]
    rows = []
    for label in LABELS:
        unit = [toy_dual.text_embedding(template.replace("{}", label)) for template in templates]
        mean = (unit[0] + unit[1]) / 2
        rows.append(mean / np.linalg.norm(mean))
    assert close(model.label_bank(LABELS, templates).embeddings, rows)


def test_several_images_give_a_list_and_one_gives_a_result(model: DualEncoder, tmp_path: Path) -> None:
    (path,) = toy_dual.write_images(tmp_path, "blue.png")
    results = model.classify([plain_image("green"), path], LABELS)
    assert [result.best for result in results] == ["green", "blue"]
    assert model.classify(str(path), LABELS).best == "blue"


def test_labels_are_embedded_once_for_a_loop_over_images(dual_bundle: Bundle, monkeypatch: Any) -> None:
    model = load_dual_encoder(dual_bundle)
    calls: list[int] = []
    original = model.embed_texts
    monkeypatch.setattr(model, "embed_texts", lambda texts, **rest: calls.append(len(texts)) or original(texts, **rest))
    for colour in LABELS:
        assert model.classify(plain_image(colour), LABELS).best == colour
    model.classify(plain_image("red"), LABELS, ["{} cell"])
    assert calls == [3, 3]


@pytest.mark.parametrize(
    ("labels", "templates", "message"),
    [
        ([], None, "no labels"),
        (["red", " "], None, "a label is empty"),
        (["red", "blue", "red"], None, "'red' appears twice"),
        ("red", None, "must be a list"),
        (["red"], [], "no templates; give at least one"),
        (["red", "blue", "Red"], None, "labels 'red' and 'Red' are the same to the model"),
        (["red"], ("a photo",), r"must contain"),
        (["red"], ("{} and {}",), r"must contain \{\} once"),
    ],
)
def test_labels_that_cannot_be_used(model: DualEncoder, labels: Any, templates: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        model.classify(plain_image("red"), labels, templates)


def test_labels_come_back_as_plain_texts(model: DualEncoder) -> None:
    model.classify(plain_image("red"), np.array(LABELS))  # kept for the next call
    assert {type(label) for label in model.classify(plain_image("red"), LABELS).labels} == {str}


def test_a_bank_brings_its_own_templates(model: DualEncoder) -> None:
    with pytest.raises(InputError, match="has its templates in it"):
        model.classify(plain_image("red"), model.label_bank(LABELS), ["{}"])


def test_ten_thousand_labels(model: DualEncoder) -> None:
    labels = [f"cell {number}" for number in range(9_999)] + ["red"]
    seen: list[int] = []
    bank = model.label_bank(PromptSet(tuple(labels), ("a photo of {}",)), progress=lambda done, _: seen.append(done))
    assert bank.embeddings.shape == (10_000, toy_dual.DIM)
    assert len(seen) > 100 and seen[-1] == 10_000
    result = model.classify(plain_image("red"), bank)
    assert result.best == "red"
    assert result.probabilities.sum() == pytest.approx(1, abs=1e-4)  # 10,000 roundings to float32


def test_a_text_of_5000_words_is_cut_and_that_is_said(model: DualEncoder) -> None:
    text = "red " * 5000
    # [CLS], 5,000 words, [SEP]; the model reads 12.
    with pytest.warns(TruncatedTextWarning, match=r"a text was cut to the 12 tokens .* last 4,990 tokens were dropped"):
        embedding = model.embed_texts([text])[0]
    assert close(embedding, toy_dual.text_embedding("red " * 10))
    with pytest.warns(TruncatedTextWarning, match="2 texts were cut.*longest one's last 4,990"):
        model.embed_texts([text, "blue", "a " * 11])


def test_a_text_that_fits_exactly_is_not_complained_about(model: DualEncoder) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.embed_texts(["red " * 10])


def test_search_with_a_text_and_with_an_image(model: DualEncoder, tmp_path: Path) -> None:
    paths = toy_dual.write_images(tmp_path, "red.png", "green.png", "blue.png")
    built = nexus_edge.runtimes.build_index(model, paths, tmp_path / "index.safetensors").index
    for query in ("a photo of blue", tmp_path / "blue.png", plain_image("blue")):
        for index in (built, tmp_path / "index.safetensors", str(tmp_path / "index.safetensors")):
            assert [hit.path for hit in model.search(query, index, top_k=1)] == ["blue.png"]
    hits = model.search("green", built)
    assert len(hits) == 3
    expected = toy_dual.image_embedding(model.processor.images([plain_image("green")]))[0]
    assert hits[0].score == pytest.approx(float(expected @ toy_dual.text_embedding("green")), abs=NOISE)
    assert hits[0].score >= hits[1].score >= hits[2].score
    with pytest.raises(InputError, match="top_k is 0"):
        model.search("green", built, top_k=0)
    assert len(model.search("green", built, top_k=np.int64(2))) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"top_k": 2.5}, r"^top_k must be a whole number, not a float 2\.5$"),
        ({"top_k": True}, "^top_k must be a whole number"),
        ({"top_k": "2"}, "^top_k must be a whole number"),
        ({"top_k": None}, "^top_k must be a whole number, not None$"),
        ({"query": None}, r"^query must be a text \(str\) or one image, not None$"),
        ({"query": []}, r"^query must be a text \(str\) or one image, not a list"),
        ({"query": ["red", "blue"]}, r"^query must be a text \(str\) or one image, not a list"),
        ({"query": 3}, r"^query must be a text \(str\) or one image, not a int"),
        ({"index": None}, r"^index must be a path \(str or Path\), not None$"),
        ({"index": ""}, "^index is an empty path"),
    ],
)
def test_what_a_search_is_not_asked_with(
    arguments: dict[str, Any], problem: str, model: DualEncoder, tmp_path: Path
) -> None:
    paths = toy_dual.write_images(tmp_path, "red.png")
    index = nexus_edge.runtimes.build_index(model, paths, tmp_path / "index.safetensors").index
    given: dict[str, Any] = {"query": "red", "index": index, **arguments}
    with pytest.raises(InputError, match=problem):
        model.search(**given)


def test_another_models_index_is_refused(model: DualEncoder, tmp_path: Path) -> None:
    other = load_dual_encoder(toy_dual.write_bundle(tmp_path / "other", tint=2.0))
    paths = toy_dual.write_images(tmp_path, "red.png")
    index = nexus_edge.runtimes.build_index(other, paths, tmp_path / "index.safetensors").index
    with pytest.raises(InputError, match=r"made by another model \(other\) than toy-dual"):
        model.search("red", index)
    changed = dataclasses.replace(index, embeddings=np.ones((1, 1), np.float32), image_tower=model.info.image_tower)
    with pytest.raises(InputError, match="holds 1 numbers per image"):
        model.search("red", changed)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda rows: rows * np.float32(1e-39), "not of length 1"),
        (lambda rows: rows * np.float32(1.1), "not of length 1"),
        (lambda rows: rows[:, :2], r"dual_encoder says \[\d, 4\]"),
    ],
)
def test_a_tower_that_computes_no_embeddings(
    dual_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, change: Any, problem: str
) -> None:
    """What `search` would refuse in an index is refused before it is written, or taken for an answer."""
    model = load_dual_encoder(dual_bundle)
    images, texts = model.engine.encode_images, model.engine.encode_texts
    assert len(model.embed_images(plain_image("red"))) == len(model.embed_texts(["red"])) == 1
    monkeypatch.setattr(model.engine, "encode_images", lambda pixels: change(images(pixels)))
    monkeypatch.setattr(model.engine, "encode_texts", lambda ids: change(texts(ids)))
    with pytest.raises(BundleError, match=f"image_encoder computes .*{problem}"):
        model.embed_images(plain_image("red"))
    with pytest.raises(BundleError, match=f"text_encoder computes .*{problem}"):
        model.classify(plain_image("red"), LABELS)


def test_towers_that_changed_places(dual_bundle: Bundle) -> None:
    graphs = dual_bundle.manifest.graphs["onnx"]
    exchanged = {"image_encoder": graphs["text_encoder"], "text_encoder": graphs["image_encoder"]}
    manifest = dataclasses.replace(dual_bundle.manifest, graphs={"onnx": exchanged})
    # A load refuses it, see test_manifest_check.py.
    model = load_dual_encoder(dataclasses.replace(dual_bundle, manifest=manifest, allow_rejected=True))
    with pytest.raises(BundleError, match=r"text_encoder\.onnx: fails when it runs"):
        model.embed_images(plain_image("red"))


def test_a_tower_that_computes_nan_is_no_model(tmp_path: Path) -> None:
    model = load_dual_encoder(toy_dual.write_bundle(tmp_path / "nan", nan=True))
    with pytest.raises(BundleError, match=r"image_encoder.onnx: produced NaN"):
        model.embed_images([plain_image("red")])


def test_only_the_tower_that_is_used_is_loaded(tmp_path: Path) -> None:
    bundle = toy_dual.write_bundle(tmp_path / "toy")
    model = load_dual_encoder(bundle)
    (bundle.root / "onnx" / "text_encoder.data").unlink()
    assert model.embed_images([plain_image("red")]).shape == (1, toy_dual.DIM)
    with pytest.raises(BundleError, match="text_encoder"):
        model.embed_texts(["red"])


def test_load_returns_what_the_manifest_says(dual_bundle: Bundle, toy_bundle: Bundle) -> None:
    assert isinstance(nexus_edge.load(dual_bundle), DualEncoder)
    assert isinstance(nexus_edge.load(toy_bundle), VLM)
    with pytest.raises(BundleError, match="it does not answer; use nexus-edge classify"):
        load_vlm(dual_bundle)
    with pytest.raises(BundleError, match="it embeds nothing; use nexus-edge run"):
        load_dual_encoder(toy_bundle)


def test_an_unknown_model_type_is_named(dual_bundle: Bundle, tmp_path: Path) -> None:
    copy = shutil.copytree(dual_bundle.root, tmp_path / "copy")
    manifest = copy / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"biomedclip"', '"biomedclap"'))
    with pytest.raises(BundleError, match="'biomedclap' has no runtime; did you mean 'biomedclip'"):
        nexus_edge.load(copy)


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_holds_something(model: DualEncoder, size: int) -> None:
    with pytest.raises(InputError, match="batch size is"):
        model.embed_images([plain_image("red")], batch_size=size)
    with pytest.raises(InputError, match="batch size is"):
        model.embed_texts(["red"], batch_size=size)
