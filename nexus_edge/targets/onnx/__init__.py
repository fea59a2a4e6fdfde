"""The ONNX target: graphs for ONNX Runtime whose initializers point into one safetensors file."""
