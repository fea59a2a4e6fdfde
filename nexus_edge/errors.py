"""The errors that nexus-edge raises on purpose, and the exit code of each.

    NexusEdgeError              1   anything below, caught as one
    ├── InputError              2   what the user gave cannot be used
    │   ├── RecipeError             a recipe or scheme file is wrong
    │   ├── BundleError             a bundle is missing, corrupt, changed or unsafe
    │   ├── ImageError              an image cannot be read or processed
    │   ├── PromptError             prompt and images do not fit together, or do not fit the context
    │   ├── OutputError             the result cannot be written where it was asked for
    │   └── MissingExtraError       an optional dependency is not installed
    ├── ParityError             3   an artefact is no longer its original
    └── CheckpointError         4   a checkpoint is missing, corrupt, or of another model

Each message is one line that says what was wrong, where, and what to do.
"""


class NexusEdgeError(Exception):
    """Base of every error that nexus-edge raises on purpose."""

    exit_code = 1


class InputError(NexusEdgeError):
    """What the user gave cannot be used."""

    exit_code = 2


class RecipeError(InputError):
    """A recipe or scheme file is missing, misspelt or contradictory."""


class BundleError(InputError):
    """A bundle is missing, corrupt, changed since export, or points outside itself."""


class ImageError(InputError):
    """An image cannot be read or processed."""


class PromptError(InputError):
    """Prompt and images do not fit together, or do not fit the model's context."""


class OutputError(InputError):
    """The result cannot be written where it was asked for."""


class MissingExtraError(InputError):
    """An optional dependency is not installed; the message names the extra."""


class ParityError(NexusEdgeError):
    """An artefact is no longer its original."""

    exit_code = 3


class CheckpointError(NexusEdgeError):
    """A checkpoint is missing, corrupt, or of another model."""

    exit_code = 4
