"""The folders that other runtimes read.

ort_genai.py              what ONNX Runtime GenAI wants beside the graphs
openvino_genai.py         the four graphs of OpenVINO GenAI's VLMPipeline; openvino_genai_modules.py: what they compute,
                          openvino_genai_files.py: what is read beside them
"""
