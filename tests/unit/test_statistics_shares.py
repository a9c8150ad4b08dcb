"""Shares of several kinds: the shared-normals simulation against numpy's own Dirichlet, and a prior recovered."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from worker.statistics.shares import (
    DirichletPrior,
    estimate_shares,
    fit_dirichlet_prior,
    probability_halves_agree,
    simulate_ball,
    total_variation,
)

PRIOR = DirichletPrior(12.0 * np.array([0.4, 0.3, 0.15, 0.1, 0.05]))


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    "alpha", [[3.0, 2.0, 1.0], [40.0, 25.0, 10.0, 0.5], [0.2, 0.2, 0.2], [400.0, 300.0, 5.0, 0.01], [9.0] + [0.8] * 14]
)
@pytest.mark.parametrize("distance", [0.05, 0.10, 0.25])
def test_ball_and_winners_agree_with_numpys_dirichlet(alpha, distance):
    """512 stratified draws: the mass of the ball is within .05 of the truth for every seed, within .015 on average."""
    alpha = np.array(alpha)
    draws = rng(1).dirichlet(alpha, 100_000)
    centre = alpha / alpha.sum()
    exact = (0.5 * np.abs(draws - centre).sum(axis=1) <= distance).mean()
    winners = np.bincount(draws.argmax(axis=1), minlength=len(alpha)) / len(draws)
    results = [simulate_ball(alpha[None], centre[None], distance, rng(seed)) for seed in range(12)]
    within = np.array([w[0] for w, _ in results])
    assert np.abs(within - exact).max() < 0.06
    assert within.mean() == pytest.approx(exact, abs=0.015)
    assert np.mean([wins[0] for _, wins in results], axis=0) == pytest.approx(winners, abs=0.015)


def test_estimate_is_the_posterior_mean_with_beta_intervals():
    counts = np.array([[6, 1, 0, 2, 0]])
    posterior = estimate_shares(counts, PRIOR, 0.1, 0.8, rng())
    alpha = counts[0] + PRIOR.alpha
    assert posterior.estimate[0] == pytest.approx(alpha / alpha.sum())
    assert posterior.low[0] == pytest.approx(stats.beta.ppf(0.1, alpha, alpha.sum() - alpha))
    assert posterior.high[0] == pytest.approx(stats.beta.ppf(0.9, alpha, alpha.sum() - alpha))
    assert posterior.largest[0] == 0


@settings(deadline=None, max_examples=25)
@given(st.lists(st.lists(st.integers(0, 500), min_size=5, max_size=5), min_size=1, max_size=6))
def test_bounds(counts):
    posterior = estimate_shares(np.array(counts), PRIOR, 0.1, 0.8, rng())
    assert posterior.estimate.sum(axis=1) == pytest.approx(1.0)
    assert ((posterior.within > 0) & (posterior.within < 1)).all()
    assert ((posterior.low <= posterior.high) & (posterior.low >= 0) & (posterior.high <= 1)).all()
    assert ((posterior.largest_probability >= 0.2) & (posterior.largest_probability <= 1)).all()


def test_a_row_does_not_depend_on_its_neighbours_to_the_last_bit():
    counts = rng(2).poisson(4.0, (300, 5))
    whole = estimate_shares(counts, PRIOR, 0.1, 0.8, rng(9))
    halves = probability_halves_agree(counts + PRIOR.alpha, counts.sum(axis=1), 0.25, rng(9))
    for rows in (slice(0, 1), slice(100, 103), slice(120, 300)):
        part = estimate_shares(counts[rows], PRIOR, 0.1, 0.8, rng(9))
        for name in ("estimate", "low", "high", "within", "largest", "largest_probability"):
            assert np.array_equal(getattr(part, name), getattr(whole, name)[rows])
        part_halves = probability_halves_agree(counts[rows] + PRIOR.alpha, counts[rows].sum(axis=1), 0.25, rng(9))
        assert np.array_equal(part_halves, halves[rows])


def test_prior_is_recovered():
    mix = np.array([0.4, 0.3, 0.2, 0.1])
    n = rng(3).integers(1, 40, 2000)
    counts = rng(4).multinomial(n, rng(5).dirichlet(15.0 * mix, 2000))
    alpha = fit_dirichlet_prior(counts, 20.0).alpha
    assert alpha / alpha.sum() == pytest.approx(mix, abs=0.02)
    assert alpha.sum() == pytest.approx(15.0, rel=0.25)


def test_one_client_does_not_prove_that_clients_are_alike():
    """A client alone makes up the whole pool; it must not be taken for a perfect likeness of it."""
    one = np.array([[30, 20, 10, 0, 0]])
    assert fit_dirichlet_prior(one, 20.0).alpha.sum() <= 20.0


def test_empty_pools():
    """Nobody, or clients without a lead: an even mix at the default concentration."""
    for counts in (np.zeros((0, 5), dtype=np.int64), np.zeros((3, 5), dtype=np.int64)):
        alpha = fit_dirichlet_prior(counts, 20.0).alpha
        assert alpha == pytest.approx(np.full(5, alpha[0]))
        assert alpha.sum() == pytest.approx(20.0, rel=0.1)
        assert len(estimate_shares(counts, DirichletPrior(alpha), 0.1, 0.8, rng()).within) == len(counts)


def test_extreme_counts():
    """A million leads of one kind are certain; a kind nobody ever saw stays possible."""
    counts = np.array([[10**6, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
    prior = fit_dirichlet_prior(np.array([[50, 20, 0, 0, 0]] * 40), 20.0)
    posterior = estimate_shares(counts, prior, 0.1, 0.8, rng())
    assert posterior.within[0] > 0.99
    assert posterior.largest_probability[0] == 1.0
    assert (posterior.estimate > 0).all()
    assert np.isfinite(posterior.high).all()


def test_agreement_of_another_half_matches_simulation():
    alpha = np.array([8.0, 5.0, 2.0, 0.5])
    mean = alpha / alpha.sum()
    truth = rng(6).dirichlet(alpha, 40_000)
    for n in (1, 5, 40):
        seen = rng(7).multinomial(n, truth) / n
        exact = (total_variation(seen, mean) <= 0.25).mean()
        said = np.mean([probability_halves_agree(alpha[None], np.array([n]), 0.25, rng(s))[0] for s in range(8)])
        assert said == pytest.approx(exact, abs=0.08)


def test_total_variation():
    assert total_variation(np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([0.5, 0.5])).tolist() == [0.0, 0.5]
    assert total_variation(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1.0
