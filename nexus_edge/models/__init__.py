"""The reference models in PyTorch: one file per family, named after the checkpoint's `model_type`."""
