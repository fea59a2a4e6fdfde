"""All that an export needs is asked for before it begins; nothing is written, and each complaint is one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nexus_edge.checkpoints import open_checkpoint, tiny_folder
from nexus_edge.errors import CheckpointError, MissingExtraError, OutputError
from nexus_edge.pipeline.preflight import check
from nexus_edge.pipeline.preview import preview
from nexus_edge.pipeline.request import ExportRequest
from nexus_edge.processing.agreement import check_vocabulary
from nexus_edge.recipe import find_recipe

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'ab' * 32}\nsize 1823456\n"
RECIPES = {"phi3_v": ("phi3-vision", "int4"), "biomedclip": ("biomedclip", "int8")}
Change = Callable[[Path], object]


def copy_of(family: str, folder: Path) -> Path:
    folder.mkdir()
    for path in tiny_folder(family).iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    return folder


def edit(name: str, *path: str | int, **values: Any) -> Change:
    """Change keys of a JSON file, in the object at a path."""

    def change(folder: Path) -> None:
        config = json.loads((folder / name).read_text("utf-8"))
        place = config
        for key in path:
            place = place[key]
        place.update(values)
        (folder / name).write_text(json.dumps(config), "utf-8")

    return change


def write(name: str, text: str) -> Change:
    return lambda folder: (folder / name).write_text(text, "utf-8")


def append(name: str, line: str) -> Change:
    return lambda folder: (folder / name).write_text(
        f"{(folder / name).read_text('utf-8').rstrip()}\n{line}\n", "utf-8"
    )


def cut(name: str, lines: int) -> Change:
    """Keep the first lines."""

    def change(folder: Path) -> None:
        kept = (folder / name).read_text("utf-8").split("\n")[:lines]
        (folder / name).write_text("".join(f"{line}\n" for line in kept), "utf-8")

    return change


def drop(*names: str) -> Change:
    return lambda folder: [(folder / name).unlink() for name in names]


def link(name: str, target: str) -> Change:
    """As in the hub's cache, whose files are links, after somebody cleared it."""
    return lambda folder: (folder / name).symlink_to(target)


def both(*changes: Change) -> Change:
    return lambda folder: [change(folder) for change in changes]


