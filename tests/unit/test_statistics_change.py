"""What is said of a client's change: classes, ties, intervals; certain where leads are many, open where none are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from worker.statistics.change import (
    CLASS_NAMES,
    DECREASING,
    INCREASING,
    STABLE,
    ChangePosterior,
    class_of,
    posterior_of_change,
    said_class,
)
from worker.statistics.change_likelihood import mean_change_log_likelihood, share_change_log_likelihood
from worker.statistics.change_prior import candidates, change_grid, default_change_prior, fit_change_prior

BAND = 0.05
GRID = change_grid(BAND, limit=1.0)
ALONE = default_change_prior(candidates(GRID, BAND))
LEVEL = (3.0, 6.0)


def share_posterior(rows, prior=ALONE):
    k0, n0, k1, n1 = np.array(rows, dtype=np.float64).reshape(-1, 4).T
    likelihood = share_change_log_likelihood(k0, n0, k1, n1, GRID, level_prior=LEVEL)
    return posterior_of_change(likelihood, prior, np.zeros(len(k0), dtype=bool))


weights = arrays(np.float64, (3, len(GRID)), elements=st.floats(0, 1)).filter(lambda w: (w.sum(axis=1) > 0.1).all())


@settings(deadline=None, max_examples=40)
@given(weights)
def test_classes_share_all_the_mass(mass):
    posterior = ChangePosterior(GRID, BAND, mass / mass.sum(axis=1, keepdims=True))
    p = posterior.class_probability
    assert p.sum(axis=1) == pytest.approx(np.ones(3), abs=1e-12)
    assert ((p >= 0) & (p <= 1)).all()
    assert p[:, DECREASING] == pytest.approx([row[GRID < -BAND].sum() for row in posterior.mass], abs=1e-12)
    assert p[:, INCREASING] == pytest.approx([row[GRID > BAND].sum() for row in posterior.mass], abs=1e-12)
    assert posterior.mean == pytest.approx([(row * GRID).sum() for row in posterior.mass])
    assert np.array_equal(posterior.only(np.array([2, 0])).class_probability, p[[2, 0]])


def slow_quantile(mass, share):
    """Walk through the cells until so much of the mass lies behind."""
    edges = [GRID[0], *((GRID[1:] + GRID[:-1]) / 2), GRID[-1]]
    behind = 0.0
    for cell, part in enumerate(mass):
        if behind + part > share:
            return edges[cell] + (share - behind) / part * (edges[cell + 1] - edges[cell])
        behind += part
    return edges[-1]


@settings(deadline=None, max_examples=40)
@given(weights, st.sampled_from([0.5, 0.8, 0.95]))
def test_interval_against_its_slow_twin(mass, level):
    posterior = ChangePosterior(GRID, BAND, mass / mass.sum(axis=1, keepdims=True))
    low, high = posterior.interval(level)
    for client, own in enumerate(posterior.mass):
        tail = (1 - level) / 2
        for got, share in ((low[client], tail), (high[client], 1 - tail)):
            # where no mass lies between, any place of the gap is a quantile
            assert slow_quantile(own, share - 1e-9) - 1e-6 <= got <= slow_quantile(own, share + 1e-9) + 1e-6
    assert (low <= high).all()


def test_interval_of_a_change_that_is_certain():
    mass = np.zeros((1, len(GRID)))
    mass[0, np.searchsorted(GRID, 0.15)] = 1.0
    low, high = ChangePosterior(GRID, BAND, mass).interval(0.8)
    assert 0.14 < low[0] < high[0] < 0.16


def test_stable_wins_ties():
    assert CLASS_NAMES[STABLE] == "stable"
    ties = np.array([[0.4, 0.4, 0.2], [0.5, 0.0, 0.5], [0.2, 0.4, 0.4], [0.1, 0.2, 0.7], [1 / 3, 1 / 3, 1 / 3]])
    assert said_class(ties).tolist() == [STABLE, DECREASING, STABLE, INCREASING, STABLE]
    assert said_class(np.zeros((0, 3))).tolist() == []


def test_a_change_that_equals_the_dead_band_is_stable():
    """However its difference rounds: .35 - .30, and every share of 20 leads beside its neighbour."""
    k = np.arange(20)
    assert (class_of((k + 1) / 20 - k / 20, BAND) == STABLE).all()
    assert (class_of(k / 20 - (k + 1) / 20, BAND) == STABLE).all()
    assert class_of(np.array([0.35 - 0.30, 0.30 - 0.35, 0.0501, -0.0501]), BAND).tolist() == [1, 1, 2, 0]
    assert class_of(np.array([np.nan, np.inf, -np.inf]), BAND).tolist() == [STABLE, INCREASING, DECREASING]


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
    p = share_posterior(rows).class_probability
    assert np.isfinite(p).all()
    assert p[0] == pytest.approx(ChangePosterior(GRID, BAND, ALONE.mean[None, :]).class_probability[0], abs=0.003)
    assert p[2, STABLE] > 0.999
    assert p[3, INCREASING] > 0.999
    assert p[4, DECREASING] > 0.999
    assert p[5, STABLE] > 0.999
    assert p[6, STABLE] > 0.999
    assert 0.3 < p[7].max() < 0.9


def test_equal_scores_are_certain_and_unknown_ones_are_open():
    grid = change_grid(3.0, limit=100.0)
    prior = default_change_prior(candidates(grid, 3.0))
    change, error = np.array([np.nan, 0.0, 10.0, 5.0]), np.array([1.0, 0.0, 0.0, np.nan])
    likelihood = mean_change_log_likelihood(change, error, np.full(4, 10.0), grid)
    p = posterior_of_change(likelihood, prior, np.zeros(4, dtype=bool)).class_probability
    assert p[0] == pytest.approx(p[3], abs=1e-12)
    assert p[1, STABLE] > 0.999
    assert p[2, INCREASING] > 0.999


def test_nobody_has_no_posterior():
    nobody = share_posterior([])
    assert nobody.class_probability.shape == (0, 3)
    assert nobody.mean.shape == (0,)
    assert [len(end) for end in nobody.interval(0.8)] == [0, 0]


def test_everything_said_of_a_row_is_its_own_to_the_last_bit():
    rng = np.random.default_rng(3)
    n0, n1 = rng.integers(0, 60, (2, 300))
    rows = np.stack([rng.binomial(n0, 0.3), n0, rng.binomial(n1, 0.45), n1], axis=1)
    likelihood = share_change_log_likelihood(*rows.T.astype(float), GRID, level_prior=LEVEL)
    prior = fit_change_prior([likelihood], candidates(GRID, BAND))
    counted = (n0 > 0) & (n1 > 0)
    whole = posterior_of_change(likelihood, prior, counted)
    for part in (np.array([7]), np.arange(150), np.arange(150, 300), rng.permutation(300)):
        own = share_change_log_likelihood(*rows[part].T.astype(float), GRID, level_prior=LEVEL)
        alone = posterior_of_change(own, prior, counted[part])
        assert np.array_equal(alone.class_probability, whole.class_probability[part])
        assert np.array_equal(alone.mean, whole.mean[part])
        for end, expected in zip(alone.interval(0.8), whole.interval(0.8), strict=True):
            assert np.array_equal(end, expected[part])
