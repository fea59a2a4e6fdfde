"""The processor of an open_clip checkpoint: what it reads, what it refuses, and its limits."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nexus_edge.errors import CheckpointError, PromptError
from nexus_edge.models.biomedclip.processing import BiomedClipProcessor, tokenizer_folder


def change(folder: Path, path: str, value: Any) -> None:
    """Set one value of open_clip_config.json; `path` has dots."""
    file = folder / "open_clip_config.json"
    config = json.loads(file.read_text())
    *sections, key = path.split(".")
    section = config
    for name in sections:
        section = section.setdefault(name, {})
    section[key] = value
    file.write_text(json.dumps(config))


def test_sizes_and_normalisation_are_the_checkpoints(dual_checkpoint: Path) -> None:
    processor = BiomedClipProcessor.from_folder(dual_checkpoint)
    pixels = processor.images([np.full((50, 40, 3), 255, np.uint8)])
    assert pixels.shape == (1, 3, 32, 32)
    assert [set(channel.ravel().tolist()) for channel in pixels[0]] == [{1.0}, {2.0}, {4.0}]  # (1 - 0.5) / std
    assert (processor.image_size, processor.context_length) == (32, 8)


def test_texts_are_padded_and_cut_in_front_of_the_separator(dual_checkpoint: Path) -> None:
    processor = BiomedClipProcessor.from_folder(dual_checkpoint)
    ids = processor.texts(["a b", "", "abcdef", "abcdefghij"])
    assert ids.dtype == np.int64
    assert ids.tolist() == [
        [2, 5, 6, 3, 0, 0, 0, 0],
        [2, 3, 0, 0, 0, 0, 0, 0],
        [2, 5, 32, 33, 34, 35, 36, 3],
        [2, 5, 32, 33, 34, 35, 36, 3],
    ]
    assert [processor.count_tokens(text) for text in ("a b", "", "abcdef", "abcdefghij")] == [4, 2, 8, 12]
    assert processor.texts([]).shape == (0, 8)


def test_a_text_of_5000_words_is_cut_and_its_length_is_known(dual_checkpoint: Path) -> None:
    processor = BiomedClipProcessor.from_folder(dual_checkpoint)
    text = "a " * 5000
    assert processor.texts([text]).tolist() == [[2, 5, 5, 5, 5, 5, 5, 3]]
    assert processor.count_tokens(text) == 5002


def test_limits_left_by_a_training_run_do_not_hide_the_length(biomedclip_golden: Path, dual_checkpoint: Path) -> None:
    content = json.loads((biomedclip_golden / "tokenizer" / "tokenizer.json").read_text(encoding="utf-8"))
    content["truncation"] = {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0}
    (dual_checkpoint / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    processor = BiomedClipProcessor.from_folder(dual_checkpoint)
    assert processor.count_tokens("a " * 20) == 22


@pytest.mark.parametrize("texts", ["one text", ["fine", 3], ["fine", None], [b"bytes"]])
def test_what_is_no_list_of_texts_is_refused(dual_checkpoint: Path, texts: Any) -> None:
    with pytest.raises(PromptError, match="give a list of texts"):
        BiomedClipProcessor.from_folder(dual_checkpoint).texts(texts)


def test_a_bundles_merged_config_is_read_the_same(dual_checkpoint: Path) -> None:
    config = json.loads((dual_checkpoint / "open_clip_config.json").read_text())
    before = BiomedClipProcessor.from_folder(dual_checkpoint)
    merged = {"model_type": "biomedclip", **config, "text_config": {"hidden_size": 8}}
    (dual_checkpoint / "config.json").write_text(json.dumps(merged))
    (dual_checkpoint / "open_clip_config.json").unlink()
    after = BiomedClipProcessor.from_folder(dual_checkpoint)
    assert (after.image_size, after.context_length, after.mean, after.std) == (32, 8, before.mean, before.std)


def test_settings_that_are_absent_are_open_clips_own(dual_checkpoint: Path) -> None:
    config = {"model_cfg": {"vision_cfg": {}, "text_cfg": {}}}
    (dual_checkpoint / "open_clip_config.json").write_text(json.dumps(config))
    processor = BiomedClipProcessor.from_folder(dual_checkpoint)
    assert (processor.image_size, processor.context_length) == (224, 77)
    # open_clip/constants.py, OPENAI_DATASET_MEAN and OPENAI_DATASET_STD
    assert processor.mean == (0.48145466, 0.4578275, 0.40821073)
    assert processor.std == (0.26862954, 0.26130258, 0.27577711)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("preprocess_cfg.resize_mode", "squash", "preprocess_cfg.resize_mode is 'squash'; known is 'shortest'"),
        ("preprocess_cfg.mode", "L", "preprocess_cfg.mode is 'L'; known is 'RGB'"),
        ("preprocess_cfg.interpolation", "lanczos", "interpolation is 'lanczos'; use one of bicubic, bilinear"),
        ("preprocess_cfg.interpolation", ["bicubic"], "interpolation is"),
        ("preprocess_cfg.mean", [0.5], "mean is"),
        ("preprocess_cfg.std", [0.5, 0, 0.5], "std is .* above 0"),
        ("preprocess_cfg", [1], "preprocess_cfg is a list, expected an object"),
        ("model_cfg", "ViT-B-16", "model_cfg is a str, expected an object"),
        ("model_cfg.vision_cfg.image_size", [224, 336], "image_size is"),
        ("model_cfg.vision_cfg.image_size", 0, "image_size is 0"),
        ("model_cfg.text_cfg.context_length", "256", "context_length is '256'"),
        ("model_cfg.text_cfg.context_length", 2, "context_length is 2"),
        ("model_cfg.text_cfg.tokenizer_mode", "clips", "tokenizer_mode is 'clips'"),
        ("model_cfg.text_cfg.tokenizer_kwargs.clean", "canonicalize", "clean is 'canonicalize'; known is 'whitespace'"),
        ("model_cfg.text_cfg.tokenizer_kwargs.strip_sep_token", True, "strip_sep_token is True; known is False"),
    ],
)
def test_settings_that_would_give_other_inputs_are_refused(
    dual_checkpoint: Path, path: str, value: Any, message: str
) -> None:
    change(dual_checkpoint, path, value)
    with pytest.raises(CheckpointError, match=message) as caught:
        BiomedClipProcessor.from_folder(dual_checkpoint)
    assert "open_clip_config.json" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("vocab.txt", None, "has neither tokenizer.json nor vocab.txt"),
        ("vocab.txt", b"\xff\xff", "vocab.txt is not UTF-8 text at byte 0"),
        ("vocab.txt", b"[PAD]\n[UNK]\n[CLS]\n[MASK]\na\n", r"vocab.txt has no sep_token '\[SEP\]'"),
        ("vocab.txt", b"[UNK]\n[PAD]\n[CLS]\n[SEP]\n[MASK]\n", r"has \[PAD\] as id 0"),
        ("tokenizer.json", b"{", "not valid JSON"),
        ("tokenizer.json", b'{"model": 1}', "is not a tokenizer"),
        ("tokenizer_config.json", b"[]", "expected an object"),
        ("tokenizer_config.json", b'{"do_lower_case": "yes"}', "do_lower_case is 'yes'"),
        ("tokenizer_config.json", b'{"cls_token": "<s>"}', "has no cls_token '<s>'"),
        ("open_clip_config.json", b"{", "not valid JSON"),
    ],
)
def test_a_damaged_folder_is_explained(dual_checkpoint: Path, name: str, content: bytes | None, message: str) -> None:
    if content is None:
        (dual_checkpoint / name).unlink()
    else:
        (dual_checkpoint / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        BiomedClipProcessor.from_folder(dual_checkpoint)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_of_another_kind_of_model_is_refused(dual_checkpoint: Path, checkpoint: Path) -> None:
    (dual_checkpoint / "tokenizer.json").write_bytes((checkpoint / "tokenizer.json").read_bytes())
    with pytest.raises(CheckpointError, match="not the tokenizer of a BERT text tower"):
        BiomedClipProcessor.from_folder(dual_checkpoint)


def test_the_tokenizer_may_stand_in_the_folder_that_the_config_names(dual_checkpoint: Path, tmp_path: Path) -> None:
    inner = dual_checkpoint / "tokenizer"
    inner.mkdir()
    vocabulary = (dual_checkpoint / "vocab.txt").rename(inner / "vocab.txt")
    named = {"model_cfg": {"text_cfg": {"hf_tokenizer_name": "tokenizer"}}}
    assert tokenizer_folder(dual_checkpoint, named) == inner
    outside = {"model_cfg": {"text_cfg": {"hf_tokenizer_name": f"../{dual_checkpoint.name}/../elsewhere"}}}
    (tmp_path / "elsewhere").mkdir()
    vocabulary.rename(tmp_path / "elsewhere" / "vocab.txt")
    assert tokenizer_folder(dual_checkpoint, outside) == dual_checkpoint
