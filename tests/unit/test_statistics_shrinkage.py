"""Shrinkage towards the pool: a published meta-analysis, hand computation, priors recovered from known truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from worker.statistics.shrinkage import NormalPrior, estimate_beta_prior, estimate_normal_prior, shrink_means

DEFAULT = NormalPrior(50.0, 15.0**2)
PRIOR = NormalPrior(10.0, 4.0)

# Log risk ratios of the 13 BCG vaccine trials (Colditz et al. 1994): cases and persons, vaccinated and control.
BCG = np.array(
    [(4, 123, 11, 139), (6, 306, 29, 303), (3, 231, 11, 220), (62, 13598, 248, 12867), (33, 5069, 47, 5808),
     (180, 1541, 372, 1451), (8, 2545, 10, 629), (505, 88391, 499, 88391), (29, 7499, 45, 7277), (17, 1716, 65, 1665),
     (186, 50634, 141, 27338), (5, 2498, 3, 2341), (27, 16913, 29, 17854)]
)  # fmt: skip


def test_spread_between_trials_as_published():
    """tau^2 .3088 and the pooled -0.7141 are what the R package metafor prints for method "DL" (Viechtbauer 2010)."""
    a, n1, c, n0 = BCG.T
    log_ratio = np.log(a / n1 / (c / n0))
    prior = estimate_normal_prior(log_ratio, 1 / a - 1 / n1 + 1 / c - 1 / n0, NormalPrior(0.0, 1.0))
    assert prior.variance == pytest.approx(0.3088, abs=5e-5)
    assert prior.mean == pytest.approx(-0.7141, abs=5e-5)


def test_by_hand():
    """Equal errors: the spread is the sample variance of the means less the error."""
    prior = estimate_normal_prior(np.array([1.0, 2.0, 6.0]), np.ones(3), NormalPrior(0.0, 1.0))
    assert prior.mean == pytest.approx(3.0)
    assert prior.variance == pytest.approx(7.0 - 1.0)


def test_too_few_clients_give_the_default():
    assert estimate_normal_prior(np.zeros(0), np.zeros(0), DEFAULT) == DEFAULT
    assert estimate_normal_prior(np.array([1.0, 2.0, np.nan]), np.ones(3), DEFAULT) == DEFAULT


def test_equal_clients_keep_a_little_room():
    prior = estimate_normal_prior(np.full(20, 40.0), np.ones(20), DEFAULT)
    assert prior == NormalPrior(pytest.approx(40.0), DEFAULT.variance / 100)


def test_errors_of_zero_and_giants_do_no_harm():
    prior = estimate_normal_prior(np.array([1.0, 5.0, 9.0, 4.0]), np.array([0.0, 1e9, 1.0, 2.0]), DEFAULT)
    assert np.isfinite([prior.mean, prior.variance]).all()
    assert prior.variance > 0


def test_normal_prior_is_recovered():
    rng = np.random.default_rng(1)
    error = rng.gamma(2.0, 20.0, 4000) + 1.0
    means = rng.normal(55.0, 9.0, 4000) + rng.normal(0.0, np.sqrt(error))
    prior = estimate_normal_prior(means, error, DEFAULT)
    assert prior.mean == pytest.approx(55.0, abs=0.6)
    assert np.sqrt(prior.variance) == pytest.approx(9.0, abs=0.7)


@given(st.floats(-50, 50), st.floats(0.01, 100))
def test_shrunken_mean_lies_between_own_and_pool(mean, error):
    """It is the precision-weighted mean; the interval is narrower than either source's."""
    centre, low, high = (float(x[0]) for x in shrink_means(np.array([mean]), np.array([error]), PRIOR, 0.8))
    expected = (mean / error + PRIOR.mean / PRIOR.variance) / (1 / error + 1 / PRIOR.variance)
    assert centre == pytest.approx(expected)
    assert min(mean, PRIOR.mean) - 1e-9 <= centre <= max(mean, PRIOR.mean) + 1e-9
    half = 1.2815515655446004 * np.sqrt(1 / (1 / error + 1 / PRIOR.variance))
    assert (high - low) / 2 == pytest.approx(half)


def test_client_without_a_value_gets_the_pool():
    centre, low, high = shrink_means(np.array([np.nan, 3.0]), np.array([1.0, np.nan]), PRIOR, 0.8)
    assert centre == pytest.approx([10.0, 10.0])
    assert high - low == pytest.approx(2 * 1.2815515655446004 * 2.0)


def test_intervals_cover_what_they_say():
    rng = np.random.default_rng(2)
    truth = rng.normal(PRIOR.mean, 2.0, 20_000)
    error = rng.gamma(1.0, 4.0, 20_000)
    _, low, high = shrink_means(truth + rng.normal(0, np.sqrt(error)), error, PRIOR, 0.8)
    assert ((low <= truth) & (truth <= high)).mean() == pytest.approx(0.8, abs=0.01)


def test_a_row_does_not_depend_on_its_neighbours_to_the_last_bit():
    rng = np.random.default_rng(3)
    means, error = rng.normal(10, 3, 77), rng.gamma(1.0, 4.0, 77)
    whole = shrink_means(means, error, PRIOR, 0.8)
    for rows in (slice(0, 1), slice(40, 43)):
        part = shrink_means(means[rows], error[rows], PRIOR, 0.8)
        assert all(np.array_equal(p, w[rows]) for p, w in zip(part, whole, strict=True))


def test_beta_prior_is_recovered():
    rng = np.random.default_rng(4)
    n = rng.integers(0, 60, 4000)
    a, b = estimate_beta_prior(rng.binomial(n, rng.beta(3.0, 6.0, 4000)), n, (1.0, 2.0))
    assert a / (a + b) == pytest.approx(1 / 3, abs=0.02)
    assert a + b == pytest.approx(9.0, rel=0.25)


def test_beta_prior_maximises_the_exact_likelihood():
    """The slow twin: scipy's beta-binomial, client by client, plus the default as one more client."""
    rng = np.random.default_rng(5)
    n = rng.integers(1, 30, 12)
    k = rng.binomial(n, rng.beta(2.0, 3.0, 12))
    default = (1.0, 2.0)

    def score(a, b):
        like = stats.betabinom.logpmf(k, n, a, b).sum()
        # Skellam's likelihood of the default's one success in three, without the binomial coefficient
        like += np.log(stats.beta.pdf(0.4, a, b)) - np.log(stats.beta.pdf(0.4, a + default[0], b + default[1]))
        like += default[0] * np.log(0.4) + default[1] * np.log(0.6)
        return like - 0.5 * np.log((a + b) / 3.0) ** 2

    a, b = estimate_beta_prior(k, n, default)
    best = score(a, b)
    for mean in np.linspace(0.02, 0.98, 49):
        for concentration in np.exp(np.linspace(np.log(0.5), np.log(500), 24)):
            assert score(mean * concentration, (1 - mean) * concentration) <= best + 1e-6


def test_beta_prior_without_a_lead_is_the_default():
    nothing = np.zeros(5, dtype=np.int64)
    assert estimate_beta_prior(nothing, nothing, (1.0, 2.0)) == (1.0, 2.0)
    assert estimate_beta_prior(nothing[:0], nothing[:0], (1.0, 2.0)) == (1.0, 2.0)


def test_beta_prior_of_extremes():
    """All, none, and a million leads."""
    million = np.array([10**6] * 3)
    for k in (million, million * 0, million // 3):
        a, b = estimate_beta_prior(k, million, (1.0, 2.0))
        assert 0 < a < 500
        assert 0 < b < 500
