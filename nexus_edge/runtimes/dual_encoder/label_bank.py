"""A label bank: what a text tower made of labels, in a file, so that a device needs the image tower only.

The file is a safetensors file with one tensor, `embeddings` float32 [labels, dim]. Its `__metadata__` holds `format`,
`labels` and `templates` as JSON lists, `text_tower`, the SHA-256 of the tower, the names `model` and `weights`, and
`sha256` of all that (`_digest`): a changed number that leaves a row at length 1 would give other answers in silence.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nexus_edge._arguments import require_kind, require_path
from nexus_edge._atomic import replaced_when_done
from nexus_edge._outputs import SAFETENSORS, FileKind, require_own
from nexus_edge._text import parse_json
from nexus_edge.bundle import DualEncoderInfo
from nexus_edge.checkpoints import SafetensorsFile, write_tensors
from nexus_edge.errors import CheckpointError, InputError
from nexus_edge.interfaces.engine import Floats
from nexus_edge.runtimes.dual_encoder.prompts import PromptSet
from nexus_edge.runtimes.dual_encoder.unit_rows import check_unit_rows, require_rows
from nexus_edge.storage.header import REMEDY

FORMAT = "nexus-edge label bank 2"  # 2: with its hash
WITHOUT_HASH = "nexus-edge label bank 1"
FACTS = ("format", "labels", "templates", "text_tower", "model", "weights")
MAX_BYTES = 2**32  # 2 million labels of 512 numbers; more is no label bank
BANK = FileKind(
    "a label bank",
    (".bank", ".safetensors", ""),
    re.compile(SAFETENSORS + rb'"format":"nexus-edge label bank \d+",', re.DOTALL),
)
BUNDLED = "labels.bank"
"""The bank that a bundle without a text tower carries."""


@dataclass(frozen=True)
class LabelBank:
    """Labels with their embeddings.

    Attributes:
        prompts: the labels and templates it was made of
        embeddings: float32 [labels, dim], L2-normalised
        text_tower: SHA-256 of the tower that made it
        model, weights: of the bundle, for people
    """

    prompts: PromptSet
    embeddings: Floats
    text_tower: str
    model: str
    weights: str

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the embeddings."""
        return self.prompts.labels

    def check(self, info: DualEncoderInfo, where: str) -> None:
        """Raise InputError if another text tower made the bank than that of the model `where`."""
        if self.text_tower != info.text_tower:
            raise InputError(
                f"the label bank was made by another text tower (of {self.model}) than that of {where}; "
                "make it again with nexus-edge bank"
            )
        if self.embeddings.shape[1] != info.embed_dim:
            raise InputError(
                f"the label bank holds {self.embeddings.shape[1]} numbers per label, {where} {info.embed_dim}; "
                "it was changed: make it again with nexus-edge bank"
            )

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the file in one step, also over a label bank that is there.

        Args:
            path: of the file
            overwrite: replace a file that is no label bank, too

        Raises:
            InputError: the embeddings are none of a label bank
            OutputError: it cannot be written, or a file is there that nexus-edge did not write as a label bank
        """
        path = require_path("path", path)
        require_kind("overwrite", overwrite, bool, "true or false")
        require_rows(self.embeddings, len(self.labels), ("float32",), "label")
        if not overwrite:
            require_own("save", path, BANK, "choose another name, or pass overwrite=True")
        metadata = {
            "format": FORMAT,
            "labels": json.dumps(self.prompts.labels),
            "templates": json.dumps(self.prompts.templates),
            "text_tower": self.text_tower,
            "model": self.model,
            "weights": self.weights,
        }
        metadata["sha256"] = _digest(metadata, self.embeddings)
        with replaced_when_done(path) as temporary:
            write_tensors(temporary, {"embeddings": self.embeddings}, metadata)

    @classmethod
    def load(cls, path: str | Path) -> "LabelBank":
        """Read and validate a file; raises InputError that says what is wrong with it."""
        path = require_path("path", path)
        try:
            if path.stat().st_size > MAX_BYTES:
                raise InputError(f"{path}: is larger than any label bank")
            file = SafetensorsFile(path)
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
        except CheckpointError as error:
            raise InputError(
                f"{str(error).removesuffix(f'; {REMEDY}')}; a label bank comes from nexus-edge bank"
            ) from error
        facts = file.metadata
        if facts.get("format") == WITHOUT_HASH:
            raise InputError(
                f"{path}: is a label bank of an earlier version, without a checksum; make it again with nexus-edge bank"
            )
        if facts.get("format") != FORMAT:
            raise InputError(f"{path}: is not a label bank of this version; make one with nexus-edge bank")
        try:
            embeddings = _embeddings(file)
            if facts["sha256"] != _digest(facts, embeddings):
                raise InputError("is damaged, its checksum is not that of its data; make it again with nexus-edge bank")
            check_unit_rows(embeddings, "label")
            prompts = PromptSet(_texts(facts["labels"]), _texts(facts["templates"]))
            return cls(prompts, embeddings, facts["text_tower"], facts["model"], facts["weights"])._checked()
        except KeyError as error:
            raise InputError(f"{path}: {error} is missing; make the bank again with nexus-edge bank") from error
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    def _checked(self) -> "LabelBank":
        if len(self.labels) != len(self.embeddings):
            raise InputError(f"holds {len(self.embeddings)} embeddings of {len(self.labels)} labels; make it again")
        return self


def _texts(text: str) -> tuple[str, ...]:
    try:
        values = parse_json(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"labels or templates are not JSON ({error}); make the bank again") from error
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise InputError("labels and templates must be lists of texts; make the bank again")
    return tuple(values)


def _embeddings(file: SafetensorsFile) -> Floats:
    info = file.infos.get("embeddings")
    if info is None or info.dtype != "float32" or len(info.shape) != 2:
        raise InputError("holds no float32 [labels, dim] embeddings; make the bank again")
    return np.array(file.read("embeddings"))


def _digest(facts: Mapping[str, str], embeddings: Floats) -> str:
    """SHA-256 (hex) of the texts of `FACTS` in UTF-8, each with a zero byte after it, and of the numbers row by row."""
    digest = hashlib.sha256()
    for name in FACTS:
        digest.update(facts[name].encode("utf-8", "surrogatepass") + b"\0")
    digest.update(np.ascontiguousarray(embeddings, "<f4").tobytes())
    return digest.hexdigest()
