"""Text to ids and back with the checkpoint's own tokenizer.json, also one id at a time."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tokenizers

from nexus_edge._text import read_text
from nexus_edge.configs.values import flag
from nexus_edge.errors import CheckpointError, PromptError
from nexus_edge.processing.folder import read_json
from nexus_edge.processing.plain_text import PlainText
from nexus_edge.processing.segments import Control, sections

BYTE_TOKEN = re.compile(r"<0x[0-9A-Fa-f]{2}>")  # a byte that the vocabulary has no piece for
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def read_tokenizer(path: Path) -> tokenizers.Tokenizer:
    """A tokenizer.json, without limits of its own; raises CheckpointError."""
    read_json(path.parent, path.name)  # says more about a damaged file than the parser below
    try:
        core = tokenizers.Tokenizer.from_str(read_text(path))
    except Exception as error:  # the library raises nothing more precise than Exception
        raise CheckpointError(f"{path} is not a tokenizer ({error}); download it again") from error
    core.no_truncation()  # a training run may have left its limits in the file
    core.no_padding()
    return core


class Tokenizer:
    """A tokenizer.json with the one thing it does not say reliably: which token begins a text."""

    def __init__(self, core: tokenizers.Tokenizer, bos_id: int | None, control: Collection[str] = ()) -> None:
        """`control`: tokens that are control although the file does not call them special."""
        self._core = core
        self.bos_id = bos_id
        self._plain = PlainText(core, control)
        self._special = {id_ for id_, token in core.get_added_tokens_decoder().items() if token.special}

    @classmethod
    def from_folder(cls, folder: Path, control: Collection[str] = ()) -> "Tokenizer":
        """Reads tokenizer.json and tokenizer_config.json; raises CheckpointError if one is missing or wrong."""
        config = read_json(folder, "tokenizer_config.json")
        path = folder / "tokenizer.json"
        core = read_tokenizer(path)
        token = config.get("bos_token")
        bos = token.get("content") if isinstance(token, dict) else token  # older files hold the token's flags as well
        if not _adds_bos(config, folder):
            return cls(core, None, control)
        bos_id = core.token_to_id(bos) if isinstance(bos, str) else None
        if bos_id is None:
            raise CheckpointError(
                f"{folder / 'tokenizer_config.json'}: bos_token {bos!r} is not in {path.name}; fix one"
            )
        return cls(core, bos_id, control)

    @classmethod
    def as_written(cls, folder: Path, control: Collection[str] = ()) -> "Tokenizer":
        """As `from_folder`, for models whose decoders bring tokenizers of several classes.

        Those of Llama go by `add_bos_token`; with all others tokenizer.json itself says what begins a text.
        """
        config = read_json(folder, "tokenizer_config.json")
        if "Llama" in str(config.get("tokenizer_class")):
            return cls.from_folder(folder, control)
        path = folder / "tokenizer.json"
        core = read_tokenizer(path)
        plain, whole = core.encode("a", add_special_tokens=False).ids, core.encode("a").ids
        if whole[-len(plain) :] != plain or len(whole) > len(plain) + 1:
            raise CheckpointError(f"{path}: its post_processor adds more than one token before a text; correct it")
        bos_id = None if whole == plain else whole[0]
        said = config.get("add_bos_token")
        if said is not None and said != (bos_id is not None):
            raise CheckpointError(
                f"{folder / 'tokenizer_config.json'}: add_bos_token is {said}, but the post_processor of {path.name} "
                f"adds {'none' if bos_id is None else 'one'}; correct one of them"
            )
        return cls(core, bos_id, control)

    @property
    def largest_id(self) -> int:
        """The largest id that it gives."""
        return max(self._core.get_vocab().values(), default=0)

    def token_id(self, token: str) -> int | None:
        """The id of a token given as text, or None."""
        return self._core.token_to_id(token)

    def encode(self, text: str, add_bos: bool = True) -> list[int]:
        """Ids of `text`, after the BOS where the tokenizer has one; raises PromptError if it is not valid Unicode.

        A control token in it becomes that token's id, as in the original: text of users goes into `encode_segments`.
        """
        _check_unicode(text)
        ids = self._core.encode(text, add_special_tokens=False).ids
        return [self.bos_id, *ids] if add_bos and self.bos_id is not None else list(ids)

    def encode_segments(self, segments: Sequence[str | Control], add_bos: bool = True) -> list[int]:
        """As `encode` of all segments together, but only `Control` gives the id of a control token.

        Raises PromptError for text that is not valid Unicode, and for a control token that the tokenizer has not.
        """
        ids = [self.bos_id] if add_bos and self.bos_id is not None else []
        for index, section in enumerate(sections(segments, self._plain.control.get)):
            if section.text:
                _check_unicode(section.text)
                ids += self._plain.ids(section.text, first=index == 0)
            if section.token is not None:
                id_ = self.token_id(section.token)
                if id_ is None:
                    raise PromptError(f"the model's tokenizer has no {section.token}; leave out what needs it")
                ids.append(id_)
        return ids

    @property
    def control_tokens(self) -> Collection[str]:
        """The tokens that no text of a user becomes."""
        return self._plain.control.keys()

    def split_control(self, text: str) -> list[str | Control]:
        """What a template itself writes, at the control tokens in it."""
        return self._plain.split(text)

    def decode(self, ids: Iterable[int], skip_special: bool = True) -> str:
        """Text of `ids`; negative ids (places of images) are left out."""
        return self._core.decode([id_ for id_ in ids if id_ >= 0], skip_special_tokens=skip_special)

    def is_silent(self, id_: int) -> bool:
        """Whether `decode` leaves this id out: an image's place, a special token, or one without text."""
        return id_ < 0 or id_ in self._special or self._core.id_to_token(id_) is None

    def is_byte(self, id_: int) -> bool:
        """Whether this id is a single byte, perhaps of a longer character."""
        return BYTE_TOKEN.fullmatch(self._core.id_to_token(id_) or "") is not None


