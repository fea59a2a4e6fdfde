"""Numbers that JSON can write and float32 cannot hold."""

import pytest

from nexus_edge.configs.rope import read_rope
from nexus_edge.configs.values import number
from nexus_edge.errors import CheckpointError
from nexus_edge.processing.normalise import read_mean_std


@pytest.mark.parametrize("value", [10**400, 1e300, 1e-320, 1e-40, 0, -1.0, float("inf"), float("nan"), True, "1"])
def test_what_float32_cannot_hold_is_refused(value: object) -> None:
    """3.4028235e38 and 1.1754944e-38 are the largest and the smallest normal number of IEEE 754's binary32."""
    with pytest.raises(ValueError, match="rope_theta is"):
        number({"rope_theta": value}, "rope_theta")


@pytest.mark.parametrize("value", [3.4028234e38, 1.1754944e-38, 10**38, 10000])
def test_what_it_can_hold_is_read(value: float) -> None:
    assert number({"rope_theta": value}, "rope_theta") == float(value)


def test_an_original_length_of_one_has_no_magnitude() -> None:
    """LongRoPE divides by its logarithm (arXiv 2402.13753, equation of the attention scale)."""
    factors = {"type": "su", "short_factor": [1.0], "long_factor": [2.0]}
    config = {"rope_scaling": factors, "original_max_position_embeddings": 1, "max_position_embeddings": 64}
    with pytest.raises(ValueError, match="original_max_position_embeddings is 1"):
        read_rope(config, head_dim=2, context=64)


@pytest.mark.parametrize("factor", [1e-320, 10**400])
def test_factors_are_numbers_of_float32(factor: float) -> None:
    factors = {"type": "su", "short_factor": [1.0], "long_factor": [factor]}
    config = {"rope_scaling": factors, "original_max_position_embeddings": 8, "max_position_embeddings": 64}
    with pytest.raises(ValueError, match="long_factor"):
        read_rope(config, head_dim=2, context=64)


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ([1e300, 0, 0], [0.2, 0.2, 0.2]),
        ([0.4, 0.4, 0.4], [1e-320, 0.2, 0.2]),
        ([0.4, 0.4, 0.4], [1e-40, 0.2, 0.2]),
        ([10**400, 0, 0], [0.2, 0.2, 0.2]),
    ],
)
def test_a_normalisation_that_is_not_finite_is_refused(mean: list[float], std: list[float]) -> None:
    with pytest.raises(CheckpointError, match=r"here\.json: "):
        read_mean_std({"mean": mean, "std": std}, ("mean", "std"), "here.json")
