"""Says when an image is read, but not all that its file holds."""

import warnings

from PIL import Image


class PartialImageWarning(UserWarning):
    """A file has more than what was read of it: further pages or frames, or tiles that are not there."""


def warn_of_more(count: int, what: str, name: str) -> None:
    """Warn if a file holds more than one image, of which the first is read."""
    if count > 1:
        warnings.warn(f"{name} has {count} {what}; the first is read", PartialImageWarning, stacklevel=2)


def warn_of_absent_tiles(share: float, name: str) -> None:
    """Warn that a slide leaves out tiles, which are shown white."""
    warnings.warn(f"{name} leaves out {share:.0%} of its slide; that is shown white", PartialImageWarning, stacklevel=2)


def warn_of_frames(image: Image.Image, name: str) -> None:
    """The same for an animation that Pillow has opened. MPO's further images are previews and depth of the first."""
    if image.format != "MPO":
        warn_of_more(getattr(image, "n_frames", 1), "frames", name)
