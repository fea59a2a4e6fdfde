"""A label bank: what a text tower made of labels, in a file, so that a device needs the image tower only.

The file is a safetensors file with one tensor, `embeddings` float32 [labels, dim]. Its `__metadata__` holds `format`,
`labels` and `templates` as JSON lists, `text_tower`, the SHA-256 of the tower, and the names `model` and `weights`.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nexus_edge._arguments import require_path
from nexus_edge._atomic import replaced_when_done
from nexus_edge._outputs import FileKind
from nexus_edge._text import parse_json
from nexus_edge.bundle import DualEncoderInfo
from nexus_edge.checkpoints import SafetensorsFile, write_tensors
from nexus_edge.errors import CheckpointError, InputError
from nexus_edge.interfaces.engine import Floats
from nexus_edge.runtimes.dual_encoder.prompts import PromptSet
from nexus_edge.runtimes.dual_encoder.unit_rows import check_unit_rows
from nexus_edge.storage.header import REMEDY

FORMAT = "nexus-edge label bank 1"
MAX_BYTES = 2**32  # 2 million labels of 512 numbers; more is no label bank
BANK = FileKind("a label bank", (".bank", ".safetensors", ""), re.compile(rb'"format":"nexus-edge label bank '))
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

    def save(self, path: str | Path) -> None:
        """Write the file in one step; raises OutputError."""
        metadata = {
            "format": FORMAT,
            "labels": json.dumps(self.prompts.labels),
            "templates": json.dumps(self.prompts.templates),
            "text_tower": self.text_tower,
            "model": self.model,
            "weights": self.weights,
        }
        with replaced_when_done(require_path("path", path)) as temporary:
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
        if facts.get("format") != FORMAT:
            raise InputError(f"{path}: is not a label bank of this version; make one with nexus-edge bank")
        try:
            return cls(
                PromptSet(_texts(facts["labels"]), _texts(facts["templates"])),
                _embeddings(file),
                facts["text_tower"],
                facts["model"],
                facts["weights"],
            )._checked()
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
    embeddings = np.array(file.read("embeddings"))
    check_unit_rows(embeddings, "label")
    return embeddings
