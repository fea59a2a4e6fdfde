"""Ids of text in which no control token is recognised, however the text looks."""

import json
import re
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any

import tokenizers

from nexus_edge.processing.segments import Control


class PlainText:
    """Encodes text with a tokenizer whose control tokens are left out.

    Control tokens are the special ones, and those that are named. What a fine-tune added to its vocabulary as ordinary
    words stays. Without a control token in it, a text has the ids that the whole tokenizer gives it.
    """

    def __init__(self, core: tokenizers.Tokenizer, control: Collection[str]) -> None:
        self._core = core
        added = core.get_added_tokens_decoder().values()
        self.control = {token.content: token for token in added if token.special or token.content in control}
        longest_first = sorted((token for token in self.control if token == token.strip()), key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")

    def ids(self, text: str, *, first: bool) -> list[int]:
        """Ids of a text; `first`: nothing stands before it in its chunk."""
        if not first and self._marks_first_only:
            return self._later.ids(text)
        if any(content in text for content in self.control):
            return self._without_control.ids(text)
        return list(self._core.encode(text, add_special_tokens=False).ids)

    def split(self, text: str) -> list[str | Control]:
        """A template's own text at the control tokens in it, the longest first where several begin, as tokenizers do.

        A token with white space at an end is none here: the white space may be that of a user's text beside it.
        """
        segments: list[str | Control] = []
        start = 0
        for found in self._control.finditer(text):
            segments += [text[start : found.start()], Control(found[0])]
            start = found.end()
        return [one for one in (*segments, text[start:]) if one != ""]

    @cached_property
    def _document(self) -> dict[str, Any]:
        """tokenizer.json without the control tokens. Reading it takes a second, and few texts need it."""
        document: dict[str, Any] = json.loads(self._core.to_str())
        document["added_tokens"] = [one for one in document["added_tokens"] if one["content"] not in self.control]
        return document

    @cached_property
    def _marks_first_only(self) -> bool:
        """Whether the word mark goes before the first text alone (`prepend_scheme` of newer Llama files)."""
        pre_tokenizer = self._core.pre_tokenizer
        return pre_tokenizer is not None and b'"prepend_scheme":"first"' in pre_tokenizer.__getstate__()

    @cached_property
    def _without_control(self) -> "_Renumbered":
        return _Renumbered(self._document, self._core)

    @cached_property
    def _later(self) -> "_Renumbered":
        return _Renumbered(_never_marking(self._document), self._core)


class _Renumbered:
    """A tokenizer from a document whose added tokens are fewer, with the ids of the whole one.

    The library numbers added tokens as it reads them, so those after a gap move.
    """

    def __init__(self, document: Mapping[str, Any], whole: tokenizers.Tokenizer) -> None:
        self._core = tokenizers.Tokenizer.from_str(json.dumps(document))
        added = self._core.get_added_tokens_decoder()
        ids = {id_: whole.token_to_id(token.content) for id_, token in added.items()}
        self._whole_ids = {id_: there for id_, there in ids.items() if there is not None}

    def ids(self, text: str) -> list[int]:
        """Ids of a text, as the whole tokenizer counts them."""
        return [self._whole_ids.get(id_, id_) for id_ in self._core.encode(text, add_special_tokens=False).ids]


def _never_marking(value: Any) -> Any:
    """A copy in which each `prepend_scheme` that is "first" is "never"."""
    if isinstance(value, dict):
        return {
            key: "never" if key == "prepend_scheme" and one == "first" else _never_marking(one)
            for key, one in value.items()
        }
    return [_never_marking(one) for one in value] if isinstance(value, list) else value
