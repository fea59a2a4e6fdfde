"""What a manifest says of the checkpoint that a bundle was made from: whose it is, and which it is."""

from dataclasses import dataclass, fields
from typing import Any, Literal, cast, get_args

from nexus_edge._fields import Fields
from nexus_edge.bundle.digest import check_digest
from nexus_edge.errors import BundleError

Weights = Literal["real", "trained-tiny", "synthetic"]


@dataclass(frozen=True)
class Content:
    """Three SHA-256 (hex) of a checkpoint; `nexus_edge.checkpoints.fingerprint` says of what, and what they promise.

    Attributes:
        config: of the configuration and of what turns images and text into tensors
        layout: of the names, types and shapes of all tensors
        values: of numbers from every tensor
    """

    config: str
    layout: str
    values: str

    @classmethod
    def from_json(cls, value: Any, where: str) -> "Content":
        table = Fields.of(value, where, BundleError, tuple(item.name for item in fields(cls)))
        found = {item.name: table.text(item.name) for item in fields(cls)}
        for name, digest in found.items():
            check_digest(digest, f"{where}: {name}")
        return cls(**found)

    def differences(self, other: "Content") -> list[str]:
        """In words, in what another checkpoint differs."""
        words = {
            "config": "configuration or tokenizer",
            "layout": "names, types or shapes of tensors",
            "values": "weights",
        }
        return [text for name, text in words.items() if getattr(self, name) != getattr(other, name)]


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
    """

    checkpoint: str
    revision: str | None
    weights: Weights
    license: str | None = None
    published: bool | None = None
    base_model: str | None = None
    content: Content | None = None
    ignored_keys: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, value: Any, where: str) -> "Source":
        table = Fields.of(value, where, BundleError, tuple(item.name for item in fields(cls)))
        published, content = table.table.get("published"), table.table.get("content")
        if not isinstance(published, bool | None):
            raise BundleError(f"{where}: published {published!r:.60} must be true, false or null")
        return cls(
            checkpoint=table.text("checkpoint"),
            revision=table.optional_text("revision"),
            weights=cast(Weights, table.choice("weights", get_args(Weights))),
            license=table.optional_text("license"),
            published=published,
            base_model=table.optional_text("base_model"),
            content=None if content is None else Content.from_json(content, f"{where}: content"),
            ignored_keys=table.texts("ignored_keys") if "ignored_keys" in table.table else (),
        )

    @property
    def in_words(self) -> str:
        """Whose weights these are, and what of their configuration was left out: what reports say."""
        left_out = ", ".join(self.ignored_keys)
        return f"{self._origin}; configuration keys left out as asked: {left_out}" if left_out else self._origin

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
            return f"an own checkpoint, a fine-tune of {self.base_model} by its own account: {where}"
        if self.published is None:
            return f"{where}, of which this bundle is too old to say whether it is the published checkpoint"
        return f"an own checkpoint, not the published one: {where}"

    @property
    def label(self) -> str:
        """The same in a word or two: `published`, `own`, `fine-tune of X`, `trained-tiny`, `synthetic`."""
        if self.weights != "real" or self.published is None:
            return self.weights
        if self.published:
            return "published"
        return "own" if self.base_model is None else f"fine-tune of {self.base_model}"
