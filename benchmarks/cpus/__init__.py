"""Other CPUs than this one, as far as its own features reach."""
