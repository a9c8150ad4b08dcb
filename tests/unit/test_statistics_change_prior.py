"""How much clients change: candidates that are distributions, a prior recovered, and no client its own witness."""

import json

import numpy as np
import pytest

from worker.statistics import change_prior
from worker.statistics.change_prior import (
    CENTRES,
    NORMAL_SCALES,
    STILL_SHARES,
    ChangePrior,
    candidates,
    change_grid,
    default_change_prior,
    fit_change_prior,
    log_score,
    posterior_mass,
)

BAND = 0.05
GRID = change_grid(BAND, limit=1.0)
AMONG = candidates(GRID, BAND)
ALONE = default_change_prior(AMONG)


def likelihood(observed, error):
    """Log likelihood of normal measurements, shape (clients, grid)."""
    return -0.5 * ((np.asarray(observed)[:, None] - GRID) / np.asarray(error)) ** 2


def measured(true, error, rng):
    return likelihood(true + rng.normal(0.0, error, len(true)), error)


def nobody(mass):
    return np.zeros(len(mass), dtype=bool)


def everybody(mass):
    return np.ones(len(mass), dtype=bool)


def spread(prior):
    return np.sqrt((prior.mean * GRID**2).sum() - (prior.mean * GRID).sum() ** 2)


# --- candidates -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("band", "limit"), [(0.05, 1.0), (3.0, 100.0)])
def test_grid_is_symmetric_and_leaves_out_the_ends_of_the_dead_band(band, limit):
    grid = change_grid(band, limit=limit)
    assert not np.isclose(np.abs(grid), band).any()
    assert np.array_equal(grid, -grid[::-1])
    assert (np.diff(grid) > 0).all()
    assert (grid == 0).sum() == 1
    assert np.abs(grid).max() < limit
    assert candidates(grid, band).still == len(grid) // 2


@pytest.mark.parametrize(("band", "limit"), [(0.05, 1.0), (3.0, 100.0)])
def test_every_candidate_is_a_distribution_and_so_are_their_weights(band, limit):
    among = candidates(change_grid(band, limit=limit), band)
    assert (among.shapes >= 0).all()
    assert among.shapes.sum(axis=1) == pytest.approx(np.ones(len(among.shapes)), abs=1e-12)
    for n_clients in (1, 30, 1000, 10**6):
        weight = np.exp(among.log_prior(n_clients))
        assert weight.sum() == pytest.approx(1.0, abs=1e-12)
        assert weight.shape == (len(STILL_SHARES), len(among.shapes)) == (len(STILL_SHARES), len(among.names))
    assert len(set(among.names)) == len(among.names)


def test_located_normals_stand_centre_by_centre():
    """_over_centres reads them so."""
    expected = [("normal", centre, scale) for centre in CENTRES for scale in NORMAL_SCALES]
    assert list(AMONG.names[: len(expected)]) == expected
    i = AMONG.names.index(("normal", 1.4, 1.0))
    assert (AMONG.shapes[i] * GRID).sum() == pytest.approx(1.4 * BAND, abs=0.002)
    assert np.sqrt((AMONG.shapes[i] * (GRID - 1.4 * BAND) ** 2).sum()) == pytest.approx(BAND, abs=0.002)


def test_default_prior_takes_no_side():
    """Up and down are equally likely, and everything that a share can do is possible."""
    mean = ALONE.mean
    assert mean.sum() == pytest.approx(1.0, abs=1e-12)
    assert mean == pytest.approx(mean[::-1], abs=1e-12)
    assert (mean > 0).all()


def test_mean_is_the_average_over_candidates():
    rng = np.random.default_rng(2)
    prior = fit_change_prior([measured(rng.normal(0.0, 0.1, 30), 0.05, rng)], AMONG)
    expected = np.zeros(len(GRID))
    for i, share in enumerate(STILL_SHARES):
        for j, shape in enumerate(AMONG.shapes):
            expected += prior.weights[i, j] * (1 - share) * shape
            expected[AMONG.still] += prior.weights[i, j] * share
    assert prior.mean == pytest.approx(expected, abs=1e-12)


# --- what is stored -------------------------------------------------------------------------------------------------


def test_a_stored_prior_gives_the_same_posteriors_to_the_last_bit():
    rng = np.random.default_rng(3)
    own = measured(rng.normal(0.03, 0.08, 50), 0.07, rng)
    for prior in (fit_change_prior([own], AMONG), ALONE):
        stored = ChangePrior.from_json(json.loads(json.dumps(prior.as_json(), allow_nan=False)), GRID)
        assert np.array_equal(stored.weights, prior.weights)
        assert np.array_equal(posterior_mass(own, stored, everybody(own)), posterior_mass(own, prior, everybody(own)))


