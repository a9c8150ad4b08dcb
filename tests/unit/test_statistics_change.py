"""Change of a rate between two windows: the exact integral, the laws of the posterior, and a prior recovered."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from worker.statistics.change import (
    CLASS_NAMES,
    DECREASING,
    INCREASING,
    STABLE,
    ChangePrior,
    base_measure,
    change_grid,
    fit_change_prior,
    mean_change_log_likelihood,
    normal_cumulative,
    posterior_of_change,
    probability_class_seen,
    said_class,
    share_change_log_likelihood,
)

BAND = 0.05
GRID = change_grid(BAND, step=0.01, fine_to=0.30, coarse_step=0.025, limit=1.0)
BASE = base_measure(GRID, scale=0.12)
ALONE = ChangePrior(GRID, BASE, BAND)
LEVEL = (3.0, 6.0)


def share_likelihood(rows, level=LEVEL, grid=GRID):
    k0, n0, k1, n1 = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return share_change_log_likelihood(k0, n0, k1, n1, grid, level_prior=level)


def classes(rows, level=LEVEL):
    return posterior_of_change(share_likelihood(rows, level), ALONE).class_probability


def exact_likelihood(row, change, level):
    """The integral over the middle of the two shares, by scipy's adaptive quadrature (only the scale is arbitrary)."""
    k0, n0, k1, n1 = row
    middle = np.linspace(abs(change) / 2, 1 - abs(change) / 2, 4001)[1:-1]

    def density(m):
        return (
            stats.beta.pdf(m, *level)
            * stats.binom.pmf(k0, n0, m - change / 2)
            * stats.binom.pmf(k1, n1, m + change / 2)
        )

    peak = middle[np.argmax(density(middle))]
    ends = abs(change) / 2, 1 - abs(change) / 2
    return integrate.quad(density, *ends, points=[peak], limit=400, epsabs=0, epsrel=1e-8)[0]


@pytest.mark.parametrize("level", [(1.0, 2.0), (3.0, 6.0), (60.0, 140.0)])
@pytest.mark.parametrize(
    "row", [(3, 10, 5, 12), (0, 1, 1, 1), (0, 5, 0, 7), (5, 5, 7, 7), (1, 3, 200, 600), (0, 30, 30, 30), (0, 0, 2, 9)]
)
def test_likelihood_is_the_exact_integral(row, level):
    """No class probability is off by more than .003."""
    grid = GRID[::3]
    exact = np.array([exact_likelihood(row, c, level) if abs(c) < 1 else 0.0 for c in grid])
    weight = np.exp(-0.5 * (grid / 0.12) ** 2)
    expected = exact * weight / (exact * weight).sum()
    got = np.exp(share_likelihood([row], level, grid)[0]) * weight
    got /= got.sum()
    for side in (grid < -BAND, grid > BAND):
        assert got[side].sum() == pytest.approx(expected[side].sum(), abs=0.0031)


