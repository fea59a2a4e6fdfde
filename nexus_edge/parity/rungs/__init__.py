"""The rungs of the ladder; each has `TITLE` and `judge(run) -> list[Check]`."""
