"""Which file's chat template counts, against what transformers takes from the same files."""

import json
import re
from pathlib import Path

import pytest
import tokenizers

from nexus_edge.errors import CheckpointError
from nexus_edge.processing.templates.chat import ChatTemplate, ImageTags
from nexus_edge.processing.templates.source import read_template, special_tokens, template_in
from nexus_edge.processing.tokenizer import Tokenizer

NAMES = ("processor_config.json", "chat_template.json", "chat_template.jinja", "tokenizer_config.json")


def write(folder: Path, name: str, template: object) -> None:
    text = str(template) if name.endswith("jinja") else json.dumps({"chat_template": template})
    (folder / name).write_text(text, "utf-8")


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_first_of_four_files_counts(tmp_path: Path, count: int) -> None:
    """In the order of transformers 5.23: the processor's own, then the tokenizer's, of which a file of its own wins."""
    for name in NAMES[-count:]:
        write(tmp_path, name, name)
    found = read_template(tmp_path)
    assert found is not None and found.text == NAMES[-count]
    assert found.where.startswith(str(tmp_path / NAMES[-count]))
    files = {name: (tmp_path / name).read_bytes() for name in NAMES[-count:]}
    assert template_in(files, tmp_path) == found


def test_a_tokenizers_own_file_wins_in_transformers_too(tmp_path: Path, core: tokenizers.Tokenizer) -> None:
    transformers = pytest.importorskip("transformers")
    core.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}', "utf-8")
    for name in NAMES[:1:-1]:
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": name}
        (tmp_path / name).write_text(json.dumps(config) if name.endswith("json") else name, "utf-8")
        theirs = transformers.AutoTokenizer.from_pretrained(tmp_path).chat_template
        ours = read_template(tmp_path)
        assert ours is not None and ours.text == theirs == name


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("json")])
def test_of_several_templates_the_default_counts(tmp_path: Path, name: str) -> None:
    named = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "plain"}]
    for value in (named, {one["name"]: one["template"] for one in named}):
        write(tmp_path, name, value)
        found = read_template(tmp_path)
        assert found is not None and found.text == "plain"
    write(tmp_path, name, named[:1])
    with pytest.raises(CheckpointError, match=f"{name}: chat_template has the templates tool_use and none is called"):
        read_template(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"chat_template": 7}', "holds a int, expected Jinja as text"),
        ('{"chat_template": [7]}', "holds a list"),
        ('{"chat_template": {"default": null}}', "holds a NoneType"),
        ('{"chat_template"', "cannot be read"),
        ("\xff\xfe\xfa", "cannot be read"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "chat_template.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(CheckpointError, match=f"chat_template.json.* {message}") as caught:
        read_template(tmp_path)
    assert "\n" not in str(caught.value)


def test_without_a_template_the_familys_is_taken(tmp_path: Path, core: tokenizers.Tokenizer) -> None:
    write(tmp_path, "tokenizer_config.json", None)
    assert read_template(tmp_path) is None
    tags = ImageTags(re.compile("<image>"))
    template = ChatTemplate.from_folder(tmp_path, Tokenizer(core, None), tags, "{{ messages[0].content }}!")
    assert template([{"role": "user", "content": "Hi"}]).segments == ("Hi", "!")


def test_special_tokens_may_have_flags(tmp_path: Path) -> None:
    (tmp_path / "special_tokens_map.json").write_text('{"bos_token": "<s>", "unk_token": {"content": "<unk>"}}')
    (tmp_path / "tokenizer_config.json").write_text('{"bos_token": {"content": "<b>"}, "pad_token": null}')
    assert special_tokens(tmp_path) == {"bos_token": "<b>", "unk_token": "<unk>"}
