"""How much counts vary from week to week: recovered from counts drawn with known dispersion."""

import numpy as np
import pytest
from scipy import stats

from worker.statistics.dispersion import dispersion_of_each, fit_dispersion


def weeks(rng, mean, *, bursts=1, wobble=0.0):
    """Draw two windows of four weeks: leads in bursts of a size, weeks good or bad by a factor."""
    shape = (len(mean), 2, 4)
    factor = rng.gamma(1 / wobble**2, wobble**2, shape) if wobble else np.ones(shape)
    return bursts * rng.poisson(mean[:, None, None] / bursts * factor)


def test_poisson_counts_are_not_dispersed():
    rng = np.random.default_rng(1)
    found = fit_dispersion(weeks(rng, rng.uniform(1, 60, 2000)))
    assert found.at(np.array([2.0, 60.0])) == pytest.approx([1.0, 1.0], abs=0.06)
    assert found.everyone == pytest.approx(1.0, abs=0.05)


def test_bursts_raise_the_base():
    rng = np.random.default_rng(2)
    found = fit_dispersion(weeks(rng, rng.uniform(10, 60, 2000), bursts=3))
    assert found.at(np.array([15.0, 60.0])) == pytest.approx([3.0, 3.0], rel=0.15)


def test_good_and_bad_weeks_raise_the_slope():
    """The variance of a mean times a factor of spread w is mean + w^2 mean^2: dispersion 1 + w^2 mean."""
    rng = np.random.default_rng(3)
    found = fit_dispersion(weeks(rng, rng.uniform(5, 100, 3000), wobble=0.4))
    assert found.at(np.array([10.0, 100.0])) == pytest.approx([2.6, 17.0], rel=0.2)


@pytest.mark.parametrize("wobble", [0.0, 0.3, 0.6])
def test_errors_of_ratios_hold_in_the_tails(wobble):
    """Changes in the log of two windows' ratio stand out as rarely as the dispersion says, large clients included."""
    rng = np.random.default_rng(4)
    mean = np.minimum(1.5 * (1 + rng.pareto(1.2, 20_000)), 500)
    counts = weeks(rng, mean, wobble=wobble)
    phi = dispersion_of_each(counts, fit_dispersion(counts).at(counts.mean(axis=(1, 2))))
    total = counts.sum(axis=2)
    rows = total.min(axis=1) >= 20
    z = np.log(total[rows, 1] / total[rows, 0]) / np.sqrt(phi[rows] * (1 / total[rows]).sum(axis=1))
    assert (np.abs(z) > 3).mean() <= 1.6 * 2 * stats.norm.sf(3)


def test_a_client_of_its_own_sort_is_given_more_never_less():
    rng = np.random.default_rng(5)
    counts = weeks(rng, np.full(200, 20.0))
    wild = np.array([[[70, 2, 5, 3], [1, 60, 4, 15]]])
    expected = np.full(201, 1.2)
    own = dispersion_of_each(np.concatenate([counts, wild]), expected)
    assert (own >= 1.2).all()
    assert own[-1] > 10
    assert np.median(own) < 1.5


def test_nothing_to_learn_from():
    nobody = fit_dispersion(np.zeros((0, 2, 4), dtype=int))
    assert (nobody.base, nobody.slope, nobody.everyone) == (1.0, 0.0, 1.0)
    idle = fit_dispersion(np.zeros((3, 2, 4), dtype=int))
    assert (idle.base, idle.slope, idle.everyone) == (1.0, 0.0, 1.0)
    assert dispersion_of_each(np.zeros((3, 2, 4), dtype=int), np.ones(3)).tolist() == [1.0, 1.0, 1.0]
