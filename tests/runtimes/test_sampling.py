"""Greedy takes the first best; a nucleus draw follows the distribution and never leaves the nucleus."""

import numpy as np
import pytest

from nexus_edge.errors import BundleError, InputError
from nexus_edge.runtimes import GenerationOptions
from nexus_edge.runtimes.vlm.sampling import Sampler

LOGITS = np.log(np.array([0.5, 0.1, 0.3, 0.1], np.float32))


def draws(sampler: Sampler, count: int, logits: np.ndarray = LOGITS) -> np.ndarray:
    return np.array([sampler.pick(logits) for _ in range(count)])


def test_greedy_takes_the_first_of_equal_logits() -> None:
    assert Sampler(0.0, 1.0, None).pick(np.array([1, 3, 3], np.float32)) == 1


def test_draws_follow_the_distribution() -> None:
    shares = np.bincount(draws(Sampler(1.0, 1.0, 0), 20_000), minlength=4) / 20_000
    # Four standard deviations of a share of 0.5 in 20,000 draws.
    np.testing.assert_allclose(shares, [0.5, 0.1, 0.3, 0.1], rtol=0, atol=4 * np.sqrt(0.25 / 20_000))


def test_temperature_sharpens() -> None:
    shares = np.bincount(draws(Sampler(0.5, 1.0, 0), 20_000), minlength=4) / 20_000
    squared = np.array([0.25, 0.01, 0.09, 0.01]) / 0.36
    np.testing.assert_allclose(shares, squared, rtol=0, atol=4 * np.sqrt(0.25 / 20_000))


@pytest.mark.parametrize(("top_p", "nucleus"), [(0.3, {0}), (0.6, {0, 2}), (0.85, {0, 1, 2}), (1.0, {0, 1, 2, 3})])
def test_only_the_nucleus_is_drawn(top_p: float, nucleus: set[int]) -> None:
    assert set(draws(Sampler(1.0, top_p, 0), 2_000)) == nucleus


def test_a_seed_repeats_and_another_differs() -> None:
    first, again, other = (draws(Sampler(1.0, 1.0, seed), 50) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("temperature", [1e-300, 1e300])
def test_extreme_temperatures_give_a_token(temperature: float) -> None:
    assert 0 <= Sampler(temperature, 1.0, 0).pick(LOGITS) < 4


def test_logits_of_minus_infinity_are_never_drawn() -> None:
    logits = np.array([-np.inf, 0, -np.inf], np.float32)
    assert set(draws(Sampler(5.0, 1.0, 0), 200, logits)) == {1}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_nan_is_damage(temperature: float) -> None:
    with pytest.raises(BundleError, match="NaN"):
        Sampler(temperature, 1.0, 0).pick(np.array([0, np.nan, 1], np.float32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-0.1, 1.0, None), "temperature is -0.1"),
        ((float("nan"), 1.0, None), "temperature is nan"),
        ((1.0, 0.0, None), "top_p is 0.0"),
        ((1.0, 1.1, None), "top_p is 1.1"),
        ((1.0, 1.0, -1), "seed is -1"),
    ],
)
def test_values_out_of_range(arguments: tuple[float, float, int | None], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Sampler(*arguments)


def test_options_of_drawing_are_named_where_nothing_is_drawn() -> None:
    assert GenerationOptions(top_k=5, seed=1).without_effect == ("seed", "top_k")
    assert GenerationOptions(top_k=5, seed=1, temperature=0.5).without_effect == ()
    assert GenerationOptions(repetition_penalty=1.2).without_effect == ()
