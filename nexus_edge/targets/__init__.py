"""The formats that an export can write; one folder each."""

TARGETS = {
    "onnx": "nexus_edge.targets.onnx.target",
    "openvino": "nexus_edge.targets.openvino.target",
    "coreml": "nexus_edge.targets.coreml.target",
}
"""Name -> module with `make(model_type, specs) -> Target`; see `nexus_edge.targets.base`."""

DEPLOYMENTS = {"iOS17": 17, "iOS18": 18, "macOS14": 17, "macOS15": 18}
"""Oldest system that Core ML packages are to load on, as a recipe names it -> the major version of iOS."""

EXTRAS = {"onnx": "export", "openvino": "openvino", "coreml": "coreml"}
"""Name -> extra of pyproject.toml that an export for it needs, beside `export`."""