counts = st.integers(0, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
row_strategy = st.tuples(counts, counts).map(lambda pair: (*pair[0], *pair[1]))


@settings(deadline=None, max_examples=60)
@given(row_strategy)
def test_probabilities_sum_to_one_and_mirror_when_the_windows_are_swapped(row):
    k0, n0, k1, n1 = row
    here, there = classes([row])[0], classes([(k1, n1, k0, n0)])[0]
    assert here.sum() == pytest.approx(1.0, abs=1e-12)
    assert (here >= 0).all()
    assert here == pytest.approx(there[::-1], abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(row_strategy)
def test_high_and_not_high_are_two_names_for_one_thing(row):
    """Counting the leads that are not High turns the change around."""
    k0, n0, k1, n1 = row
    assert classes([row])[0] == pytest.approx(classes([(n0 - k0, n0, n1 - k1, n1)], LEVEL[::-1])[0][::-1], abs=1e-6)


@settings(deadline=None, max_examples=20)
@given(st.lists(row_strategy, min_size=1, max_size=9), st.randoms(use_true_random=False))
def test_a_row_does_not_depend_on_its_neighbours_to_the_last_bit(rows, random):
    prior = fit_change_prior(share_likelihood([(3, 9, 8, 12), (10, 30, 11, 31), (2, 8, 7, 8)]), GRID, BAND, BASE)
    together = posterior_of_change(share_likelihood(rows), prior)
    order = list(range(len(rows)))
    random.shuffle(order)
    for i in order:
        alone = posterior_of_change(share_likelihood([rows[i]]), prior)
        assert np.array_equal(alone.mass[0], together.mass[i])
        assert np.array_equal(alone.class_probability[0], together.class_probability[i])
        assert alone.mean[0] == together.mean[i]
        assert alone.interval(0.8)[0][0] == together.interval(0.8)[0][i]


def test_blocks_do_not_show():
    rng = np.random.default_rng(3)
    n = rng.integers(0, 40, 300)
    k = rng.binomial(n, 0.3)
    rows = np.stack([k, n, k[::-1], n[::-1]], axis=1)
    assert np.array_equal(share_likelihood(rows)[130:], share_likelihood(rows[130:]))


def test_extreme_counts_give_finite_and_sensible_answers():
    """Nobody, everybody, a million leads: what is certain is said, what is unknown stays open."""
    million = 10**6
    rows = [
        (0, 0, 0, 0),
        (0, 0, 1, 1),
        (300_000, million, 300_000, million),
        (300_000, million, 400_000, million),
        (million, million, 0, million),
        (0, million, 0, million),
        (million, million, million, million),
        (1, 3, 400_000, million),
    ]
    p = classes(rows)
    assert np.isfinite(p).all()
    assert p[0, DECREASING] == pytest.approx(p[0, INCREASING], abs=1e-9)
    assert p[0].max() < 0.8
    assert p[2, STABLE] > 0.999
    assert p[3, INCREASING] > 0.999
    assert p[4, DECREASING] > 0.999
    assert p[5, STABLE] > 0.999
    assert p[6, STABLE] > 0.999
    assert 0.3 < p[7].max() < 0.9


def test_no_client_and_one_client_leave_the_base_measure():
    assert np.array_equal(fit_change_prior(np.zeros((0, len(GRID))), GRID, BAND, BASE).weights, BASE)
    assert np.array_equal(fit_change_prior(share_likelihood([(2, 30, 28, 30)]), GRID, BAND, BASE).weights, BASE)
    assert share_likelihood([]).shape == (0, len(GRID))
    nobody = posterior_of_change(share_likelihood([]), ALONE)
    assert nobody.class_probability.shape == (0, 3)
    assert [len(end) for end in nobody.interval(0.8)] == [0, 0]


def test_prior_is_recovered_from_simulated_clients():
    """60% of clients still, 40% shifted by .20: the learned prior says so."""
    rng = np.random.default_rng(5)
    moved = rng.random(3000) < 0.4
    p0 = rng.beta(20, 40, 3000)
    n = np.full(3000, 120)
    k0, k1 = rng.binomial(n, p0), rng.binomial(n, p0 + 0.20 * moved)
    prior = fit_change_prior(share_likelihood(np.stack([k0, n, k1, n], axis=1), (20.0, 40.0)), GRID, BAND, BASE)
    assert prior.weights.sum() == pytest.approx(1.0)
    assert prior.weights[GRID > 0.12].sum() == pytest.approx(0.4, abs=0.03)
    assert prior.weights[np.abs(GRID) <= BAND].sum() == pytest.approx(0.6, abs=0.03)
    assert (prior.weights * GRID).sum() == pytest.approx(0.08, abs=0.01)


def test_order_of_clients_does_not_move_the_prior():
    rng = np.random.default_rng(7)
    n = rng.integers(1, 50, 200)
    rows = np.stack([rng.binomial(n, 0.3), n, rng.binomial(n, 0.4), n], axis=1)
    there, back = (fit_change_prior(share_likelihood(r), GRID, BAND, BASE).weights for r in (rows, rows[::-1]))
    assert there == pytest.approx(back, abs=1e-9)


def test_grid_leaves_out_the_ends_of_the_dead_band():
    assert not np.isclose(np.abs(GRID), BAND).any()
    assert np.array_equal(GRID, -GRID[::-1])
    assert GRID[[0, -1]] == pytest.approx([-1.0, 1.0])
    assert (np.diff(GRID) > 0).all()
    assert BASE.sum() == pytest.approx(1.0)
    assert BASE[GRID == 0] == pytest.approx(0.5, abs=0.03)


def test_mean_likelihood_is_students_t():
    grid = np.array([-2.0, 0.0, 3.0])
    got = mean_change_log_likelihood(np.array([1.5]), np.array([4.0]), np.array([7.0]), grid)[0]
    expected = stats.t.logpdf((1.5 - grid) / 2.0, 7.0)
    assert got - got[0] == pytest.approx(expected - expected[0])


def test_mean_likelihood_says_nothing_of_the_unknown_and_survives_equal_scores():
    grid = change_grid(3.0, step=0.5, fine_to=20.0, coarse_step=2.0, limit=100.0)
    prior = ChangePrior(grid, base_measure(grid, 8.0), 3.0)
    change, error = np.array([np.nan, 0.0, 10.0, 5.0]), np.array([1.0, 0.0, 0.0, np.nan])
    likelihood = mean_change_log_likelihood(change, error, np.full(4, 10.0), grid)
    assert np.array_equal(likelihood[[0, 3]], np.zeros((2, len(grid))))
    p = posterior_of_change(likelihood, prior).class_probability
    assert p[1, STABLE] > 0.999
    assert p[2, INCREASING] > 0.999
    alone = mean_change_log_likelihood(change[2:3], error[2:3], np.full(1, 10.0), grid)
    assert np.array_equal(alone[0], likelihood[2])


def test_interval_holds_the_mass_it_names():
    mass = np.full((1, len(GRID)), 1 / len(GRID))
    posterior = posterior_of_change(np.zeros((1, len(GRID))), ChangePrior(GRID, mass[0], BAND))
    low, high = posterior.interval(0.8)
    inside = mass[0][(low[0] <= GRID) & (high[0] >= GRID)].sum()
    assert inside == pytest.approx(0.8, abs=2 / len(GRID))
    assert low[0] == pytest.approx(-high[0])


def test_stable_wins_ties():
    assert CLASS_NAMES[STABLE] == "stable"
    ties = np.array([[0.4, 0.4, 0.2], [0.5, 0.0, 0.5], [0.2, 0.4, 0.4], [0.1, 0.2, 0.7]])
    assert said_class(ties).tolist() == [STABLE, DECREASING, STABLE, INCREASING]


def test_probability_of_seeing_a_class_matches_simulation():
    rng = np.random.default_rng(11)
    posterior = posterior_of_change(share_likelihood([(8, 30, 16, 30)]), ALONE)
    change = rng.choice(GRID, 200_000, p=posterior.mass[0])
    seen = change + rng.normal(0.0, 0.1, len(change))
    for said, share in ((0, seen < -BAND), (1, np.abs(seen) <= BAND), (2, seen > BAND)):
        p = probability_class_seen(posterior, np.array([said]), normal_cumulative(GRID, np.array([0.1])))
        assert p[0] == pytest.approx(share.mean(), abs=0.005)
