"""The training code of the embedded dual encoder: true captions, a split by image, the reference model's arithmetic.

Most of it runs on smears drawn here; what needs the real ones skips where they are absent.
"""

import csv
import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from nexus_edge.assets import held_out_images
from nexus_edge.models import from_checkpoint
from nexus_edge.models.biomedclip.model import BiomedClip
from nexus_edge.models.biomedclip.processing import BiomedClipProcessor

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CODE = ROOT / "training" / "biomedclip_tiny"
TINY = ROOT / "nexus_edge" / "assets" / "tiny_biomedclip"
BCCD = ROOT.parent / "shared" / "data" / "bccd"
needs_bccd = pytest.mark.skipif(not BCCD.is_dir(), reason="the BCCD pictures are not beside the checkout")

BACKGROUND, RED, PURPLE = (200, 205, 195), (185, 140, 140), (100, 60, 200)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Import a file of the training folder, which is no package, and forget it afterwards."""
    monkeypatch.syspath_prepend(str(CODE))
    for file in CODE.glob("*.py"):
        monkeypatch.delitem(sys.modules, file.stem, raising=False)

    def by_name(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield by_name
    for file in CODE.glob("*.py"):
        sys.modules.pop(file.stem, None)


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """Ten smears with one white cell, three red cells and a platelet each, in the data set's layout."""
    random = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("picture", "label", "xmin", "ymin", "xmax", "ymax"))
        for number in range(10):
            image = Image.new("RGB", (640, 480), BACKGROUND)
            draw = ImageDraw.Draw(image)
            cells = [("RBC", RED, 100)] * 3 + [("WBC", PURPLE, 180), ("Platelets", PURPLE, 40)]
            for label, colour, side in cells:
                x, y = (int(v) for v in (random.integers(0, 640 - side), random.integers(0, 480 - side)))
                draw.ellipse((x, y, x + side, y + side), fill=colour)
                rows.writerow((f"{number}.png", label, x, y, x + side, y + side))
            image.save(tmp_path / "pictures" / f"{number}.png")
    return tmp_path


def test_the_split_is_by_picture_and_covers_everything(load, drawn: Path) -> None:  # type: ignore[no-untyped-def]
    pictures = load("pictures")
    names = {split: {smear.name for smear in pictures.smears(drawn, split)} for split in ("train", "val", "test")}
    assert sum(map(len, names.values())) == len(set().union(*names.values())) == 10
    many = [pictures.split_of(f"BloodImage_{i:05}.jpg") for i in range(1000, 3000)]
    # binomial spread of 2,000 draws is about 0.01
    assert many.count("train") / 2000 == pytest.approx(0.6, abs=0.04)
    assert many.count("test") / 2000 == pytest.approx(0.3, abs=0.04)


@needs_bccd
def test_no_field_was_photographed_for_both_sides(load) -> None:  # type: ignore[no-untyped-def]
    """Cross-correlation of small grey images, test against the rest, over all shifts that leave a third in common."""
    pictures = load("pictures")
    names = sorted(file.name for file in (BCCD / "pictures").iterdir())
    height, width = 60, 80
    small = np.empty((len(names), height, width), np.float32)
    for row, name in zip(small, names, strict=True):
        with Image.open(BCCD / "pictures" / name) as image:
            row[:] = image.convert("L").resize((width, height), Image.Resampling.BOX)
        row -= row.mean()
    shape = (2 * height, 2 * width)
    values, squares, area = (np.fft.rfft2(x, s=shape) for x in (small, small**2, np.ones((1, height, width))))
    common = np.fft.irfft2(area * area.conj(), s=shape)[0]
    test = np.array([pictures.split_of(name) == "test" for name in names])

    def nearest(i: int) -> float:
        others = ~test
        product = np.fft.irfft2(values[others] * values[i].conj(), s=shape)
        energy = np.fft.irfft2(squares[others] * area.conj(), s=shape) * np.fft.irfft2(
            area * squares[i].conj(), s=shape
        )
        alike = product / np.sqrt(np.maximum(energy, 1e-6))
        return float(alike[:, common > height * width / 3].max())

    # The same field reaches 0.82 and more; different ones stay below 0.76.
    assert {names[i]: round(v, 2) for i in np.flatnonzero(test) if (v := nearest(i)) > 0.8} == {}