CASES: list[tuple[str, Change, str]] = [
    ("phi3_v", write("tokenizer.json", POINTER), "tokenizer.json: Git LFS pointer"),
    ("phi3_v", write("model.safetensors", POINTER), "model.safetensors: Git LFS pointer"),
    ("phi3_v", write("config.json", POINTER), "config.json: Git LFS pointer"),
    ("phi3_v", write("LICENSE", POINTER), "LICENSE: Git LFS pointer"),
    ("biomedclip", write("README.md", POINTER), "README.md: Git LFS pointer"),
    (
        "phi3_v",
        both(drop("LICENSE"), link("LICENSE", "blobs/gone")),
        "LICENSE: cannot be read (No such file or directory)",
    ),
    ("biomedclip", link("LICENSE.txt", "blobs/gone"), "LICENSE.txt: cannot be read (No such file or directory)"),
    ("biomedclip", both(drop("tokenizer.json"), write("vocab.txt", POINTER)), "vocab.txt: Git LFS pointer"),
    ("biomedclip", write("open_clip_model.safetensors", POINTER), "open_clip_model.safetensors: Git LFS pointer"),
    ("phi3_v", drop("tokenizer.json"), "has no tokenizer.json; copy it"),
    ("phi3_v", drop("tokenizer_config.json"), "tokenizer_config.json is missing"),
    ("phi3_v", drop("preprocessor_config.json"), "has no preprocessor_config.json; copy it"),
    ("phi3_v", write("tokenizer.json", "{}"), "tokenizer.json is not a tokenizer"),
    ("biomedclip", drop("tokenizer.json", "vocab.txt"), "neither tokenizer.json nor vocab.txt"),
    ("biomedclip", edit("open_clip_config.json", "preprocess_cfg", resize_mode="squash"), "resize_mode is 'squash'"),
    ("biomedclip", edit("open_clip_config.json", "preprocess_cfg", size=96), "size is 96"),
    ("biomedclip", both(drop("tokenizer.json"), append("vocab.txt", "word")), "the tokenizer has id 213"),
    (
        "biomedclip",
        both(drop("tokenizer.json"), cut("vocab.txt", 212)),
        "vocab.txt has 212 tokens, and the model ",
    ),
    (
        "biomedclip",
        both(drop("tokenizer.json"), cut("vocab.txt", 120)),
        "vocab.txt has 120 tokens, and the model ",
    ),
    ("biomedclip", drop("tokenizer.json"), ""),
    ("phi3_v", write("added_tokens.json", '{"<|end|>": 617}'), "added_tokens.json: has '<|end|>' as id 617"),
    ("phi3_v", write("added_tokens.json", '{"<|fin|>": 618}'), "has '<|fin|>' as id 618, the tokenizer as None"),
    ("phi3_v", edit("tokenizer.json", "model", "vocab", a=0), "tokenizer.json: has id 0 for "),
    ("phi3_v", edit("tokenizer.json", "added_tokens", 3, id=400), "tokenizer.json: has "),
    ("phi3_v", edit("config.json", eos_token_id=640), "a stop id is 640 (eos_token_id of config.json"),
    ("phi3_v", edit("config.json", quantization_config={"quant_method": "awq"}), r"(awq): the weights were quantized"),
    ("phi3_v", edit("preprocessor_config.json", do_normalize=False), "do_normalize is False"),
    ("phi3_v", edit("preprocessor_config.json", num_crop=4), "'num_crop' (did you mean 'num_crops'?)"),
    ("phi3_v", edit("tokenizer_config.json", add_eos_token=True), "add_eos_token is True"),
    (
        "phi3_v",
        edit("tokenizer_config.json", chat_template="[INST]"),
        "chat template leaves out text of message 1 (user)",
    ),
    ("phi3_v", write("chat_template.jinja", "{% for m in messages %}"), "chat_template.jinja, line 1: "),
    ("phi3_v", edit("tokenizer_config.json", chat_template="{{ raise_exception('no') }}"), "take the family's own"),
    ("phi3_v", write("chat_template.jinja", "[INST] {{ messages[0].content }} [/INST]"), ""),
    ("phi3_v", write("processor_config.json", '{"image_seq_length": 4}'), "'image_seq_length'"),
    ("phi3_v", edit("tokenizer_config.json", "added_tokens_decoder", "618", content="<|fin|>"), "as id 618"),
    (
        "phi3_v",
        edit("special_tokens_map.json", eos_token="<|end|>"),
        "eos_token is '<|endoftext|>' in tokenizer_config",
    ),
    ("phi3_v", write("generation_config.json", '{"repetition_penalty": 1.1}'), "repetition_penalty is 1.1"),
    ("phi3_v", write("generation_config.json", '{"eos_token_id": "x"}'), "eos_token_id is 'x'"),
    ("phi3_v", edit("config.json", attention_sinks=4), "--ignore-config-key attention_sinks"),
    ("phi3_v", edit("config.json", attention_sinks=4), "checkpoint/config.json: nexus-edge does not know the key"),
    ("biomedclip", edit("open_clip_config.json", "model_cfg", depth=1), "checkpoint/open_clip_config.json: "),
    ("phi3_v", write("generation_config.json", '{"eos_token_id": [618, 616], "temperature": 0.7}'), ""),
    ("phi3_v", edit("config.json", embd_layer={"hd_transform_order": "glb_sub"}), "use_hd_transform is absent"),
    ("phi3_v", edit("config.json", tie_word_embeddings=True), "and the file has two that differ"),
    ("phi3_v", edit("config.json", dtype="float7"), "dtype is 'float7'; known is 'float32'"),
    ("phi3_v", edit("config.json", dtype="float16"), "dtype is 'float16' and torch_dtype 'bfloat16'"),
    ("phi3_v", edit("config.json", dtype="bfloat16"), ""),
    (
        "phi3_v",
        edit("tokenizer_config.json", "added_tokens_decoder", "618", single_word=True),
        "single_word True for '<|end|>', tokenizer.json False",
    ),
    (
        "biomedclip",
        edit("open_clip_config.json", "model_cfg", "text_cfg", hf_model_name="roberta-base"),
        "hf_model_name is 'roberta-base', which is no BERT",
    ),
]


@pytest.mark.parametrize(("family", "change", "message"), CASES)
def test_what_is_missing_or_wrong_is_said_first(family: str, change: Change, message: str, tmp_path: Path) -> None:
    folder = copy_of(family, tmp_path / "checkpoint")
    change(folder)
    recipe = find_recipe(*RECIPES[family])
    if not message:
        check(open_checkpoint(str(folder), recipe.checkpoint), recipe, tmp_path / "out")
        return
    with pytest.raises(CheckpointError) as caught:
        check(open_checkpoint(str(folder), recipe.checkpoint), recipe, tmp_path / "out")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


