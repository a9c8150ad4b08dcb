"""The score of a count's forecast against the sum that defines it, and the forecast rebuilt from what was published."""

import numpy as np
import pytest
from scipy import stats

from worker.statistics.count_scores import count_crps, forecast_draws
from worker.statistics.counts import claim_range, mixed_cdf


def slow_crps(actual, cdf, most=400):
    k = np.arange(most)
    return ((cdf(k) - (actual <= k)) ** 2).sum()


@pytest.mark.parametrize("actual", [0, 1, 3, 7, 40])
def test_the_score_is_its_definition(actual):
    size, mean = 60, 3.0
    found = count_crps(np.array([float(actual)]), np.array([[mean]]), np.array([[mean**2 / size]]))
    assert found[0] == pytest.approx(slow_crps(actual, stats.binom(size, mean / size).cdf))


def test_many_claims_of_all_sizes_are_scored_as_each_alone():
    rng = np.random.default_rng(1)
    means = rng.gamma(1.0, 20.0, (50, 3))
    squares, actual = means**2 / 500, rng.poisson(20, 50).astype(float)
    together = count_crps(actual, means, squares)
    alone = [count_crps(actual[i : i + 1], means[i : i + 1], squares[i : i + 1])[0] for i in range(50)]
    assert together == pytest.approx(alone, abs=1e-9)
    assert count_crps(np.zeros(0), np.zeros((0, 3)), np.zeros((0, 3))).shape == (0,)


def test_the_truth_scores_better_than_what_is_bolder_or_off():
    rng = np.random.default_rng(2)
    actual = rng.poisson(8.0, 4000).astype(float)

    def score(mean, squares):
        return count_crps(actual, np.full((4000, 1), mean), np.full((4000, 1), squares)).mean()

    assert score(8.0, 1e-6) < min(score(10.0, 1e-6), score(6.0, 1e-6), score(8.0, 6.0))


def test_the_forecast_is_rebuilt_with_the_mean_and_the_mass_that_were_published():
    expected = np.array([0.4, 3.0, 12.0, 40.0])
    size = np.array([10.0, 60.0, 100.0, 400.0])
    _, low, high = claim_range(expected)
    for deviation in (0.0, 0.35, 0.75):
        level = np.exp(deviation * stats.norm.ppf((np.arange(7) + 0.5) / 7))
        true = expected[:, None] * level / level.mean()
        said = mixed_cdf(high, true, true**2 / size[:, None]) - mixed_cdf(low - 1, true, true**2 / size[:, None])
        means, squares = forecast_draws(expected, size, low, high, said)
        mass = mixed_cdf(high, means, squares) - mixed_cdf(low - 1, means, squares)
        assert mass == pytest.approx(said, abs=1e-9)
        assert means.mean(axis=1) == pytest.approx(expected)
        assert (means[1:].std(axis=1) > 0).all() == (deviation > 0)  # of less than one, the spread can hardly be told
