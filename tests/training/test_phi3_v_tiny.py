"""The training code of the embedded checkpoint: it computes what the reference model computes, on its own images."""

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from nexus_edge.models import from_checkpoint
from nexus_edge.processing import from_checkpoint as processor_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CODE = ROOT / "training" / "phi3_v_tiny"
TINY = ROOT / "nexus_edge" / "assets" / "tiny_phi3_v"


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


def test_packed_training_rows_give_the_reference_models_logits(load) -> None:  # type: ignore[no-untyped-def]
    """Two questions behind one prefix, whole image: each answer's logits equal those of a prompt of its own."""
    batches, model, train, scenes, questions = map(load, ("batches", "model", "train", "scenes", "questions"))
    reference, processor = from_checkpoint(TINY), processor_of(TINY)
    net = model.Phi3VTrainer(model.Sizes(vocab=train.VOCAB), train.ROPE)
    net.load_state_dict(reference.state_dict(), strict=True)
    tokenizer = train.train_tokenizer(train.VOCAB - train.CHAT_TOKENS)
    seed = next(s for s in range(100) if scenes.make_scene(s).image.size == (336, 448))  # padded at both sides
    batch = batches.make_batch(tokenizer, [seed], questions=2)
    tower = net.model.vision_embed_tokens.img_processor.vision_model
    with torch.inference_mode():
        features = net.image_features(tower(batch.pixels, batch.keep), batch.keep)
        hidden, _ = net.decode(batch.ids, features, batch.positions, batch.mask)
        logits = net.logits(hidden[batch.targets >= 0])
        expected = []
        scene, rng = scenes.make_scene(seed), np.random.default_rng([seed, 1])
        alone = questions.without_picture(rng, scene) if rng.random() < 0.25 else None
        qas = questions.ask(scene, rng, 2, questions.TRAINING_MIX)
        assert alone is None and rng.random() >= 0.15, "pick a seed whose questions are independent"
        for qa in qas:
            prompt = f"<|user|>\n<|image_1|>\n{qa.question}<|end|>\n<|assistant|>\n"
            inputs = {name: torch.from_numpy(value) for name, value in processor(prompt, [scene.image]).items()}
            answer = tokenizer.encode(f"{qa.answer}<|end|>", add_special_tokens=False).ids
            del inputs["attention_mask"]
            inputs["input_ids"] = torch.cat(
                (inputs["input_ids"], torch.tensor([answer[:-1]], dtype=torch.int64)), dim=1
            )
            expected.append(reference(**inputs)[0, -len(answer) :])
    # float32 on both sides, sums in another order; logits are of the order of 10
    torch.testing.assert_close(logits, torch.cat(expected), rtol=1e-3, atol=1e-3)


def test_the_wheels_held_out_set_is_the_generators(tmp_path: Path) -> None:
    """Its seeds lie beyond all training seeds; items and questions can be made again anywhere, pixels nearly so."""
    subprocess.run([sys.executable, str(CODE / "heldout.py"), str(tmp_path)], check=True, capture_output=True)
    stored = TINY / "heldout"
    assert (tmp_path / "questions.json").read_text() == (stored / "questions.json").read_text()
    for picture in sorted(stored.glob("*.png"))[::6]:
        old, new = (np.asarray(Image.open(folder / picture.name), np.int16) for folder in (stored, tmp_path))
        # another Pillow or FreeType may move the anti-aliased rims of letters
        assert np.mean(np.abs(old - new)) < 1.0


def test_left_out_blocks_keep_the_places_of_the_rest(load) -> None:  # type: ignore[no-untyped-def]
    model = load("model")
    keep = torch.tensor([[0, 13, 143]])
    places = model.image_positions(keep)[0]
    assert places.tolist()[:3] == [0, 12, 14]  # block 13 is row 1, column 1; 12 is the end of row 0
    assert len(places) == 2 * (3 + 12) + 1 and places[-1] == 312 and 156 in places
    whole = model.image_positions(torch.arange(144)[None])[0]
    assert whole.tolist() == list(range(313))
