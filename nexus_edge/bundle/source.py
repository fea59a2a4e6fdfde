"""What a manifest says of the checkpoint that a bundle was made from: whose it is, and which it is."""

from dataclasses import dataclass
from typing import Literal

from nexus_edge.bundle.digest import Digest

Weights = Literal["real", "trained-tiny", "synthetic"]


@dataclass(frozen=True)
class Content:
    """Three SHA-256 (hex) of a checkpoint; `nexus_edge.checkpoints.fingerprint` says of what, and what they promise.

    Attributes:
        config: of the configuration and of what turns images and text into tensors
        layout: of the names, types and shapes of all tensors
        values: of numbers from every tensor
    """

    config: Digest
    layout: Digest
    values: Digest

    def differences(self, other: "Content") -> list[str]:
        """In words, in what another checkpoint differs."""
        words = {
            "config": "configuration or tokenizer",
            "layout": "names, types or shapes of tensors",
            "values": "weights",
        }
        return [text for name, text in words.items() if getattr(self, name) != getattr(other, name)]


@dataclass(frozen=True)
class AdapterSource:
    """A LoRA adapter that was merged into the checkpoint.

    Attributes:
        folder: its absolute path
        content: SHA-256 (hex) of what it holds, see `nexus_edge.checkpoints.adapters.adapter.Adapter.content`
        base_model: what it was trained on, by its own account; None where it does not say
    """

    folder: str
    content: Digest
    base_model: str | None = None


@dataclass(frozen=True)
class Source:
    """The checkpoint.

    Attributes:
        checkpoint: a folder's absolute path, a hub id, `tiny` or `synthetic`; older bundles may hold a relative path
        revision: the commit of a hub checkpoint, the generator's version of a synthetic one
        weights: keeps results of tiny and synthetic weights from passing as the real model's
        license: as the checkpoint states it, in lower case, such as `mit`; None where it states none
        published: whether it came from the model's own hub repository; None in older bundles, which do not say
        base_model: the model that it is a fine-tune of, by its own account; None where it names none
        content: hashes; None in older bundles
        ignored_keys: keys of its configuration files that were left out because the user said so
        adapter: what was merged into it; None: nothing
    """

    checkpoint: str
    revision: str | None
    weights: Weights
    license: str | None = None
    published: bool | None = None
    base_model: str | None = None
    content: Content | None = None
    ignored_keys: tuple[str, ...] = ()
    adapter: AdapterSource | None = None

    @property
    def in_words(self) -> str:
        """Whose weights these are, and what of their configuration was left out: what reports say."""
        whose = self._origin if self.adapter is None else self._adapted
        left_out = ", ".join(self.ignored_keys)
        return f"{whose}; configuration keys left out as asked: {left_out}" if left_out else whose

    @property
    def _adapted(self) -> str:
        assert self.adapter is not None
        place = self.checkpoint if self.weights == "real" else self._origin
        where = f"{place} at {self.revision}" if self.revision and self.weights == "real" else place
        base = f", which says to be of {self.adapter.base_model}" if self.adapter.base_model else ""
        return f"a fine-tune: {where}, with the LoRA adapter {self.adapter.folder}{base}, merged into it"

    @property
    def _origin(self) -> str:
        if self.weights == "trained-tiny":
            return "a small checkpoint trained in this repository"
        if self.weights == "synthetic":
            return "synthesized numbers of the full model's shape"
        where = f"{self.checkpoint} at {self.revision}" if self.revision else self.checkpoint
        if self.published:
            return f"the published checkpoint {where}"
        if self.base_model is not None:
            return f"your own checkpoint, which says it is a fine-tune of {self.base_model}: {where}"
        if self.published is None:
            return f"{where}, which may be the published checkpoint: this bundle is too old to say"
        return f"your own checkpoint, not the published one: {where}"

    @property
    def label(self) -> str:
        """The same in a word or two: `published`, `own`, `fine-tune of X`, `trained-tiny`, `synthetic`."""
        if self.adapter is not None:
            of = self.weights if self.weights != "real" else self.base_model or self.checkpoint
            return f"fine-tune of {of}"
        if self.weights != "real" or self.published is None:
            return self.weights
        if self.published:
            return "published"
        return "own" if self.base_model is None else f"fine-tune of {self.base_model}"
