"""What `info` and `list` say of a bundle."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nexus_edge.bundle import Bundle

VERDICTS = {
    "passed": "passed: what was exported is still the model that it was exported from",
    "rejected": "rejected: it differs from the model that it was exported from",
    "not run": "not run: nothing has shown yet that it is still the model that it was exported from",
}


@dataclass(frozen=True)
class BundleFacts:
    """A bundle, for people and for machines.

    Attributes:
        bytes: of all files; `parts` has them by the first folder or file name
    """

    folder: Path
    name: str
    model_type: str
    weights: str
    targets: tuple[str, ...]
    bytes: int
    parts: dict[str, int]
    verdict: str
    reason: str

    @classmethod
    def of(cls, bundle: "Bundle") -> "BundleFacts":
        manifest = bundle.manifest
        parts: Counter[str] = Counter()
        for name, file in manifest.files.items():
            parts[name.partition("/")[0]] += file.size
        parity = manifest.parity or {}
        return cls(
            folder=bundle.root,
            name=manifest.name,
            model_type=manifest.model_type,
            weights=manifest.source.label,
            targets=manifest.targets,
            bytes=parts.total(),
            parts=dict(parts),
            verdict=str(parity.get("verdict", "not run")),
            reason=str(parity.get("reason", "")),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "folder": str(self.folder),
            "name": self.name,
            "model_type": self.model_type,
            "weights": self.weights,
            "targets": list(self.targets),
            "bytes": self.bytes,
            "parity": self.verdict,
            "reason": self.reason,
        }


def readable(size: int) -> str:
    """Bytes for people, in powers of ten as disks count them."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if size >= factor:
            return f"{size / factor:,.1f} {unit}"
    return f"{size / 1e3:.1f} kB"