def _adds_bos(config: Mapping[str, Any], folder: Path) -> bool:
    """Whether `bos_token` begins a text; raises CheckpointError."""
    try:
        return flag(config, "add_bos_token", default=True)
    except ValueError as error:
        raise CheckpointError(f"{folder / 'tokenizer_config.json'}: {error}") from error


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:  # half a surrogate pair, or a byte that a terminal passed on undecoded
        raise PromptError(f"the text is not valid Unicode at position {error.start}; give it as UTF-8") from error


class StreamDecoder:
    """Decodes ids as they come. All pieces together are exactly `decode` of all ids, however they are cut.

    A piece never ends inside a character. A run of byte tokens is held until another token ends it: one bad byte makes
    `decode` replace the whole run, so none of it is certain before. The last shown token goes in front of each
    decode, because decoders treat the first token of a text in their own way (Llama's strip its leading space).
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._before: Sequence[int] = ()
        self._pending: list[int] = []

    def push(self, id_: int) -> str:
        """The text that this id makes certain, often with that of ids before it; empty while it has to wait."""
        if self._tokenizer.is_silent(id_):
            return ""
        self._pending.append(id_)
        if self._tokenizer.is_byte(id_):
            return ""
        text = self._decode_pending()
        if text.endswith(REPLACEMENT):  # byte-level vocabularies cut characters between ordinary tokens
            return ""
        self._before, self._pending = (id_,), []
        return text

    def flush(self) -> str:
        """The text that was held back, at the end of the ids; the decoder is then as new."""
        text = self._decode_pending() if self._pending else ""
        self._before, self._pending = (), []
        return text

    def _decode_pending(self) -> str:
        shown = len(self._tokenizer.decode(self._before))
        return self._tokenizer.decode([*self._before, *self._pending])[shown:]
