"""Take a vision-language model from its PyTorch checkpoint to the edge, and prove that what arrived is still that model."""

__version__ = "0.1.0"
