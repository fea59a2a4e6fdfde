"""The formats that an export can write; one folder in `nexus_edge/export/` each."""

TARGETS = {"onnx": "nexus_edge.export.onnx.target"}
"""Name -> module with `make(model_type, specs) -> Target`; see `nexus_edge.export.target`."""
