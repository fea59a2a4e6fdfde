"""Weights in fewer bits: schemes, quantizers, and the modules that compute with quantized weights."""
