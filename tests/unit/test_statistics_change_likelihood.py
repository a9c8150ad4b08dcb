"""What two windows say of a change: the exact integral by adaptive quadrature, Student's t, and rows on their own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from scipy.special import betainc, expit, log_expit

from worker.statistics.change_likelihood import mean_change_log_likelihood, share_change_log_likelihood
from worker.statistics.change_prior import candidates, change_grid, default_change_prior

BAND = 0.05
GRID = change_grid(BAND, limit=1.0)
PRIOR = default_change_prior(candidates(GRID, BAND)).mean
LEVEL = (3.0, 6.0)
MILLION = 10**6

COUNTS = [
    (3, 10, 5, 12),
    (0, 1, 1, 1),
    (0, 0, 0, 0),
    (0, 0, 2, 9),
    (4, 9, 0, 0),
    (0, 5, 0, 7),
    (5, 5, 7, 7),
    (1, 3, 200, 600),
    (0, 30, 30, 30),
    (0, 290, 1, 2),
    (0, 150, 0, 140),
    (2.5, 7.25, 0, 3.5),
    (0, 0.4, 0.3, 0.9),
    (100, 300, 150, 310),
    (500, 5000, 600, 5200),
    (0, MILLION, 0, MILLION),
    (300_000, MILLION, 301_000, MILLION),
    (1, 3, 400_000, MILLION),
    (MILLION, MILLION, 0, MILLION),
    (MILLION, MILLION, MILLION, MILLION),
]


def share_likelihood(rows, level=LEVEL, grid=GRID):
    k0, n0, k1, n1 = np.array(rows, dtype=np.float64).reshape(-1, 4).T
    return share_change_log_likelihood(k0, n0, k1, n1, grid, level_prior=level)


def log_integral(row, change, level):
    """
    Integrate over the level by adaptive quadrature, in its logit, all in logarithms.

    The level runs from |change| / 2 to 1 - |change| / 2; with v = room x expit(t) above its low end, the lower share is
    v and the higher |change| + v.
    """
    (k0, n0, k1, n1), (a, b), size, room = row, level, abs(change), 1 - abs(change)
    low_k, low_n, high_k, high_n = (k0, n0, k1, n1) if change >= 0 else (k1, n1, k0, n0)

    def log_density(t):
        near, far = np.log(room) + log_expit(t), np.log(room) + log_expit(-t)
        # without a change all three are near and far themselves, down to where a sum would be rounded to 0
        high, not_low, middle, not_middle = near, far, near, far
        if size:
            high, not_low = np.log(size + room * expit(t)), np.log(size + room * expit(-t))
            middle, not_middle = np.log(size / 2 + room * expit(t)), np.log(size / 2 + room * expit(-t))
        counts = low_k * near + (low_n - low_k) * not_low + high_k * high + (high_n - high_k) * far
        return counts + (a - 1) * middle + (b - 1) * not_middle + near + log_expit(-t)

    left, right = -3000.0, 3000.0
    for _ in range(6):  # close in on where the mass is
        t = np.linspace(left, right, 4001)
        density = log_density(t)
        there = np.flatnonzero(density > density.max() - 40)
        left, right = t[max(there[0] - 1, 0)], t[min(there[-1] + 1, 4000)]
    peak, top = t[density.argmax()], density.max()
    mass = integrate.quad(
        lambda x: np.exp(log_density(x) - top), left, right, points=[peak], limit=400, epsabs=0, epsrel=1e-8
    )[0]
    larger, smaller = max(level), min(level)
    return top + np.log(mass) - np.log(betainc(larger, smaller, 1 - size / 2) - betainc(larger, smaller, size / 2))


def posterior(log_likelihood, prior):
    mass = np.exp(log_likelihood - log_likelihood.max()) * prior
    return mass / mass.sum()


@pytest.mark.parametrize("level", [(1.0, 2.0), (0.04, 1.96), (60.0, 140.0), (10.0, 490.0)])
def test_likelihood_is_the_exact_integral(level):
    """No posterior is off by .008 in total variation, whatever the counts and however sharp the level."""
    some = slice(2, None, 4)  # changes, 0 among them: quadrature is slow
    for row, got in zip(COUNTS, share_likelihood(COUNTS, level, GRID[some]), strict=True):
        exact = np.array([log_integral(row, change, level) for change in GRID[some]])
        for prior in (PRIOR[some], np.gradient(GRID)[some]):
            distance = np.abs(posterior(got, prior) - posterior(exact, prior)).sum() / 2
            assert distance < 0.008, (row, distance)


def test_nothing_is_known_without_leads():
    """A client without any lead, under any level: all changes explain it alike."""
    for level in (LEVEL, (0.04, 1.96), (60.0, 140.0)):
        row = share_likelihood([(0, 0, 0, 0)], level)[0]
        assert row - row[0] == pytest.approx(np.zeros(len(GRID)), abs=0.005)


counts = st.integers(0, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
row_strategy = st.tuples(counts, counts).map(lambda pair: (*pair[0], *pair[1]))


@settings(deadline=None, max_examples=60)
@given(row_strategy)
def test_swapped_windows_mirror(row):
    k0, n0, k1, n1 = row
    here, there = share_likelihood([row, (k1, n1, k0, n0)])
    assert here == pytest.approx(there[::-1], abs=1e-3)  # single precision


@settings(deadline=None, max_examples=30)
@given(row_strategy)
def test_high_and_not_high_are_two_names_for_one_thing(row):
    """Counting the leads that are not High turns the change around."""
    k0, n0, k1, n1 = row
    here, there = share_likelihood([row])[0], share_likelihood([(n0 - k0, n0, n1 - k1, n1)], LEVEL[::-1])[0]
    assert posterior(here, PRIOR) == pytest.approx(posterior(there, PRIOR)[::-1], abs=1e-4)


@settings(deadline=None, max_examples=20)
@given(st.lists(row_strategy, min_size=1, max_size=9), st.randoms(use_true_random=False))
def test_a_row_does_not_depend_on_its_neighbours_to_the_last_bit(rows, random):
    together = share_likelihood(rows)
    order = list(range(len(rows)))
    random.shuffle(order)
    for i in order:
        assert np.array_equal(share_likelihood([rows[i]])[0], together[i])
    assert np.array_equal(share_likelihood([rows[i] for i in order]), together[order])


def test_blocks_do_not_show():
    """Hundreds of clients of all sizes, cut anywhere."""
    rng = np.random.default_rng(3)
    n = rng.integers(0, 40, 400) * rng.choice([1, 1, 1, 100], 400)
    k = rng.binomial(n, 0.3) * rng.uniform(0.9, 1.0, 400)
    rows = np.stack([k, n, k[::-1], n[::-1]], axis=1)
    whole = share_likelihood(rows)
    for cut in (1, 7, 130, 399):
        assert np.array_equal(whole[cut:], share_likelihood(rows[cut:]))
        assert np.array_equal(whole[:cut], share_likelihood(rows[:cut]))


def test_nobody_is_an_empty_answer():
    assert share_likelihood([]).shape == (0, len(GRID))
    nobody = np.zeros(0)
    assert mean_change_log_likelihood(nobody, nobody, nobody, GRID).shape == (0, len(GRID))


def test_mean_likelihood_is_students_t():
    grid = np.array([-2.0, 0.0, 3.0])
    got = mean_change_log_likelihood(np.array([1.5]), np.array([4.0]), np.array([7.0]), grid)[0]
    expected = stats.t.logpdf((1.5 - grid) / 2.0, 7.0)
    assert got - got[0] == pytest.approx(expected - expected[0])


def test_mean_likelihood_says_nothing_of_the_unknown_and_survives_equal_scores():
    grid = change_grid(3.0, limit=100.0)
    change, error = np.array([np.nan, 0.0, 10.2, 5.0]), np.array([1.0, 0.0, 0.0, np.nan])
    likelihood = mean_change_log_likelihood(change, error, np.full(4, 10.0), grid)
    assert np.isfinite(likelihood).all()
    assert np.array_equal(likelihood[[0, 3]], np.zeros((2, len(grid))))
    assert grid[likelihood[1].argmax()] == 0
    assert grid[likelihood[2].argmax()] == pytest.approx(10.2)
    alone = mean_change_log_likelihood(change[2:3], error[2:3], np.full(1, 10.0), grid)
    assert np.array_equal(alone[0], likelihood[2])