@pytest.mark.parametrize("change", [{"still_share": 0.123}, {"shape": "cauchy"}, {"centre": 0.1}, {"scale": 9.9}])
def test_an_unknown_candidate_is_refused(change):
    model = ALONE.as_json()
    for name, value in change.items():
        model[name][0] = value
    with pytest.raises(ValueError, match="no candidate"):
        ChangePrior.from_json(model, GRID)


# --- no client is its own witness -----------------------------------------------------------------------------------


def left_out(own, past=()):
    """Fit again without each client, one by one."""
    result = []
    for i in range(len(own)):
        prior = fit_change_prior([np.delete(own, i, axis=0), *past], AMONG)
        result.append(posterior_mass(own[[i]], prior, nobody(own[[i]]))[0])
    return np.array(result)


@pytest.mark.parametrize("pruned", [False, True])
@pytest.mark.parametrize("n", [1, 2, 3, 12])
def test_posterior_is_that_of_a_prior_learned_from_the_others(n, pruned, monkeypatch):
    """Exactly, but for candidates dropped as too unlikely, which move no probability by more than .01."""
    if not pruned:
        monkeypatch.setattr(change_prior, "LEAST_WEIGHT", 0.0)
    rng = np.random.default_rng([4, n])
    true = np.where(rng.random(n) < 0.5, 0.0, rng.normal(0.0, 0.15, n))
    own = measured(true, rng.uniform(0.02, 0.2, (n, 1))[:, 0], rng) if n == 1 else likelihood(true, 0.06)
    past = [likelihood(rng.normal(0.0, 0.1, 4), 0.06)] if n == 3 else []
    got = posterior_mass(own, fit_change_prior([own, *past], AMONG), everybody(own))
    expected = left_out(own, past)
    assert np.abs(got - expected).sum(axis=1) / 2 == pytest.approx(np.zeros(n), abs=0.01 if pruned else 1e-5)


def test_one_client_alone_keeps_the_default_prior():
    """However large its change, it does not teach itself that changes are large."""
    for observed, error in ((0.0, 0.3), (0.1, 0.05), (0.8, 0.1)):
        own = likelihood([observed], error)
        got = posterior_mass(own, fit_change_prior([own], AMONG), everybody(own))
        expected = posterior_mass(own, ALONE, nobody(own))
        assert np.abs(got - expected).sum() / 2 < 0.005
        by_hand = ALONE.mean * np.exp(own[0])
        assert expected[0] == pytest.approx(by_hand / by_hand.sum(), abs=1e-12)


def test_a_row_does_not_depend_on_its_neighbours_to_the_last_bit():
    rng = np.random.default_rng(6)
    own = measured(rng.normal(0.0, 0.1, 300), 0.06, rng)
    prior = fit_change_prior([own], AMONG)
    counted = rng.random(300) < 0.7
    whole = posterior_mass(own, prior, counted)
    for rows in (slice(0, 1), slice(17, 18), slice(5, 12), slice(150, 300), rng.permutation(300)):
        assert np.array_equal(posterior_mass(own[rows], prior, counted[rows]), whole[rows])


# --- what is learned ------------------------------------------------------------------------------------------------


def test_prior_is_recovered_from_simulated_clients():
    """60% of clients still, 40% shifted by .20: the learned prior says so."""
    rng = np.random.default_rng(5)
    moved = rng.random(3000) < 0.4
    prior = fit_change_prior([measured(0.20 * moved, 0.06, rng)], AMONG)
    assert prior.weights.sum() == pytest.approx(1.0)
    assert prior.mean[GRID > 0.12].sum() == pytest.approx(0.4, abs=0.03)
    assert prior.mean[np.abs(GRID) <= BAND].sum() == pytest.approx(0.6, abs=0.03)
    assert (prior.mean * GRID).sum() == pytest.approx(0.08, abs=0.01)


@pytest.mark.parametrize("sd", [0.02, 0.05, 0.12, 0.25])
def test_size_of_changes_is_recovered(sd):
    rng = np.random.default_rng(8)
    prior = fit_change_prior([measured(rng.normal(0.0, sd, 2000), 0.05, rng)], AMONG)
    assert spread(prior) == pytest.approx(sd, rel=0.15, abs=0.01)


def test_nothing_but_noise_is_learned_as_nothing():
    rng = np.random.default_rng(9)
    own = measured(np.zeros(1000), 0.08, rng)
    prior = fit_change_prior([own], AMONG)
    assert prior.mean[AMONG.still] > 0.95


