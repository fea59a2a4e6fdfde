"""Fixtures for tests of more than one folder."""

from pathlib import Path

import pytest
import toy_vlm

from nexus_edge.bundle import Bundle


@pytest.fixture(scope="session")
def toy_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """See toy_vlm.py; read-only."""
    return toy_vlm.write_bundle(tmp_path_factory.mktemp("bundles") / "toy")


@pytest.fixture(scope="session")
def toy_path(toy_bundle: Bundle) -> Path:
    """The toy bundle's folder."""
    return toy_bundle.root
