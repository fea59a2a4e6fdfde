"""Says which extra is missing, where an import shows that one is."""

from collections.abc import Iterator
from contextlib import contextmanager

from nexus_edge.errors import MissingExtraError


@contextmanager
def needs_extra(what: str, extra: str = "export") -> Iterator[None]:
    """Around imports of code that the base install cannot run.

    Args:
        what: what the user wants to do, the beginning of the message
        extra: the extra of pyproject.toml that brings it; "" for the base install

    Raises:
        MissingExtraError: one of the imported packages is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "nexus_edge":
            raise  # our own mistake, not a missing package
        package = f"'nexus-edge[{extra}]'" if extra else "nexus-edge"
        raise MissingExtraError(f"{what} needs {error.name}: pip install {package}") from error
