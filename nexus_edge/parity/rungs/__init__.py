"""The rungs of the ladder; each has `TITLE` and `run(lab) -> list[Check]`."""