def test_past_periods_with_one_centre_teach_the_centre():
    """A few clients of today, who alone could not tell, and six months in which all rose by .10."""
    rng = np.random.default_rng(10)
    now = measured(rng.normal(0.10, 0.02, 5), 0.15, rng)
    past = [measured(rng.normal(0.10, 0.02, 200), 0.05, rng) for _ in range(6)]
    alone, taught = fit_change_prior([now], AMONG), fit_change_prior([now, *past], AMONG)
    assert abs((alone.mean * GRID).sum() - 0.10) > 0.03
    assert (taught.mean * GRID).sum() == pytest.approx(0.10, abs=0.015)
    assert spread(taught) < 0.05


def test_past_periods_with_centres_of_their_own_teach_the_spread_alone():
    """Every month has its own shock: the past does not tell this month's, only that clients move together."""
    rng = np.random.default_rng(11)
    shocks = (0.10, -0.14, 0.05, -0.10, 0.14, -0.04)
    past = [measured(rng.normal(shock, 0.01, 200), 0.05, rng) for shock in shocks]
    now = measured(rng.normal(-0.19, 0.01, 60), 0.05, rng)
    prior = fit_change_prior([now, *past], AMONG)
    assert (prior.mean * GRID).sum() == pytest.approx(-0.19, abs=0.015)
    assert spread(prior) < 0.03
    unheard = fit_change_prior([now[:0], *past], AMONG)
    assert spread(unheard) > 0.06


def test_rows_that_say_nothing_do_little_harm():
    """They count as clients where the prior asks how many there are, and nowhere else."""
    rng = np.random.default_rng(12)
    own = measured(rng.normal(0.0, 0.1, 40), 0.06, rng)
    expected = fit_change_prior([own], AMONG)
    empty, silent = own[:0], np.full((25, len(GRID)), -3.0)
    assert np.array_equal(fit_change_prior([own, empty, empty], AMONG).weights, expected.weights)
    for likelihoods in ([np.concatenate([own, silent])], [own, silent], [own, empty, silent, empty]):
        assert np.abs(fit_change_prior(likelihoods, AMONG).mean - expected.mean).sum() / 2 < 0.05


def test_nobody_leaves_the_default_prior():
    for likelihoods in ([np.zeros((0, len(GRID)))], [np.zeros((0, len(GRID)))] * 7):
        assert np.abs(fit_change_prior(likelihoods, AMONG).mean - ALONE.mean).sum() / 2 < 0.005
    assert posterior_mass(np.zeros((0, len(GRID))), ALONE, np.zeros(0, dtype=bool)).shape == (0, len(GRID))


def test_order_of_clients_does_not_move_the_prior():
    rng = np.random.default_rng(7)
    own = measured(rng.normal(0.05, 0.1, 200), 0.06, rng)
    there, back = (fit_change_prior([rows], AMONG).weights for rows in (own, own[::-1]))
    assert there == pytest.approx(back, abs=1e-9)


def test_certain_clients_stay_finite():
    """Leads by the million: likelihoods of which all but one value are nothing."""
    own = likelihood([0.0, 0.4, -0.73, 0.001], 1e-4)
    for prior in (fit_change_prior([own], AMONG), ALONE):
        for counted in (everybody(own), nobody(own)):
            mass = posterior_mass(own, prior, counted)
            assert np.isfinite(mass).all()
            assert GRID[mass.argmax(axis=1)] == pytest.approx([0.0, 0.4, -0.75, 0.0], abs=0.026)
            assert mass.sum(axis=1) == pytest.approx(np.ones(4))
    assert np.isfinite(log_score(own, fit_change_prior([own], AMONG)))


# --- the score ------------------------------------------------------------------------------------------------------


def test_score_is_the_log_probability_of_each_client_from_the_others(monkeypatch):
    monkeypatch.setattr(change_prior, "LEAST_WEIGHT", 0.0)
    rng = np.random.default_rng(13)
    own = measured(rng.normal(0.0, 0.15, 8), 0.05, rng)
    predicted = []
    for i in range(len(own)):
        others = fit_change_prior([np.delete(own, i, axis=0)], AMONG).mean
        predicted.append(np.log((np.exp(own[i]) * others).sum()) - own[i, AMONG.still])
    assert log_score(own, fit_change_prior([own], AMONG)) == pytest.approx(np.mean(predicted), abs=1e-4)


def test_score_tells_whether_anything_changes():
    rng = np.random.default_rng(14)
    still, moving = measured(np.zeros(300), 0.05, rng), measured(rng.normal(0.0, 0.15, 300), 0.05, rng)
    assert log_score(moving, fit_change_prior([moving], AMONG)) > 0.5
    assert log_score(still, fit_change_prior([still], AMONG)) == pytest.approx(0.0, abs=0.02)
    assert log_score(still[:0], ALONE) == 0.0
