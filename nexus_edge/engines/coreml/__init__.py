"""Core ML: Apple's runtime on a Mac, elsewhere an evaluator of its programs (`mil/`)."""
