"""Phi-3-Vision with fixed shapes: packages.py has the programs, modules.py what they compute, sizes.py their sizes."""