@pytest.mark.parametrize(
    ("tokens", "rows", "good"),
    [
        (30_522, 30_522, True),  # BERT-base, PubMedBERT: the published vocab.txt and word_embeddings
        (30_522, 30_528, True),  # the same padded to a multiple of 8 or 16, as MosaicBERT
        (30_522, 30_592, True),  # to one of 128, as Megatron-LM pads
        (28_996, 28_996, True),  # BERT-base, cased
        (30_521, 30_522, False), (30_400, 30_522, False), (1, 30_522, False), (30_521, 30_600, False),
    ],
)  # fmt: skip
def test_a_vocabulary_may_be_padded_but_not_cut(tokens: int, rows: int, good: bool) -> None:
    if good:
        check_vocabulary(Path("x"), tokens, rows)
        return
    with pytest.raises(CheckpointError, match=f"x: vocab.txt has {tokens} tokens, and .* for {rows} "):
        check_vocabulary(Path("x"), tokens, rows)


def test_an_adapter_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "microsoft/Phi-3-vision-128k-instruct"}')
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(
        CheckpointError, match=r"PEFT adapter of 'microsoft/Phi-3-vision.*--checkpoint microsoft/Phi.* with --adapter"
    ):
        open_checkpoint(str(tmp_path), "microsoft/Phi-3-vision-128k-instruct")


def test_the_disk_is_asked_for_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr("nexus_edge.pipeline.preflight.shutil.disk_usage", lambda place: usage)
    recipe = find_recipe("phi3-vision", "int4")
    with pytest.raises(OutputError, match=r"takes about 2 MB, and the disk of .* has 1 MB free"):
        check(open_checkpoint("tiny", recipe.checkpoint), recipe, tmp_path / "out")


@pytest.mark.parametrize("name", ["", "x" * 5000, "~nobody/x", "org/" + "x" * 300])
def test_a_dry_run_refuses_a_name_of_nothing(name: str, tmp_path: Path) -> None:
    request = ExportRequest.resolve("phi3-vision", checkpoint=name, out=tmp_path / "bundle")
    with pytest.raises(CheckpointError, match=r"name is empty|not a hub id"):
        preview(request)
    assert ExportRequest.resolve("phi3-vision", checkpoint=name).out.parent.name == "out"


def test_the_output_folder_comes_before_all_else(tmp_path: Path) -> None:
    recipe = find_recipe("phi3-vision", "int4")
    (tmp_path / "there").mkdir()
    (tmp_path / "file").write_text("")
    checkpoint = open_checkpoint("tiny", recipe.checkpoint)
    for out, force, message in (
        ("there", False, "exists already"),
        ("there", True, "is not a bundle"),
        ("file/x", False, "is a file"),
        ("x" * 5000, False, "cannot be written: File name too long"),
        (f"{'x' * 5000}/bundle", False, "cannot be written: File name too long"),
    ):
        with pytest.raises(OutputError, match=message):
            check(checkpoint, recipe, tmp_path / out, force=force)


def test_a_target_without_its_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    monkeypatch.delitem(__import__("sys").modules, "nexus_edge.targets.openvino.target", raising=False)
    for name in [name for name in __import__("sys").modules if name.startswith("nexus_edge.targets.openvino")]:
        monkeypatch.delitem(__import__("sys").modules, name)
    recipe = find_recipe("phi3-vision", "int4").with_targets(["openvino"])
    with pytest.raises(MissingExtraError, match=r"nexus-edge\[openvino\]"):
        check(open_checkpoint("tiny", recipe.checkpoint), recipe, tmp_path / "out")


def test_a_key_is_left_out_at_the_users_word(tmp_path: Path) -> None:
    folder = copy_of("phi3_v", tmp_path / "checkpoint")
    edit("config.json", "embd_layer", attention_sinks=4)(folder)
    recipe = find_recipe("phi3-vision", "int4")
    name = "embd_layer.attention_sinks"
    checkpoint = open_checkpoint(str(folder), recipe.checkpoint, [name])
    check(checkpoint, recipe, tmp_path / "out")
    assert b"attention_sinks" not in checkpoint.processor_files()["config.json"]
    assert checkpoint.ignored_keys == (name,)
    for wrong, message in (("hidden_size", "is used"), ("attention_sink", "no configuration file has that key")):
        with pytest.raises(CheckpointError, match=message):
            open_checkpoint(str(folder), recipe.checkpoint, [wrong])
