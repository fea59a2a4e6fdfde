"""What other runtimes read beside the graphs of an `onnx/` folder."""

from collections.abc import Callable, Sequence
from pathlib import Path

from nexus_edge.export.onnx.genai import write_phi3v
from nexus_edge.export.target import Ingredients

COMPANIONS: dict[str, Sequence[Callable[[Path, Ingredients], None]]] = {"phi3_v": (write_phi3v,)}
"""model_type -> writers of the files that a runtime wants for models of this family."""
