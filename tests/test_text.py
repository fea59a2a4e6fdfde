"""Text that other systems wrote is read as they meant it, or refused with what to do."""

import codecs
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nexus_edge._text import decode, lines, parse_json, read_text, without_mark
from nexus_edge.errors import CheckpointError, InputError
from nexus_edge.processing.folder import read_json
from nexus_edge.recipe import read_recipe
from nexus_edge.runtimes.dual_encoder.prompts import read_labels, read_prompts

TEXT = "Größe 字 🙂\r\nsecond\r\n"
ENCODED = {
    "plain": TEXT.encode(),
    "utf-8 mark": codecs.BOM_UTF8 + TEXT.encode(),
    "utf-16 le": codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
    "utf-16 be": codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
    "utf-32 le": codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"),
}
# What editors and shells of other systems make of a text.
WRITERS: dict[str, Callable[[str], bytes]] = {
    "Notepad, UTF-8 with mark": lambda text: codecs.BOM_UTF8 + text.replace("\n", "\r\n").encode(),
    "PowerShell 5, >": lambda text: codecs.BOM_UTF16_LE + text.replace("\n", "\r\n").encode("utf-16-le"),
    "Notepad, UTF-16 BE": lambda text: codecs.BOM_UTF16_BE + text.replace("\n", "\r\n").encode("utf-16-be"),
}


@pytest.mark.parametrize("data", ENCODED.values(), ids=ENCODED.keys())
def test_a_mark_says_the_encoding_and_lines_end_alike(data: bytes) -> None:
    assert decode(data) == "Größe 字 🙂\nsecond\n"
    assert without_mark(data) == TEXT.encode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("Größe".encode("cp1252"), "not UTF-8 text at byte 2; save it as UTF-8"),
        ("a\nb\n".encode("utf-16-le"), "UTF-16 without a byte order mark"),
        (codecs.BOM_UTF16_LE + b"\x00\xd8\x00", "not UTF-16 text"),
    ],
)
def test_what_is_no_text_says_what_to_do(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode(data)


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS.keys())
def test_labels_sets_recipes_and_json_of_other_systems(writer: Callable[[str], bytes], tmp_path: Path) -> None:
    labels, bank, recipe, config = (tmp_path / name for name in ("l.txt", "b.toml", "r.toml", "config.json"))
    labels.write_bytes(writer("Größe\n\nzwei\n"))
    bank.write_bytes(writer('labels = ["Größe"]\ntemplates = ["ein {}"]\ntitle = "t"\nsource = "s"\n'))
    recipe.write_bytes(writer('extends = "phi3-vision/int4.toml"\nname = "mine"\n'))
    config.write_bytes(writer('{"model_type": "größe"}\n'))
    assert read_labels(labels) == ("Größe", "zwei")
    assert read_prompts(bank).labels == ("Größe",)
    assert read_recipe(recipe).name == "mine"
    assert read_json(tmp_path, "config.json") == {"model_type": "größe"}


def test_the_wrong_encoding_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes("Größe\n".encode("cp1252"))
    with pytest.raises(
        InputError, match=r"labels\.txt: is not UTF-8 text at byte 2; save it as UTF-8, one label per line"
    ):
        read_labels(path)
    (tmp_path / "config.json").write_bytes(json.dumps({"a": 1}).encode("utf-16-le"))
    with pytest.raises(CheckpointError, match="UTF-16 without a byte order mark"):
        read_json(tmp_path, "config.json")
    with pytest.raises(InputError, match="cannot be read: No such file or directory"):
        read_labels(tmp_path / "none.txt")


def test_a_file_without_an_end_is_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nexus_edge._text.LONGEST", 5)
    (tmp_path / "five.txt").write_text("five\n")
    assert read_labels(tmp_path / "five.txt") == ("five",)
    for endless in (tmp_path / "six.txt", Path("/dev/zero")):
        if endless.parent == tmp_path:
            endless.write_text("sixth\n")
        with pytest.raises(InputError, match=rf"{endless}: has more than 5 bytes, too many for a text file"):
            read_labels(endless)


def test_half_of_a_character_is_no_text(tmp_path: Path) -> None:
    """RFC 8259, 8.2: JSON can write what no UTF-8 can; found in a tokenizer_config.json whose cls_token it was."""
    (tmp_path / "config.json").write_text(r'{"whole": "\ud83d\ude00 \\ud800", "\u00e9": 1}')
    assert read_json(tmp_path, "config.json") == {"whole": "\N{GRINNING FACE} \\ud800", "é": 1}
    for half in (r'{"a": "x\ud800"}', r'{"\uDC00": 1}', r'{"a": ["\ude00\ud83d"]}'):
        (tmp_path / "config.json").write_text(half)
        with pytest.raises(CheckpointError, match=r"has half of a character, \\ud[8ce]"):
            read_json(tmp_path, "config.json")


def test_a_tokenizer_with_a_mark(checkpoint_tokenizer: Path) -> None:
    from nexus_edge.processing.tokenizer import read_tokenizer

    plain = read_tokenizer(checkpoint_tokenizer).encode("hello").ids
    checkpoint_tokenizer.write_bytes(codecs.BOM_UTF8 + checkpoint_tokenizer.read_bytes())
    assert read_tokenizer(checkpoint_tokenizer).encode("hello").ids == plain


@pytest.fixture
def checkpoint_tokenizer(tmp_path: Path) -> Path:
    import toy_vlm

    toy_vlm.tokenizer().save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


@pytest.mark.parametrize("name", ["plain", "utf-8 mark", "utf-16 le", "utf-16 be"])
def test_lines_of_a_pipe(name: str) -> None:
    stream = io.TextIOWrapper(io.BufferedReader(io.BytesIO(ENCODED[name])), encoding="utf-8")
    assert list(lines(stream)) == ["Größe 字 🙂", "second"]
    assert not stream.closed and stream.read() == ""


def test_lines_of_a_pipe_in_the_consoles_code_page() -> None:
    stream = io.TextIOWrapper(io.BufferedReader(io.BytesIO("Größe\n".encode("cp1252"))), encoding="cp1252")
    assert list(lines(stream)) == ["Größe"]
    broken = io.TextIOWrapper(io.BufferedReader(io.BytesIO(b"Gr\xf6\n")), encoding="utf-8")
    assert list(lines(broken)) == ["Gr\udcf6"], "refused where it is encoded, by its position"


def test_every_text_file_is_read_here() -> None:
    """Files that people bring; what this package wrote itself may be read in the way it was written."""
    root = Path(__file__).parents[1] / "nexus_edge"
    own = {
        "assets",
        "parity",
        "models",
        "mil",
        "targets",
        "pipeline",
    }  # embedded checkpoints, reports, numbers, packages
    found = [
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if ".read_text(" in read_text(path) and not own & set(path.relative_to(root).parts)
    ]
    # coreml_engine and tuned read what nexus-edge wrote, machine /proc, the others numbers in the wheel.
    assert set(found) <= {
        "checkpoints/formats/open_clip.py", "checkpoints/synthetic.py", "cli/export.py",
        "engines/coreml/engine.py", "runtimes/machine.py", "runtimes/tuned.py",
    }  # fmt: skip


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '{"b": {"a": 1, "a": 1}}', '[{"a": 1, "b": 2, "a": 3}]'])
def test_a_key_that_stands_there_twice_is_refused(text: str) -> None:
    """RFC 8259, section 4: names should be unique; which one counts differs from reader to reader."""
    with pytest.raises(ValueError, match="the key 'a' appears twice"):
        parse_json(text)
