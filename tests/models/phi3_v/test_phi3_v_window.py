"""Whether a sliding window hides anything: what decides which of OpenVINO's decoders may run."""

import pytest

from nexus_edge.models.phi3_v.config_keys import has_window


@pytest.mark.parametrize(
    ("window", "context", "hides"),
    [
        (20, 4096, True),
        (4096, 4096, False),
        (8192, 4096, False),
        (None, 4096, False),
        (20, None, True),
        (4096, None, False),
    ],
)
def test_a_window_shorter_than_the_context_hides_tokens(window: int | None, context: int | None, hides: bool) -> None:
    # Without a context the authors' configuration class has 4096.
    assert has_window({"sliding_window": window, "max_position_embeddings": context}) is hides
