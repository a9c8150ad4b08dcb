"""Shares of several kinds: the shared-normals simulation against numpy's own Dirichlet, and a prior recovered."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import gammaln

from worker.statistics.shares import (
    CONCENTRATIONS,
    DRAWS,
    SharesPrior,
    concentration_likelihood,
    estimate_shares,
    expected_shares,
    fit_shares_prior,
    probability_halves_agree,
    share_within,
    simulate_distances,
    total_variation,
)

SURE = 1e9  # leads' worth of the pool: one client's own leads are nothing in it
MIX = np.array([0.4, 0.3, 0.15, 0.1, 0.05])
PRIOR = SharesPrior(SURE * MIX, np.array([12.0]), np.ones(1))
MIXED = SharesPrior(SURE * MIX, np.array([3.0, 12.0, 80.0]), np.array([0.3, 0.4, 0.3]))


def rng(seed=0):
    return np.random.default_rng(seed)


def typical(prior):
    """Give the geometric mean of the concentrations."""
    return float(np.exp(prior.weights @ np.log(prior.concentrations)))


def spread(prior):
    """Give the standard deviation of the logarithms of the concentrations."""
    logarithms = np.log(prior.concentrations)
    return float(np.sqrt(prior.weights @ logarithms**2 - (prior.weights @ logarithms) ** 2))


@pytest.mark.parametrize(
    "alpha", [[3.0, 2.0, 1.0], [40.0, 25.0, 10.0, 0.5], [0.2, 0.2, 0.2], [400.0, 300.0, 5.0, 0.01], [9.0] + [0.8] * 14]
)
@pytest.mark.parametrize("distance", [0.05, 0.10, 0.25])
def test_ball_and_winner_agree_with_numpys_dirichlet(alpha, distance):
    """The mass of the ball is within .035 of the truth for every seed, and within .01 on average over seeds."""
    alpha = np.array(alpha)[None]
    draws = rng(1).dirichlet(alpha[0], 100_000)
    centre = alpha / alpha.sum()
    exact = total_variation(draws, centre)
    concentration = np.full((1, DRAWS), 1e-9)
    runs = [simulate_distances(alpha, centre, concentration, centre, rng(seed)) for seed in range(12)]
    within = np.array([share_within(run[0], distance, exact.mean(keepdims=True))[0] for run in runs])
    assert np.abs(within - (exact <= distance).mean()).max() < 0.035
    assert within.mean() == pytest.approx((exact <= distance).mean(), abs=0.01)
    winner = (draws.argmax(axis=1) == alpha[0].argmax()).mean()
    assert np.mean([run[1][0] for run in runs]) == pytest.approx(winner, abs=0.015)


@pytest.mark.parametrize("n", [3, 12, 100])
def test_the_mixture_s_ball_agrees_with_plain_simulation(n):
    """
    Slow and obvious: draw a concentration, then shares, then leads, and keep those that look like the client's.

    Here the first two steps by their known posterior, component by component.
    """
    counts = np.array([rng(n).multinomial(n, rng(8).dirichlet(12 * MIX))], dtype=float)
    c = MIXED.concentrations[:, None]
    a = c * MIX
    terms = (gammaln(counts + a) - gammaln(a)).sum(axis=1) + gammaln(c[:, 0]) - gammaln(n + c[:, 0])
    odds = MIXED.weights * np.exp(terms - terms.max())
    odds /= odds.sum()
    draws = np.concatenate(
        [rng(2).dirichlet(counts[0] + a[g], round(100_000 * odds[g])) for g in range(3) if odds[g] > 1e-4]
    )
    found = [estimate_shares(counts, MIXED, 0.1, 0.8, rng(seed)) for seed in range(6)]
    assert found[0].estimate[0] == pytest.approx(draws.mean(axis=0), abs=0.003)
    exact = (total_variation(draws, draws.mean(axis=0)) <= 0.1).mean()
    assert np.mean([f.within[0] for f in found]) == pytest.approx(exact, abs=0.01)
    low, high = np.quantile(draws, [0.1, 0.9], axis=0)
    assert found[0].low[0] == pytest.approx(low, abs=0.035)
    assert found[0].high[0] == pytest.approx(high, abs=0.035)


def test_estimate_is_the_posterior_mean_with_beta_intervals():
    counts = np.array([[6, 1, 0, 2, 0]])
    posterior = estimate_shares(counts, PRIOR, 0.1, 0.8, rng())
    alpha = counts[0] + 12 * MIX
    assert posterior.estimate[0] == pytest.approx(alpha / alpha.sum())
    assert expected_shares(counts.astype(float), PRIOR)[0] == pytest.approx(alpha / alpha.sum())
    assert posterior.low[0] == pytest.approx(stats.beta.ppf(0.1, alpha, alpha.sum() - alpha), abs=1e-5)
    assert posterior.high[0] == pytest.approx(stats.beta.ppf(0.9, alpha, alpha.sum() - alpha), abs=1e-5)
    assert posterior.largest[0] == 0


def test_likelihood_between_the_nodes_is_as_good_as_exact():
    """All the concentrations worked out in full, small clients and one of a thousand leads: within .001."""
    counts = rng(4).multinomial([1, 7, 40, 1000], rng(5).dirichlet(9 * MIX, 4)) / 1.3
    mix = np.broadcast_to(MIX, counts.shape)
    a = CONCENTRATIONS[:, None, None] * mix
    n, c = counts.sum(axis=1)[:, None], CONCENTRATIONS[None, :]
    exact = (gammaln(counts + a) - gammaln(a)).sum(axis=2).T + gammaln(c) - gammaln(n + c)
    likelihood = concentration_likelihood(counts, mix, CONCENTRATIONS)
    assert likelihood == pytest.approx(np.exp(exact - exact.max(axis=1, keepdims=True)), abs=1e-3)


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
    n, excess = counts.sum(axis=1), rng(3).random(300) / 20
    whole = estimate_shares(counts, MIXED, 0.1, 0.8, rng(9))
    halves = probability_halves_agree(counts, MIXED, n, excess=excess, distance=0.25, rng=rng(9))
    for rows in (slice(0, 1), slice(100, 103), slice(120, 300)):
        part = estimate_shares(counts[rows], MIXED, 0.1, 0.8, rng(9))
        for name in ("estimate", "low", "high", "within", "largest", "largest_probability"):
            assert np.array_equal(getattr(part, name), getattr(whole, name)[rows])
        part_halves = probability_halves_agree(
            counts[rows], MIXED, n[rows], excess=excess[rows], distance=0.25, rng=rng(9)
        )
        assert np.array_equal(part_halves[0], halves[0][rows])
        assert np.array_equal(part_halves[1], halves[1][rows])


@pytest.mark.parametrize("concentration", [4.0, 15.0, 60.0])
def test_prior_is_recovered(concentration):
    mix = np.array([0.4, 0.3, 0.2, 0.1])
    n = rng(3).integers(1, 40, 2000)
    prior = fit_shares_prior(rng(4).multinomial(n, rng(5).dirichlet(concentration * mix, 2000)), 12.0)
    assert prior.pool / prior.pool.sum() == pytest.approx(mix, abs=0.02)
    assert typical(prior) == pytest.approx(concentration, rel=0.2)
    assert prior.weights.sum() == pytest.approx(1.0)


def test_clients_of_two_sorts_are_told_apart():
    """Half of them hardly differ, half of them are each of their own kind: both are in the prior."""
    own = np.repeat([2.0, 200.0], 500)
    shares = np.stack([rng(i).dirichlet(c * MIX) for i, c in enumerate(own)])
    prior = fit_shares_prior(rng(6).multinomial(60, shares), 12.0)
    assert spread(prior) > 1.0
    alike = rng(7).dirichlet(12.0 * MIX, 1000)
    assert spread(fit_shares_prior(rng(6).multinomial(60, alike), 12.0)) < 0.4


def test_leads_that_count_for_less_leave_more_doubt():
    counts = np.array([[60.0, 30.0, 10.0, 0.0, 0.0]])
    wide, narrow = (estimate_shares(counts / deff, PRIOR, 0.1, 0.8, rng()) for deff in (3.0, 1.0))
    assert wide.within[0] < narrow.within[0]
    assert ((wide.high - wide.low)[0, :3] > (narrow.high - narrow.low)[0, :3]).all()


def test_one_client_does_not_prove_that_clients_are_alike():
    """A client alone makes up the whole pool; it meets an even mix, not itself, and all doubt about c remains."""
    one = np.array([[30, 20, 10, 0, 0]])
    prior = fit_shares_prior(one, 12.0)
    assert prior.mix_of_others(one.astype(float)) == pytest.approx(np.full((1, 5), 0.2))
    assert typical(prior) <= 12.0
    assert prior.weights[(prior.concentrations > 3) & (prior.concentrations < 12)].sum() < 0.9


def test_a_tone_that_only_one_client_uses_is_its_own():
    """Forty of its fifty leads: the estimate says so, though nobody else ever wrote that way."""
    counts = np.zeros((201, 5), dtype=np.int64)
    counts[1:, :3] = rng(7).multinomial(20, [0.5, 0.3, 0.2], 200)
    counts[0] = [5, 5, 0, 0, 40]
    posterior = estimate_shares(counts, fit_shares_prior(counts, 12.0), 0.1, 0.8, rng())
    assert posterior.estimate[0, 4] > 0.6
    assert posterior.largest[0] == 4
    assert posterior.estimate[1:, 4].max() < 0.01


def test_empty_pools():
    """Nobody, or clients without a lead: an even mix, and a concentration around the default."""
    for counts in (np.zeros((0, 5), dtype=np.int64), np.zeros((3, 5), dtype=np.int64)):
        prior = fit_shares_prior(counts, 12.0)
        assert prior.pool == pytest.approx(np.full(5, prior.pool[0]))
        assert typical(prior) == pytest.approx(12.0, rel=0.15)
        assert len(estimate_shares(counts, prior, 0.1, 0.8, rng()).within) == len(counts)


def test_extreme_counts():
    """A million leads of one kind are certain; a kind nobody ever saw stays possible."""
    counts = np.array([[10**6, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
    prior = fit_shares_prior(np.array([[50, 20, 0, 0, 0]] * 40), 12.0)
    posterior = estimate_shares(counts, prior, 0.1, 0.8, rng())
    assert posterior.within[0] > 0.99
    assert posterior.largest_probability[0] == 1.0
    assert (posterior.estimate > 0).all()
    assert np.isfinite(posterior.high).all()


@pytest.mark.parametrize("excess", [0.0, 0.1])
@pytest.mark.parametrize("n", [1, 5, 40, 400])
def test_agreement_of_another_half_matches_simulation(n, excess):
    """
    Plain simulation of both halves: client, shares of the leads that came, then one half and the other.

    Beyond the true shares, those of the leads that came vary by `excess`; over clients, said and seen agree.
    """
    clients = 20_000
    c = 1 / (1 / 13 + excess * 12 / 13) - 1
    truth = rng(6).dirichlet(c * MIX, clients)
    first, second = rng(7).multinomial(9, truth), rng(8).multinomial(n, truth)
    said = probability_halves_agree(
        first, PRIOR, np.full(clients, n), excess=np.full(clients, excess), distance=0.25, rng=rng(1)
    )
    agreed = total_variation(second / n, said[0]) <= 0.25
    assert said[1].mean() == pytest.approx(agreed.mean(), abs=0.03)


def test_total_variation():
    assert total_variation(np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([0.5, 0.5])).tolist() == [0.0, 0.5]
    assert total_variation(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1.0
