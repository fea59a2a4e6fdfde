"""Every family: its processor as runtimes use it, facts in closed words, and what needs no torch."""

import json
import subprocess
import sys
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image
from tiny_families import EXPORTED, ROOT, Tiny

from nexus_edge import processing
from nexus_edge.errors import InputError, NexusEdgeError, PromptError
from nexus_edge.families import families
from nexus_edge.interfaces.facts import RuntimeFacts
from nexus_edge.interfaces.processor import DualProcessor, Processor

SCHEMA = json.loads((ROOT / "runtimes/schema/manifest.schema.json").read_text("utf-8"))
SIZES = ((448, 224), (97, 203))
"""Width and height of images that are cut differently wherever images are cut."""

TEXT = "What is shown here?"

OPEN_ALL = """
import json, sys
from pathlib import Path
from nexus_edge.families import families
for name, folder in json.loads(sys.argv[1]).items():
    families()[name].processor(Path(folder))
    if name in sys.argv[2:]:
        families()[name].facts(json.loads(Path(folder, "config.json").read_text()), Path(folder))
print({"torch", "transformers", "onnx"} & set(sys.modules))
"""


def of_kind(kind: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("model_type", [name for name, family in families().items() if family.kind == kind])


def image(width: int, height: int) -> Image.Image:
    levels = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(levels)


def asked(processor: Processor, images: int) -> object:
    parts = [*({"type": "image"} for _ in range(images)), {"type": "text", "text": TEXT}]
    return processor.apply_chat_template([{"role": "user", "content": parts}])


@of_kind("vlm")
def test_the_tag_that_messages_name_is_the_familys_own(tiny: Tiny) -> None:
    processor = processing.from_checkpoint(tiny.folder)
    assert processor.is_whole_prompt(f"{processor.image_tag.replace('N', '1')} {TEXT}")
    assert not processor.is_whole_prompt(TEXT)


@of_kind("vlm")
def test_images_and_text_become_inputs_of_the_declared_shapes(tiny: Tiny) -> None:
    processor = processing.from_checkpoint(tiny.folder)
    assert [name for name in vars(Processor) if not name.startswith("_") and not hasattr(processor, name)] == []
    taken, lengths = [], []
    for size in SIZES:
        inputs = processor(asked(processor, 1), image(*size))
        ids, pixels = inputs["input_ids"], inputs["pixel_values"]
        assert (ids.dtype, ids.shape[0], ids.ndim) == (np.int64, 1, 2)
        assert np.array_equal(inputs["attention_mask"], np.ones_like(ids))
        assert int(ids.max()) <= processor.largest_id < tiny.model.vocab_size
        assert (pixels.dtype, pixels.ndim, pixels.shape[0], pixels.shape[2]) == (np.float32, 5, 1, 3)
        assert np.isfinite(pixels).all() and 1 <= pixels.shape[1] <= processor.most_views + 1
        assert (inputs["image_sizes"].dtype, inputs["image_sizes"].shape) == (np.int64, (1, 2))
        taken.append(processor.count_image_tokens(*size))
        lengths.append(ids.size)
    assert lengths[0] - lengths[1] == taken[0] - taken[1] != 0
    assert "pixel_values" not in processor(asked(processor, 0))


@of_kind("vlm")
def test_fewer_views_are_fewer_and_images_are_counted(tiny: Tiny) -> None:
    processor = processing.from_checkpoint(tiny.folder)
    assert processor.with_most_views(processor.most_views).most_views == processor.most_views
    try:
        less = processor.with_most_views(1)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert processor.most_views == 0 or (
            less.most_views == 1 and less.count_image_tokens(1000, 1000) < processor.count_image_tokens(1000, 1000)
        )
    for prompt, pictures in ((asked(processor, 1), []), (asked(processor, 0), [image(50, 50)])):
        with pytest.raises(PromptError) as caught:
            processor(prompt, pictures)
        assert "\n" not in str(caught.value)


@of_kind("vlm")
def test_ids_become_text_at_once_and_one_by_one(tiny: Tiny) -> None:
    processor = processing.from_checkpoint(tiny.folder)
    ids = processor.encode(TEXT, add_bos=False)
    stream = processor.stream_decoder()
    assert processor.decode(ids) == "".join([*(stream.push(id_) for id_ in ids), stream.flush()])
    assert processor.stop_ids, "else an answer never ends"
    assert not processor.is_whole_prompt(TEXT)


@of_kind("dual_encoder")
def test_images_and_texts_become_rows_of_the_declared_shapes(tiny: Tiny) -> None:
    processor = processing.dual_from_checkpoint(tiny.folder)
    assert [name for name in vars(DualProcessor) if not name.startswith("_") and not hasattr(processor, name)] == []
    side, long = processor.image_size, "word " * 2 * processor.context_length
    pixels, ids = processor.images([image(*size) for size in SIZES]), processor.texts([TEXT, "a", long])
    assert (pixels.dtype, pixels.shape) == (np.float32, (2, 3, side, side)) and np.isfinite(pixels).all()
    assert (ids.dtype, ids.shape) == (np.int64, (3, processor.context_length))
    assert (ids[:2] != 0).sum(axis=1).tolist() == [processor.count_tokens(TEXT), processor.count_tokens("a")]
    assert (ids[2] != 0).all() and processor.count_tokens(long) > processor.context_length
    assert int(ids.max()) <= processor.largest_id < tiny.model.vocab_size


@pytest.mark.parametrize("model_type", EXPORTED)
def test_facts_are_in_the_closed_words_of_the_schema(tiny: Tiny) -> None:
    facts = tiny.family.facts(tiny.checkpoint.config, tiny.processor_folder)
    table = json.loads(msgspec.json.encode(facts))
    rules = {**SCHEMA, "$ref": f"#/$defs/{type(facts).__name__}"}
    assert [error.message for error in Draft202012Validator(rules).iter_errors(table)] == []
    assert table["kind"] == tiny.family.kind
    assert msgspec.json.decode(msgspec.json.encode(facts), type=RuntimeFacts) == facts
    named = [facts.tokenizer.file, *filter(None, [facts.tokenizer.config])]
    assert all((tiny.processor_folder / name.removeprefix("processor/")).is_file() for name in named)


def test_a_family_without_a_recipe_says_what_it_lacks(tiny_of: Callable[[str], Tiny]) -> None:
    """In one line, by its name, instead of failing somewhere in an export."""
    for name in families().keys() - set(EXPORTED):
        tiny = tiny_of(name)
        with pytest.raises(NexusEdgeError) as caught:
            tiny.family.facts(tiny.checkpoint.config, tiny.processor_folder)
        assert str(caught.value).startswith(f"{tiny.family.title} has no ") and "\n" not in str(caught.value)


def test_processors_and_facts_need_no_torch(tiny_of: Callable[[str], Tiny]) -> None:
    """They work where a bundle does."""
    folders = {name: str(tiny_of(name).processor_folder) for name in families()}
    arguments = [sys.executable, "-c", OPEN_ALL, json.dumps(folders), *EXPORTED]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
