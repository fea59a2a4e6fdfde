"""From a checkpoint to a bundle; `export` is the way, in the order in which it happens."""
