"""The list of foreign checkpoints, the same for every family."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from foreign.kinds import disturbed, scaled, with_outliers

STEPS = 6  # of fine-tuning

Size = dict[str, int]
Make = Callable[..., None]


def listed(sizes: Mapping[str, Size], draw: Make, edit: Make, tune: Make) -> dict[str, Callable[[Path], None]]:
    """Name -> what writes the folder; the first 20 are the cheap ones.

    Args:
        sizes: of models whose numbers are drawn, by name, the deepest last; {} is the embedded checkpoint's
        draw: (size, std, folder, seed) writes a folder
        edit: (edit, seed, folder) writes one
        tune: (folder, seed) writes one, after `STEPS` steps
    """
    found: dict[str, Callable[[Path], None]] = {}
    *shallow, deep = [(name, size, 100 + number) for number, (name, size) in enumerate(sizes.items())]
    for name, size, seed in shallow:
        found |= _drawn(name, size, seed, draw)
    for seed in (1, 2):
        found[f"drawn, embedded sizes, seed {seed}"] = partial(draw, {}, 0.05, seed=seed)
    for amount, seed in ((0.02, 3), (0.1, 4), (0.3, 5)):
        found[f"embedded, moved by {amount:.0%} of deviations"] = partial(edit, disturbed(amount), seed)
    found["embedded, outliers of 8 times"] = partial(edit, with_outliers(8.0), 6)
    found["embedded, outliers of 30 times"] = partial(edit, with_outliers(30.0), 7)
    found["embedded, matrices halved"] = partial(edit, scaled(0.5), 8)
    found["embedded, matrices doubled"] = partial(edit, scaled(2.0), 9)
    for seed in (10, 11, 12):
        found[f"fine-tuned for {STEPS} steps, seed {seed}"] = partial(tune, seed=seed)
    return found | _drawn(*deep, draw)


def _drawn(name: str, size: Size, seed: int, draw: Make) -> dict[str, Callable[[Path], None]]:
    return {f"drawn, {name}, deviation {std}": partial(draw, size, std, seed=seed) for std in (0.02, 0.08)}