def test_no_picture_of_the_wheels_set_was_trained_on(load) -> None:  # type: ignore[no-untyped-def]
    pictures = load("pictures")
    listed = json.loads((TINY / "heldout" / "crops.json").read_text())
    sources = {item["source"] for group in ("cells", "fields", "smears") for item in listed[group]}
    assert len(sources) > 20
    assert {pictures.split_of(source) for source in sources} == {"test"}


def test_a_step_always_sees_the_same_batch(load, drawn: Path) -> None:  # type: ignore[no-untyped-def]
    batches, pictures, tokenizer, model = map(load, ("batches", "pictures", "tokenizer", "model"))
    pool = list(pictures.smears(drawn, "train"))
    words = tokenizer.make_tokenizer()
    sizes = model.Sizes(words.get_vocab_size(), image=32, patch=8)
    first, again, other = (batches.make_batch(pool, words, step, 24, sizes) for step in (5, 5, 6))
    assert torch.equal(first.pixels, again.pixels) and torch.equal(first.ids, again.ids)
    assert torch.equal(first.false, again.false) and torch.equal(first.cover, again.cover)
    assert not torch.equal(first.pixels, other.pixels)
    assert not first.false.diagonal().any()  # a view's own caption is never wrong about it
    assert first.false.float().mean() > 0.3


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_captions_say_where_the_turned_picture_shows_it(load, turns: int, mirrored: bool) -> None:  # type: ignore[no-untyped-def]
    """The white cell's place in the pixels of the crop, and in the caption made from its box."""
    pictures, views, captions = map(load, ("pictures", "views", "captions"))
    image = Image.new("RGB", (640, 480), BACKGROUND)
    box = pictures.Box("white", 130, 30, 230, 130)
    ImageDraw.Draw(image).ellipse((box.left, box.top, box.right, box.bottom), fill=PURPLE)
    nothing = np.zeros((120, 160), np.bool_)
    smear = pictures.Smear("x", image, (box,), nothing, nothing)
    window = views.Window(100, 0, 400, turns, mirrored)
    crop = np.asarray(window.crop(image, 100)).astype(int)
    rows, columns = np.nonzero(crop[..., 2] - crop[..., 0] > 50)
    word = {0: "upper", 1: "", 2: "lower"}[int(rows.mean() // 33.4)] + " "
    word += {0: "left", 1: "", 2: "right"}[int(columns.mean() // 33.4)]
    facts = views.facts_of(smear, window)
    caption = captions.field_caption(facts)
    assert f"white_at:{word}" in caption.claims and f"at the {word}" in caption.text
    elsewhere = next(claim for claim in ("white_at:upper left", "white_at:lower right") if word not in claim)
    assert not captions.Caption("", frozenset({elsewhere})).holds(facts)
    opposite = views.facts_of(smear, views.Window(100, 0, 400, (turns + 2) % 4, mirrored))
    assert not caption.holds(opposite)


def test_counts_are_not_claimed_where_stain_is_unlabelled(load) -> None:  # type: ignore[no-untyped-def]
    pictures, views, captions = map(load, ("pictures", "views", "captions"))
    cells, stain = np.zeros((120, 160), np.bool_), np.zeros((120, 160), np.bool_)
    smear = pictures.Smear("x", Image.new("RGB", (640, 480), BACKGROUND), (), cells, stain)
    window = views.Window(0, 0, 400)
    assert "no platelet" in captions.field_caption(views.facts_of(smear, window)).text
    stain[10:14, 10:15] = True  # 20 mask pixels: as much as a platelet nobody labelled
    facts = views.facts_of(smear, window)
    assert "platelet" not in captions.field_caption(facts).text
    assert {"platelet:none", "platelet:one"} <= facts.possible
    stain[40:60, 40:60] = True  # a white cell nobody labelled
    assert not views.facts_of(smear, window).clear


def test_mislabelled_and_empty_boxes_are_not_used(load) -> None:  # type: ignore[no-untyped-def]
    pictures = load("pictures")
    assert not pictures.usable(pictures.Box("white", 10, 10, 41, 40))  # a platelet's size
    assert not pictures.usable(pictures.Box("platelet", 10, 10, 177, 140))  # a white cell's size
    assert not pictures.usable(pictures.Box("red", 0, 0, 0, 0))
    assert pictures.usable(pictures.Box("platelet", 10, 10, 52, 52))


def test_the_loss_is_that_of_wrong_pairs_alone(load) -> None:  # type: ignore[no-untyped-def]
    """Two views that share a caption: with the pair masked, each has only its own left, and nothing is lost."""
    train = load("train")
    image, text = torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    free, _ = train.contrastive_loss(image, text, torch.zeros(2, 2, dtype=torch.bool), torch.tensor(10.0))
    assert free.item() == 0.0
    strict, found = train.contrastive_loss(image, text, ~torch.eye(2, dtype=torch.bool), torch.tensor(10.0))
    # rows tie in (10, 10) and (0, 0): ln 2; columns are (10, 0) with the own pair at 10, then at 0
    columns = (np.log1p(np.exp(-10)) + 10 + np.log1p(np.exp(-10))) / 2
    assert strict.item() == pytest.approx((np.log(2) + columns) / 2, rel=1e-5)
    assert found == 0.5


def test_the_stored_tokenizer_is_the_one_that_is_made(load, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    tokenizer = load("tokenizer")
    tokenizer.save(tokenizer.make_tokenizer(), tmp_path, 64)
    for name in ("tokenizer.json", "vocab.txt", "tokenizer_config.json"):
        assert (tmp_path / name).read_text() == (TINY / name).read_text(), name


def test_training_computes_what_the_reference_model_computes(load) -> None:  # type: ignore[no-untyped-def]
    batches, model, tokenizer = map(load, ("batches", "model", "tokenizer"))
    reference, processor = from_checkpoint(TINY), BiomedClipProcessor.from_folder(TINY)
    assert isinstance(reference, BiomedClip)
    words = tokenizer.make_tokenizer()
    net = model.Trainer(model.Sizes(words.get_vocab_size()))
    net.load_state_dict(reference.state_dict(), strict=True)
    pictures = held_out_images()
    pixels = torch.from_numpy(processor.images([crop.path for crop in pictures.fields[:4]]))
    texts = [crop.caption for crop in pictures.fields[:4]]
    with torch.inference_mode():
        image, text = net.image(pixels)[0], net.sentence(batches.encode(words, texts, 64))
        expected = reference.encode_image(pixels), reference.encode_text(torch.from_numpy(processor.texts(texts)))
    # float32 on both sides, sums in another order; entries of unit vectors
    torch.testing.assert_close(image, expected[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(text, expected[1], rtol=0, atol=1e-5)


@needs_bccd
def test_the_wheels_set_is_the_generators(tmp_path: Path) -> None:
    command = [sys.executable, str(CODE / "heldout.py"), "--data", str(BCCD), str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    stored = TINY / "heldout"
    assert (tmp_path / "crops.json").read_text() == (stored / "crops.json").read_text()
    assert {file.name for file in tmp_path.iterdir()} == {file.name for file in stored.iterdir()}
    for picture in sorted(stored.glob("*.jpg"))[::10]:
        old, new = (np.asarray(Image.open(folder / picture.name), np.int16) for folder in (stored, tmp_path))
        # another libjpeg may round other coefficients
        assert np.mean(np.abs(old - new)) < 2.0
