"""Safetensors: a mapped reader, a streaming writer, and the checks of what a header says. Needs no torch."""
