"""The formats that an export can write; one folder in `nexus_edge/export/` each."""

TARGETS = {
    "onnx": "nexus_edge.export.onnx.target",
    "openvino": "nexus_edge.export.openvino.target",
    "coreml": "nexus_edge.export.coreml.target",
}
"""Name -> module with `make(model_type, specs) -> Target`; see `nexus_edge.export.target`."""

EXTRAS = {"onnx": "export", "openvino": "openvino", "coreml": "coreml"}
"""Name -> extra of pyproject.toml that an export for it needs, beside `export`."""
