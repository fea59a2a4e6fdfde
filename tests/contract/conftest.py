"""Fixtures of the contract tests, whose rows are what the registries list."""

from collections.abc import Callable

import pytest
from bundles import Bundles
from tiny_families import Tiny, write_tiny

from nexus_edge.families import families


@pytest.fixture(scope="session")
def tiny_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Tiny]:
    """model_type -> the family with its checkpoint, made once."""
    done: dict[str, Tiny] = {}

    def make(model_type: str) -> Tiny:
        if model_type not in done:
            folder = tmp_path_factory.mktemp(model_type) / "checkpoint"
            write_tiny(model_type, folder)
            done[model_type] = Tiny(families()[model_type], folder)
        return done[model_type]

    return make


@pytest.fixture
def tiny(model_type: str, tiny_of: Callable[[str], Tiny]) -> Tiny:
    """The family that a test's parameter names."""
    return tiny_of(model_type)


@pytest.fixture(scope="session")
def bundle_of(tiny_of: Callable[[str], Tiny], tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    """Row -> its bundle."""
    return Bundles(tiny_of, tmp_path_factory.getbasetemp())
