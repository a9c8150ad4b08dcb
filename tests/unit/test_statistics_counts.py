"""The distribution of a count: against the exact convolution, at its edges, and mixed over parameter draws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from worker.statistics.counts import binomial_cdf, claim_range, count_interval, exact_poisson_binomial, mixed_cdf


def cdf(n, p):
    p = np.asarray(p, dtype=float)
    return binomial_cdf(np.asarray(n, dtype=float), np.array(p.sum()), np.array((p**2).sum()))


def test_exact_twin_is_the_binomial_when_all_are_equal():
    assert exact_poisson_binomial(np.full(9, 0.3)) == pytest.approx(stats.binom.pmf(np.arange(10), 9, 0.3))
    assert exact_poisson_binomial(np.zeros(0)).tolist() == [1.0]


def test_equal_probabilities_are_exact():
    assert cdf(np.arange(10), np.full(9, 0.3)) == pytest.approx(stats.binom.cdf(np.arange(10), 9, 0.3), abs=1e-12)


@settings(deadline=None, max_examples=80)
@given(st.lists(st.floats(0.001, 0.6), min_size=1, max_size=60))
def test_unequal_probabilities_are_close_to_the_exact_convolution(p):
    """
    Ehm's approximation is good to a few hundredths for the worst handful of leads, and far better for many.

    Worst is one likely lead among a few unlikely ones: a search over up to eight leads finds .035 and no more.
    """
    counts = np.arange(len(p) + 1)
    exact = np.cumsum(exact_poisson_binomial(np.array(p)))
    assert np.abs(cdf(counts, p) - exact).max() <= 0.04


def test_many_leads_are_nearly_exact():
    p = np.random.default_rng(1).beta(0.5, 5.0, 400)
    exact = np.cumsum(exact_poisson_binomial(p))
    assert np.abs(cdf(np.arange(401), p) - exact).max() < 0.003


@settings(deadline=None, max_examples=60)
@given(st.floats(0, 1e6), st.floats(0, 1), st.integers(-2, 50))
def test_a_distribution_function_stays_in_bounds_and_grows(mean, mean_p, n):
    squares = np.array(mean * mean_p)
    here, next_ = (binomial_cdf(np.array(float(x)), np.array(mean), squares) for x in (n, n + 1))
    assert 0.0 <= here <= next_ <= 1.0
    if n < 0:
        assert here == 0.0


def test_edges():
    """Nobody, certainty, vanishing probabilities, a Poisson limit, a huge count."""
    n = np.array([0.0, 0.0, 1.0, 2.0, 0.0, 3.0, 500_000.0, -1.0])
    mean = np.array([0.0, 2.0, 2.0, 2.0, 1e-12, 4.0, 500_000.0, 0.0])
    squares = np.array([0.0, 2.0, 2.0, 2.0, 1e-24, 0.0, 250_000.0, 0.0])
    expected = [1.0, 0.0, 0.0, 1.0, 1.0, stats.poisson.cdf(3, 4.0), stats.binom.cdf(500_000, 10**6, 0.5), 0.0]
    assert binomial_cdf(n, mean, squares) == pytest.approx(expected, abs=1e-7)


def test_claimed_range():
    m, low, high = claim_range(np.array([0.0, 0.49, 0.5, 1.5, 5.9, 40.2]))
    assert m.tolist() == [0, 0, 1, 2, 6, 40]
    assert low.tolist() == [0, 0, 0, 1, 4, 30]
    assert high.tolist() == [1, 1, 2, 3, 8, 50]


def test_interval_holds_at_least_its_level_and_not_much_more():
    rng = np.random.default_rng(2)
    means = rng.gamma(4.0, 2.0, (50, 64))
    squares = means * 0.2
    low, high = count_interval(means, squares, 0.8)
    inside = mixed_cdf(high, means, squares) - mixed_cdf(low - 1, means, squares)
    assert (inside >= 0.8 - 1e-12).all()
    without_ends = mixed_cdf(high - 1, means, squares) - mixed_cdf(low, means, squares)
    assert (without_ends < 0.8).all()


def test_interval_of_nothing_and_of_nobody():
    low, high = count_interval(np.zeros((2, 64)), np.zeros((2, 64)), 0.8)
    assert low.tolist() == high.tolist() == [0, 0]
    assert [len(end) for end in count_interval(np.zeros((0, 64)), np.zeros((0, 64)), 0.8)] == [0, 0]


def test_a_row_does_not_depend_on_its_neighbours_to_the_last_bit():
    rng = np.random.default_rng(4)
    means = rng.gamma(2.0, 3.0, (30, 64))
    squares = means * rng.random((30, 1)) * 0.5
    low, high = count_interval(means, squares, 0.8)
    p = mixed_cdf(high, means, squares)
    for rows in (slice(0, 1), slice(7, 8), slice(11, 20)):
        part = count_interval(means[rows], squares[rows], 0.8)
        assert np.array_equal(part[0], low[rows])
        assert np.array_equal(part[1], high[rows])
        assert np.array_equal(mixed_cdf(high[rows], means[rows], squares[rows]), p[rows])


@pytest.mark.parametrize("scale", [0.02, 0.4, 4.0, 40.0])
def test_the_interval_is_what_counting_up_finds(scale):
    rng = np.random.default_rng(6)
    means = rng.gamma(0.7, scale, (40, 1)) * rng.gamma(20.0, 0.05, (40, 64))
    squares = means * rng.random((40, 1)) * 0.4
    for end, tail in zip(count_interval(means, squares, 0.8), (0.1, 0.9), strict=True):
        counted = np.zeros(40)
        while (short := mixed_cdf(counted, means, squares) < tail).any():
            counted[short] += 1
        assert end.tolist() == counted.tolist()
