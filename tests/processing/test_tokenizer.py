"""Ids and text against the original tokenizer; decoding in pieces against decoding at once."""

import json
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers

from nexus_edge.errors import CheckpointError
from nexus_edge.processing.tokenizer import StreamDecoder, Tokenizer

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/phi3_tokenizer/expected.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def small(core: tokenizers.Tokenizer) -> Tokenizer:
    return Tokenizer(core, core.token_to_id("<s>"))


@pytest.fixture(scope="module")
def real(real_checkpoint: Path) -> Tokenizer:
    return Tokenizer.from_folder(real_checkpoint)


@pytest.fixture(scope="module")
def byte_level() -> Tokenizer:
    """The other kind of vocabulary (GPT-2, Qwen): every token is bytes, characters may be cut anywhere."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = tokenizers.Tokenizer(models.BPE(vocab={piece: id_ for id_, piece in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return Tokenizer(core, bos_id=None)


def pieces(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    stream = StreamDecoder(tokenizer)
    return [stream.push(id_) for id_ in ids] + [stream.flush()]


@pytest.mark.parametrize("case", GOLDEN["plain"], ids=lambda case: repr(case["text"]))
def test_ids_and_text_are_the_originals(real: Tokenizer, case: dict) -> None:
    assert real.encode(case["text"]) == case["ids"]
    assert real.encode(case["text"], add_bos=False) == case["ids_no_special"]
    assert real.decode(case["ids"], skip_special=False) == case["decoded"]
    assert real.decode(case["ids"]) == case["decoded_skip_special"]


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_pieces_are_the_whole_for_any_ids(small: Tokenizer, core: tokenizers.Tokenizer, data: st.DataObject) -> None:
    # Bytes and characters half and half: runs of bytes, whole and broken, are where the difficulty is.
    any_id = st.one_of(st.integers(-2, core.get_vocab_size() + 3), st.integers(1, 256))
    ids = data.draw(st.lists(any_id, max_size=40))
    assert "".join(pieces(small, ids)) == small.decode(ids)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=30))
def test_pieces_of_a_text_are_whole_characters(small: Tokenizer, text: str) -> None:
    ids = small.encode(text)
    parts = pieces(small, ids)
    assert "".join(parts) == small.decode(ids)
    assert "\ufffd" not in text or "\ufffd" in "".join(parts)
    assert "\ufffd" in text or not any("\ufffd" in part for part in parts)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.lists(st.integers(0, 255), max_size=30), st.text(max_size=12)))
def test_byte_level_pieces_are_the_whole(byte_level: Tokenizer, source: list[int] | str) -> None:
    ids = byte_level.encode(source) if isinstance(source, str) else source
    parts = pieces(byte_level, ids)
    assert "".join(parts) == byte_level.decode(ids)
    if isinstance(source, str) and "\ufffd" not in source:
        assert not any("\ufffd" in part for part in parts)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.integers(0, 32063), st.integers(3, 258)), max_size=60))
def test_pieces_are_the_whole_with_the_real_vocabulary(real: Tokenizer, ids: list[int]) -> None:
    assert "".join(pieces(real, ids)) == real.decode(ids)


def test_text_comes_as_soon_as_it_is_certain(small: Tokenizer, core: tokenizers.Tokenizer) -> None:
    smile = [core.token_to_id(f"<0x{byte:02X}>") for byte in "🙂".encode()]
    the, space = core.token_to_id("▁the"), core.token_to_id("▁")
    assert pieces(small, [the, the]) == ["the", " the", ""]  # only the text's first space is the tokenizer's own
    assert pieces(small, [the, *smile, space]) == ["the", "", "", "", "", "🙂 ", ""]
    assert pieces(small, [the, *smile]) == ["the", "", "", "", "", "🙂"]
    assert pieces(small, [the, *smile[:2]]) == ["the", "", "", "\ufffd\ufffd"]  # cut off: as decode has it


def test_special_tokens_and_places_of_images_are_silent(small: Tokenizer, core: tokenizers.Tokenizer) -> None:
    user, the = core.token_to_id("<|user|>"), core.token_to_id("▁the")
    assert pieces(small, [user, -1, -1, the, user, the]) == ["", "", "", "the", "", " the", ""]


def test_a_decoder_is_new_after_flush(small: Tokenizer, core: tokenizers.Tokenizer) -> None:
    stream = StreamDecoder(small)
    the = core.token_to_id("▁the")
    assert [stream.push(the), stream.flush(), stream.push(the)] == ["the", "", "the"]


def test_limits_left_by_a_training_run_do_not_cut_the_prompt(checkpoint: Path, core: tokenizers.Tokenizer) -> None:
    limited = tokenizers.Tokenizer.from_str(core.to_str())
    limited.enable_truncation(3)
    limited.enable_padding(length=50)
    limited.save(str(checkpoint / "tokenizer.json"))
    assert len(Tokenizer.from_folder(checkpoint).encode("abcdefgh")) == 10  # BOS, the leading space, eight letters


@pytest.mark.parametrize("bos", ["<s>", {"content": "<s>", "special": True}])
def test_bos_may_be_text_or_an_object(checkpoint: Path, core: tokenizers.Tokenizer, bos: object) -> None:
    (checkpoint / "tokenizer_config.json").write_text(json.dumps({"bos_token": bos}))
    assert Tokenizer.from_folder(checkpoint).encode("") == [core.token_to_id("<s>")]


def test_no_bos_where_the_checkpoint_says_so(checkpoint: Path) -> None:
    (checkpoint / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "add_bos_token": False}))
    assert Tokenizer.from_folder(checkpoint).encode("") == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.json", None, "tokenizer.json is missing"),
        ("tokenizer.json", "{", "not valid JSON"),
        ("tokenizer.json", "[]", "JSON list, expected an object"),
        ("tokenizer.json", '{"model": 1}', "is not a tokenizer"),
        ("tokenizer_config.json", None, "tokenizer_config.json is missing"),
        ("tokenizer_config.json", "\x80", "not valid JSON"),
        ("tokenizer_config.json", "{}", "bos_token None is not in tokenizer.json"),
        ("tokenizer_config.json", '{"bos_token": "[CLS]"}', r"bos_token '\[CLS\]' is not in tokenizer.json"),
    ],
)
def test_a_damaged_folder_is_explained(checkpoint: Path, name: str, content: str | None, message: str) -> None:
    if content is None:
        (checkpoint / name).unlink()
    else:
        (checkpoint / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(CheckpointError, match=message) as caught:
        Tokenizer.from_folder(checkpoint)
    assert "\n" not in str(caught.value)
