"""Apple's operations in numpy, one file per group; definitions: https://apple.github.io/coremltools, "MIL Ops"."""
