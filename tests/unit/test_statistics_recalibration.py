"""The logistic map: the right optimum, the identity where nothing is known, and a trial that few claims cannot pass."""

import json

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit

from worker.statistics.recalibration import (
    CLIENT_DEVIATIONS,
    LEAST_CLAIMS,
    PRIOR_DEVIATIONS,
    apply_map,
    compare,
    fit_map,
    map_as_json,
    map_from_json,
    skill_by_window,
    trial,
)


def claims(seed, n=400, n_clients=20, a=0.0, b=1.0, scatter=0.0):
    """Draw what was said, whether it held under the true map, and whose it was."""
    rng = np.random.default_rng(seed)
    said, client = rng.beta(6, 2, n), rng.integers(0, n_clients, n)
    own = rng.normal(0, scatter, n_clients)[client] if scatter else 0.0
    return said, rng.random(n) < expit(a + own + b * logit(said)), client


def test_the_mode_is_where_a_general_optimiser_finds_it():
    said, right, client = claims(1, a=-0.4, b=0.6, scatter=0.7)
    found = fit_map(said, right, client, 20)
    assert found.client_deviation > 0
    x = logit(said)

    def loss(theta):
        eta = theta[0] + theta[1] * x + theta[2:][client]
        prior = ((theta[:2] - [0, 1]) / PRIOR_DEVIATIONS) ** 2
        own = (theta[2:] / found.client_deviation) ** 2
        return -(right * eta + log_expit(-eta)).sum() + 0.5 * prior.sum() + 0.5 * own.sum()

    best = minimize(loss, np.zeros(22), method="BFGS", options={"gtol": 1e-6}).x
    assert [found.a, found.b, *found.offsets] == pytest.approx(best, abs=1e-3)


def test_the_clients_deviation_is_learned():
    alike = [fit_map(*claims(seed, 4000, 100), 100).client_deviation for seed in range(5)]
    unlike = [fit_map(*claims(seed, 4000, 100, scatter=0.8), 100).client_deviation for seed in range(5)]
    assert max(alike) <= 0.2
    assert unlike == [CLIENT_DEVIATIONS[-1]] * 5


def test_no_claim_leaves_everything_as_it_is():
    nothing = np.zeros(0)
    found = fit_map(nothing, nothing.astype(bool), nothing.astype(int), 3)
    said = np.array([0.2, 0.5, 0.9])
    assert found.apply(said, np.arange(3)) == pytest.approx(said)
    assert trial(nothing, nothing.astype(bool), nothing.astype(int), nothing.astype(int), 3)[0].claims == 0


def test_a_stored_map_says_the_same():
    found = fit_map(*claims(2, b=0.5, scatter=0.8), 20)
    ids = tuple(f"client-{i}" for i in range(20))
    kept = json.loads(json.dumps(map_as_json(found, ids)))
    said = np.linspace(0.05, 0.95, 20)
    assert apply_map(said, ids, kept) == pytest.approx(found.apply(said, np.arange(20)), abs=2e-3)
    other = map_from_json(kept, ("a stranger", None))
    assert other.offsets.tolist() == [0, 0]
    assert apply_map(said, ids, {**kept, "base_rate": 0.7}) == pytest.approx(np.full(20, 0.7))
    of_all = np.array([0.97])  # of all clients together the share of single clients' claims says nothing
    assert apply_map(of_all, (None,), {**kept, "base_rate": 0.7}) == apply_map(of_all, (None,), kept)


def test_the_map_keeps_the_order_and_stays_inside():
    found = fit_map(*claims(3, b=0.4), 20)
    mapped = found.apply(np.linspace(0, 1, 101), np.full(101, -1))
    assert (np.diff(mapped) >= 0).all()
    assert 0 < mapped[0] < mapped[-1] < 1


def test_a_trial_maps_each_window_by_those_before_it():
    said, right, client = claims(4, n=600, b=0.4)
    window = np.repeat([30, 60, 90], 200)
    found, by_window = trial(said, right, client, window, 20)
    y = right.astype(float)
    brier = 0.0
    for instant in (60, 90):
        before, here = window < instant, window == instant
        mapped = fit_map(said[before], right[before], client[before], 20).apply(said[here], client[here])
        assert by_window[here] == pytest.approx(mapped)
        brier += ((mapped - y[here]) ** 2).sum() / 400
    assert (found.claims, found.windows) == (400, 2)
    assert found.brier_mapped == pytest.approx(brier)
    assert found.brier == pytest.approx(((said - y) ** 2)[window > 30].mean())
    # what comes later changes nothing of what was mapped before
    changed = right.copy()
    changed[window == 90] = ~right[window == 90]
    assert fit_map(said[window < 90], changed[window < 90], client[window < 90], 20).a == pytest.approx(
        fit_map(said[window < 90], right[window < 90], client[window < 90], 20).a
    )


def test_few_claims_pass_no_trial_however_wrong_they_were():
    said, client = np.full(LEAST_CLAIMS - 1, 0.95), np.arange(LEAST_CLAIMS - 1)
    right = np.arange(LEAST_CLAIMS - 1) % 2 == 0
    worse = compare(said, np.full(len(said), 0.5), right, client, 1)
    assert worse.brier_mapped < worse.brier
    assert not worse.passed
    more = np.arange(LEAST_CLAIMS)
    assert compare(np.full(LEAST_CLAIMS, 0.95), np.full(LEAST_CLAIMS, 0.5), more % 2 == 0, more, 1).passed


def test_one_clients_claims_are_one_draw():
    said, right, _ = claims(5, n=600, b=0.2)
    mapped = fit_map(said, right, np.zeros(600, dtype=int), 1).apply(said, np.full(600, -1))
    assert compare(said, mapped, right, np.arange(600), 3).passed
    assert not compare(said, mapped, right, np.zeros(600, dtype=int), 3).passed


def test_windows_without_a_miss_say_little_against_what_was_said():
    """Of 150 claims said at 0.97 all hold once in a hundred times by luck; at 0.99, in one of five."""
    window, right = np.repeat(np.arange(3), 150), np.ones(450, dtype=np.bool_)
    for said, least, most in ((0.99, 0.0, 1.0), (0.97, 1.0, 1.5), (0.9, 2.0, 3.0)):
        found = skill_by_window(np.full(450, said), right, window)
        assert least < found.z[1:].min() <= found.z[1:].max() < most
        assert np.isnan(found.skill).all()  # beside a base rate that is all but perfect


def test_skill_by_window_knows_only_what_was_before():
    right = np.array([True, False, True, True, False, False])
    window = np.array([1, 1, 2, 2, 3, 3])
    said = np.array([0.5, 0.5, 0.9, 0.8, 0.4, 0.3])
    found = skill_by_window(said, right, window)
    base = [1.5 / 3, 3.5 / 5]
    expected = [
        1 - ((0.1**2 + 0.2**2) / (2 * (1 - base[0]) ** 2)),
        1 - ((0.4**2 + 0.3**2) / (2 * base[1] ** 2)),
    ]
    assert (found.window.tolist(), found.claims.tolist()) == ([1, 2, 3], [2, 2, 2])
    assert np.isnan(found.skill[0])
    assert found.skill[1:] == pytest.approx(expected)
    excess = np.array([0.4**2, 0.3**2]) - base[1] ** 2
    chance = np.sum(4 * (said[4:] - base[1]) ** 2 * said[4:] * (1 - said[4:])) / 2
    assert found.z[2] == pytest.approx(excess.mean() / (np.sqrt(max(excess.var(), chance)) / np.sqrt(2)))
