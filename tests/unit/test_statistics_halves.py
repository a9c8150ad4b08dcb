"""What one half foretells of the other: against simulation and sums over all counts, and as often right as said."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from scipy import stats

from worker.jobs import engagement_score, urgency_trend
from worker.simulate import score_world, share_world
from worker.simulate.lead_worlds import score_leads, share_leads
from worker.statistics.calibration import reliability
from worker.statistics.change import ChangePosterior, class_of
from worker.statistics.change_prior import change_grid
from worker.statistics.halves import (
    EXACT_UP_TO,
    probability_class_seen,
    probability_share_class_seen,
    shared_noise,
)

AS_OF = datetime(2025, 3, 31, tzinfo=UTC)
BAND = 0.05
GRID = change_grid(BAND, limit=1.0)


def posterior_of(clients, rng):
    """Posteriors of any shape: a few humps each, one of them at 0."""
    centre, width = rng.normal(0.0, 0.2, (clients, 3)), rng.uniform(0.01, 0.1, (clients, 3))
    centre[:, 0] = 0.0
    mass = np.exp(-0.5 * ((GRID[None, None, :] - centre[:, :, None]) / width[:, :, None]) ** 2).sum(axis=1)
    mass[:, GRID == 0] += 1.0
    return ChangePosterior(GRID, BAND, mass / mass.sum(axis=1, keepdims=True))


def summed_over_counts(posterior, client, said, n0, n1, level):
    """Add up the probability of all pairs of counts that show the class said, under every change."""
    k0, k1 = np.arange(n0 + 1)[:, None], np.arange(n1 + 1)[None, :]
    showing = class_of(k1 / n1 - k0 / n0, BAND) == said
    total = 0.0
    for change, mass in zip(GRID, posterior.mass[client], strict=True):
        before, now = np.clip([level - change / 2, level + change / 2], 0, 1)
        total += mass * (stats.binom.pmf(k0, n0, before) * stats.binom.pmf(k1, n1, now))[showing].sum()
    return total


def test_classes_of_two_shares_against_the_sum_over_all_counts():
    rng = np.random.default_rng(1)
    n0 = np.array([1, 1, 4, 5, 10, 20, 40, EXACT_UP_TO, 3, EXACT_UP_TO])
    n1 = np.array([1, 8, 3, 5, 10, 20, 33, EXACT_UP_TO, EXACT_UP_TO, 1])
    level = rng.uniform(0.15, 0.85, len(n0))
    posterior = posterior_of(len(n0), rng)
    for said in range(3):
        codes = np.full(len(n0), said)
        got = probability_share_class_seen(posterior, codes, n0, n1, level)
        expected = [summed_over_counts(posterior, c, said, n0[c], n1[c], level[c]) for c in range(len(n0))]
        assert got == pytest.approx(expected, abs=0.01)  # every third change is looked at


def test_classes_of_two_shares_against_simulation():
    rng = np.random.default_rng(2)
    n0, n1, level = np.array([12, 7]), np.array([9, 30]), np.array([0.4, 0.5])
    posterior = posterior_of(2, rng)
    for client in range(2):
        change = rng.choice(GRID, 200_000, p=posterior.mass[client])
        shares = np.clip([level[client] - change / 2, level[client] + change / 2], 0, 1)
        k0, k1 = rng.binomial(n0[client], shares[0]), rng.binomial(n1[client], shares[1])
        seen = class_of(k1 / n1[client] - k0 / n0[client], BAND)
        for said in range(3):
            got = probability_share_class_seen(posterior, np.array([said, said]), n0, n1, level)[client]
            assert got == pytest.approx((seen == said).mean(), abs=0.012)


def test_classes_are_all_that_can_be_seen_and_rows_stand_alone():
    rng = np.random.default_rng(3)
    clients = 500
    n0, n1 = rng.integers(1, EXACT_UP_TO + 1, (2, clients))
    level, posterior = rng.random(clients), posterior_of(clients, rng)
    by_class = [probability_share_class_seen(posterior, np.full(clients, said), n0, n1, level) for said in range(3)]
    assert sum(by_class) == pytest.approx(np.ones(clients), abs=1e-9)
    assert min(p.min() for p in by_class) >= 0
    for rows in (np.array([0]), np.array([17, 3]), rng.permutation(clients)):
        alone = probability_share_class_seen(
            posterior.only(rows), np.full(len(rows), 1), n0[rows], n1[rows], level[rows]
        )
        assert np.array_equal(alone, by_class[1][rows])
    nobody = np.zeros(0, dtype=np.int64)
    assert probability_share_class_seen(posterior.only(nobody), nobody, nobody, nobody, level[:0]).shape == (0,)


def test_an_edge_of_the_dead_band_is_stable():
    """Of 20 leads a side one more is exactly .05, and no change of class."""
    posterior = ChangePosterior(GRID, BAND, (GRID == 0).astype(float)[None, :])
    got = probability_share_class_seen(posterior, np.array([1]), np.array([20]), np.array([20]), np.array([0.3]))
    k = stats.binom.pmf(np.arange(21), 20, 0.3)
    expected = sum(k[i] * k[j] for i in range(21) for j in range(21) if abs(i - j) <= 1)
    assert got == pytest.approx([expected], abs=1e-9)


def test_classes_of_a_measurement_against_simulation():
    rng = np.random.default_rng(4)
    posterior, error = posterior_of(3, rng), np.array([0.02, 0.1, 0.0])
    expected = np.tile(GRID, (3, 1))
    for client in range(3):
        change = rng.choice(GRID, 200_000, p=posterior.mass[client])
        seen = class_of(change + rng.normal(0.0, 1.0, len(change)) * error[client], BAND)
        for said in range(3):
            got = probability_class_seen(posterior, np.full(3, said), expected, error)[client]
            assert got == pytest.approx((seen == said).mean(), abs=0.005)


@pytest.mark.parametrize(("length", "correlation"), [(1, 0.0), (2, 1.0), (3, 0.6), (5, 0.5)])
def test_halves_of_bursts_scatter_together_as_said(length, correlation):
    """Bursts split by a coin for each lead: variance of the halves' means and their covariance."""
    rng = np.random.default_rng([5, length])
    clients, n = 20_000, 240
    common = np.repeat(rng.normal(size=(clients, n // length)), length, axis=1)
    leads = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * rng.normal(size=(clients, n))
    half = rng.random(leads.shape) < 0.5
    a, b = (np.where(side, leads, 0).sum(axis=1) / side.sum(axis=1) for side in (half, ~half))
    effect = 1 + (length - 1) * correlation
    variance, covariance = shared_noise(np.array([float(n)]), np.array([effect]))
    assert (a.var() + b.var()) / 2 == pytest.approx(variance[0], rel=0.04)
    assert (a * b).mean() == pytest.approx(covariance[0], abs=0.0004)
    assert ((a + b) / 2).var() == pytest.approx(effect / n, rel=0.04)


def test_no_lead_has_finite_noise():
    assert np.isfinite(shared_noise(np.zeros(2), np.ones(2))).all()


JOBS = {
    "urgency_trend": (urgency_trend, share_world, share_leads),
    "engagement_score": (engagement_score, score_world, score_leads),
}


def checks(name, kind, seeds, sizes="pareto", n_clients=400):
    """Learn from one half of the leads and ask it of the other, as the command does."""
    job, draw, as_leads = JOBS[name]
    p, agreed = [], []
    for seed in range(seeds):
        rng = np.random.default_rng([6, seed])
        leads = as_leads(draw(kind, n_clients, rng, sizes=sizes), AS_OF, rng)
        model = job.fit(leads.only(~leads.half()), AS_OF)
        found = job.half_checks(leads, model, AS_OF, rng)
        p.append(found.p)
        agreed.append(found.agreed)
    return reliability(np.concatenate(p), np.concatenate(agreed))


@pytest.mark.parametrize(("kind", "sizes"), [("mostly_still", "pareto"), ("bursts", "pareto"), ("duplicates", "large")])
@pytest.mark.parametrize("name", JOBS)
def test_the_other_half_agrees_as_often_as_said(name, kind, sizes):
    table = checks(name, kind, seeds=6, sizes=sizes)
    assert table.n > 2000
    assert abs(table.gap) <= 0.05, f"\n{table}"
    assert table.ece <= 0.07, f"\n{table}"


@pytest.mark.parametrize("name", JOBS)
def test_the_confidence_of_the_claim_is_not_that_probability(name):
    """The check can fail: how sure a claim of the true change is says nothing of what noise will show."""
    job, draw, as_leads = JOBS[name]
    rng = np.random.default_rng(7)
    leads = as_leads(draw("mostly_still", 1000, rng), AS_OF, rng)
    model = job.fit(leads, AS_OF)
    sure = np.array([finding.claim.probability for finding in job.analyse(leads, model, AS_OF, rng)])
    asked = job.half_checks(leads, model, AS_OF, rng)
    table = reliability(np.where(np.isnan(asked.p), np.nan, sure), asked.agreed)
    assert table.gap > 0.2, f"\n{table}"


@pytest.mark.parametrize("name", JOBS)
def test_the_snapshot_holds_the_same_probability(name):
    """analyse and half_checks ask the same of a client, given the same model."""
    job, draw, as_leads = JOBS[name]
    rng = np.random.default_rng(7)
    leads = as_leads(draw("mostly_still", 300, rng), AS_OF, rng)
    model = job.fit(leads, AS_OF)
    found, asked = job.analyse(leads, model, AS_OF, rng), job.half_checks(leads, model, AS_OF, rng)
    assert [finding.client_id for finding in found] == [leads.clients.ids[c] for c in asked.client]
    expected = [None if np.isnan(p) else p for p in asked.p]
    assert [finding.check.p for finding in found] == expected
    assert any(p is None for p in expected)


@pytest.mark.parametrize("name", JOBS)
def test_nothing_of_the_other_half_is_known(name):
    """Whatever the leads set aside show, the model and the probabilities are the same; whether they agree is not."""
    job, draw, as_leads = JOBS[name]
    rng = np.random.default_rng(8)
    leads = as_leads(draw("heavy_tails", 200, rng), AS_OF, rng)

    def shuffled(observations):
        aside = np.flatnonzero(leads.half()[observations.lead])
        value = observations.value.copy()
        value[aside] = value[rng.permutation(aside)]
        return replace(observations, value=value)

    other = replace(leads, urgency=shuffled(leads.urgency), confidence=shuffled(leads.confidence))
    model = job.fit(leads.only(~leads.half()), AS_OF)
    assert job.fit(other.only(~other.half()), AS_OF) == model
    before, after = (job.half_checks(side, model, AS_OF, rng) for side in (leads, other))
    assert np.array_equal(before.p, after.p, equal_nan=True)
    assert not np.array_equal(before.agreed, after.agreed)
