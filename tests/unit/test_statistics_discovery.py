"""Many questions at once: Benjamini-Hochberg by its definition, and two groups recovered from a known mixture."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from worker.statistics.discovery import (
    FALSE_A_CLIENT_YEAR,
    MAX_LEVEL,
    NULL_SHARE,
    SCALES,
    TwoGroups,
    carried_probability,
    discoveries,
    effect_posterior,
    fit_two_groups,
    group_weights,
    level_of_run,
    two_sided_p,
)

N = len(SCALES)
WEIGHTS = np.array([0.8, *[0.02] * N, *[0.08 / N] * N])


def slow_discoveries(p, q):
    """The largest k with p_(k) <= q k / m; every p up to it is reported (Benjamini & Hochberg 1995, procedure (1))."""
    cut = -1.0
    for k, value in enumerate(sorted(p), start=1):
        if value <= q * k / len(p):
            cut = value
    return [value <= cut for value in p]


def one_group(z, error):
    zeros = np.zeros(len(z), dtype=np.int64)
    return fit_two_groups(z, error, zeros, np.zeros(1, dtype=np.int64), 1).weights[0]


def posterior(z, error, weights=WEIGHTS):
    z, error = np.atleast_1d(np.asarray(z, dtype=float)), np.atleast_1d(np.asarray(error, dtype=float))
    return effect_posterior(z, error, np.tile(weights, (len(z), 1)))


@given(st.lists(st.floats(0, 1), max_size=40), st.sampled_from([0.05, 0.10, 0.5]))
def test_discoveries_follow_the_definition(p, q):
    marks, largest = discoveries(np.array(p), q)
    assert marks.tolist() == slow_discoveries(p, q)
    assert largest == max((value for value, mark in zip(p, marks, strict=True) if mark), default=0.0)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 5)), min_size=1, max_size=40))
def test_weights_divide_the_p_values(rows):
    p, weight = (np.array(part) for part in zip(*rows, strict=True))
    assert discoveries(p, 0.1, weight)[0].tolist() == slow_discoveries((p / weight).tolist(), 0.1)


def test_discoveries_of_the_paper():
    """Four of these 15 are reported at q = .05 (Benjamini & Hochberg 1995, section 4.2)."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459]
    p += [0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    assert discoveries(np.array(p), 0.05)[0].sum() == 4


def test_p_values():
    assert two_sided_p(np.array([0.0, 1.959964, -1.959964])) == pytest.approx([1.0, 0.05, 0.05], abs=1e-6)


def test_a_run_spends_what_was_earned_and_never_more_than_a_tenth():
    assert level_of_run(1, None, 0) == pytest.approx(FALSE_A_CLIENT_YEAR)
    assert sum(level_of_run(1, 1.0, 0) for _ in range(365)) == pytest.approx(FALSE_A_CLIENT_YEAR)
    assert level_of_run(10, 3.0, 0) == pytest.approx(30 * level_of_run(1, 1.0, 0))
    assert 30 * (level_of_run(1, 1.0, 1) - level_of_run(1, 1.0, 0)) == pytest.approx(0.10)
    assert level_of_run(1000, None, 0) == level_of_run(1000, 365.0, 50) == MAX_LEVEL


def test_the_same_instant_carries_the_same_probability():
    assert carried_probability(0.87, 3.0, 3.0, 0.7, 0.0) == 0.87


def test_what_fades_loses_and_what_lasts_keeps():
    assert carried_probability(0.9, 4.0, 4.0, 0.8, 5.0) > 0.9
    assert carried_probability(0.9, 4.0, 1.6, 0.8, 5.0) < 0.6
    fading = [carried_probability(0.9, 4.0, 2.5, 0.8, days) for days in (2.0, 10.0, 25.0)]
    assert fading == sorted(fading)  # the sooner the fall, the less of it can be that windows moved on


def test_nothing_is_carried_over_a_whole_window_and_no_z_is_too_large():
    with pytest.raises(ValueError, match="overlap too little"):
        carried_probability(0.9, 4.0, 4.0, 0.8, 30.0)
    assert 0.9 < carried_probability(0.9, 1e200, 1e200, 0.8, 5.0) <= 1.0


def test_carried_probabilities_come_true():
    """Real and null effects seen once and again some days later, windows overlapping: said is right."""
    rng = np.random.default_rng(11)
    n, days, scale, real_share = 40_000, 10.0, 2.0, 0.3
    real = rng.random(n) < real_share
    effect = np.where(real, rng.normal(0, scale, n), 0.0)
    r = 1 - 3 * days / 60
    first = rng.standard_normal(n)
    z_before = effect + first
    z_now = effect + r * first + np.sqrt(1 - r**2) * rng.standard_normal(n)
    shrink = scale**2 / (1 + scale**2)
    density = real_share * stats.norm.pdf(z_before, 0, np.sqrt(1 + scale**2))
    before = density / (density + (1 - real_share) * stats.norm.pdf(z_before))
    chosen = np.flatnonzero((np.abs(z_before) > 2.5) & (np.abs(z_before) < 4))
    said = np.array(
        [
            carried_probability(before[i], abs(z_before[i]), z_now[i] * np.sign(z_before[i]), shrink, days)
            for i in chosen
        ]
    )
    for low, high in ((0.0, 0.5), (0.5, 0.8), (0.8, 0.95), (0.95, 1.0)):
        rows = (said >= low) & (said < high)
        assert said[rows].mean() == pytest.approx(real[chosen][rows].mean(), abs=0.05)


def test_no_hypothesis_leaves_the_prior():
    assert one_group(np.zeros(0), np.zeros(0))[0] == NULL_SHARE
    assert len(posterior([], []).same_sign) == 0


def test_the_share_of_null_hypotheses_is_recovered():
    rng = np.random.default_rng(3)
    error = rng.uniform(0.1, 0.3, 8000)
    effect = np.where(rng.random(8000) < 0.85, 0.0, rng.normal(0.0, 0.8, 8000))
    weights = one_group((effect + error * rng.standard_normal(8000)) / error, error)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[0] == pytest.approx(0.85, abs=0.04)
    real = weights[1 : 1 + N] + weights[1 + N :]
    assert np.sqrt((real * SCALES**2).sum() / real.sum()) == pytest.approx(0.8, abs=0.15)
    assert weights[1 : 1 + N].sum() == pytest.approx(weights[1 + N :].sum(), abs=0.02)


def test_a_common_direction_is_learned():
    rng = np.random.default_rng(4)
    error = np.full(4000, 0.2)
    effect = np.where(rng.random(4000) < 0.5, 0.0, np.abs(rng.normal(0.0, 0.8, 4000)))
    weights = one_group((effect + error * rng.standard_normal(4000)) / error, error)
    assert weights[1 : 1 + N].sum() > 10 * weights[1 + N :][SCALES > 0.1].sum()
    sure, less_sure = (posterior(z, 0.2, weights).same_sign[0] for z in (2.5, -2.5))
    assert sure > less_sure + 0.3


def test_all_null_stays_null():
    rng = np.random.default_rng(5)
    weights = one_group(rng.standard_normal(5000), np.full(5000, 0.2))
    assert weights[0] + weights[[1, 2, 1 + N, 2 + N]].sum() > 0.98  # what is smaller than the error may be anything
    assert weights[0] > 0.9


def test_groups_are_drawn_to_the_group_above():
    """A large group keeps its own share of real effects, one of two questions that of its parent."""
    rng = np.random.default_rng(6)
    n = 3000
    group = np.repeat([0, 1, 2], [n, n, 2])
    real = np.where(group == 1, rng.random(len(group)) < 0.5, False)
    z = np.where(real, 4.0, 1.0) * rng.standard_normal(len(group))
    weights = fit_two_groups(z, np.full(len(z), 0.2), group, np.array([0, 1, 1]), 3).weights
    assert weights[0, 0] > 0.9
    assert weights[1, 0] < 0.65
    assert weights[2, 0] == pytest.approx(weights[1, 0], abs=0.08)
    assert weights.sum(axis=1) == pytest.approx(1.0)


def test_weights_of_groups_have_mean_one_and_follow_what_can_be_found():
    group = np.repeat([0, 1], [900, 100])
    quiet = np.array([0.999, *[0.001 / 2 / N] * 2 * N])
    weights = group_weights(TwoGroups(np.stack([quiet, WEIGHTS])), np.full(1000, 0.2), group)
    assert (weights[group]).mean() == pytest.approx(1.0)
    assert weights[1] > 5 > 1 > weights[0] > 0
    large_errors = group_weights(TwoGroups(np.stack([WEIGHTS, WEIGHTS])), np.where(group == 1, 0.1, 0.6), group)
    assert large_errors[1] > 2 * large_errors[0]
    assert group_weights(TwoGroups(WEIGHTS[None, :]), np.zeros(0), np.zeros(0, dtype=int)) == pytest.approx([1.0])


def test_said_and_right_agree_on_simulated_effects():
    """Confidence in the sign, the size, its interval and the half's agreement hold among what stands out alike."""
    rng = np.random.default_rng(7)
    n = 40_000
    part = rng.choice(1 + 2 * N, n, p=WEIGHTS)
    scale = np.concatenate([[0.0], SCALES, -SCALES])[part]
    effect = scale * np.abs(rng.standard_normal(n))
    error, r = rng.choice([0.1, 0.3], n), 0.25
    noise = rng.multivariate_normal([0, 0], [[1, r], [r, 1]], n)
    z, fresh = (effect / error + noise[:, column] for column in (0, 1))
    said = posterior(z, error)
    agree, ends = said.half_agrees(np.full(n, r)), said.quantiles(np.array([0.1, 0.9]))
    inside = (effect >= ends[:, 0]) & (effect <= ends[:, 1])
    for low, high in ((0, 1), (1, 2), (2, 3), (3, 6)):
        rows = (np.abs(z) >= low) & (np.abs(z) < high)
        assert said.local_fdr[rows].mean() == pytest.approx((effect == 0)[rows].mean(), abs=0.03)
        assert said.same_sign[rows].mean() == pytest.approx((effect * z > 0)[rows].mean(), abs=0.03)
        assert agree[rows].mean() == pytest.approx((fresh * z > 0)[rows].mean(), abs=0.03)
        side = np.sign(z[rows])
        assert (side * said.expectation()[rows]).mean() == pytest.approx((side * effect[rows]).mean(), abs=0.015)
    assert inside[np.abs(z) > 3].mean() == pytest.approx(0.8, abs=0.04)


@pytest.mark.parametrize("z", [0.3, 2.5, -4.0])
def test_the_posterior_is_bayes_rule(z):
    """Against numerical integration of the prior's density times the normal likelihood."""
    error = 0.2
    masses = [WEIGHTS[0] * stats.norm.pdf(z)]
    for sign in (1, -1):
        for scale, weight in zip(SCALES, WEIGHTS[1 : 1 + N] if sign > 0 else WEIGHTS[1 + N :], strict=True):

            def joint(effect, scale=scale, sign=sign):
                return 2 * stats.norm.pdf(effect, 0, scale) * stats.norm.pdf(z - sign * effect / error)

            mass, _ = integrate.quad(joint, 0, 10 * scale, limit=200)
            masses.append(weight * mass)
    masses = np.array(masses) / np.sum(masses)
    made = posterior(z, error)
    assert made.belief[0] == pytest.approx(masses, abs=1e-6)
    own = masses[1 : 1 + N] if z > 0 else masses[1 + N :]
    assert made.same_sign[0] == pytest.approx(own.sum(), abs=1e-6)


@given(st.floats(-1e5, 1e5), st.floats(1e-4, 5))
@settings(deadline=None)
def test_bounds_and_symmetry(z, error):
    """With equal weights up and down the sign of z turns the effect, not the confidence; a huge z is surely real."""
    even = np.concatenate([WEIGHTS[:1], WEIGHTS[1 : 1 + N], WEIGHTS[1 : 1 + N]])
    even = even / even.sum()
    here, there = (posterior(x, error, even) for x in (z, -z))
    assert 0 <= here.same_sign[0] <= 1
    assert here.same_sign[0] <= 1 - here.local_fdr[0] + 1e-12
    if z:
        assert here.same_sign[0] == pytest.approx(there.same_sign[0], abs=1e-9)
    assert here.expectation()[0] == pytest.approx(-there.expectation()[0], rel=1e-6, abs=1e-9)
    low, high = here.quantiles(np.array([0.1, 0.9]))[0]
    assert low <= high
    assert 0 <= here.half_agrees(np.array([0.3]))[0] <= 1
    if abs(z) > 50:
        assert here.same_sign[0] > 0.999


def test_a_row_does_not_depend_on_its_neighbours_to_the_last_bit():
    rng = np.random.default_rng(8)
    z, error = rng.normal(0, 3, 101), rng.uniform(0.05, 0.5, 101)
    whole = posterior(z, error)
    levels, r = np.array([0.1, 0.9]), np.full(101, 0.2)
    for rows in (slice(0, 1), slice(50, 53), slice(90, 101)):
        part = posterior(z[rows], error[rows])
        assert np.array_equal(part.belief, whole.belief[rows])
        assert np.array_equal(part.same_sign, whole.same_sign[rows])
        assert np.array_equal(part.expectation(), whole.expectation()[rows])
        assert np.array_equal(part.quantiles(levels), whole.quantiles(levels)[rows])
        assert np.array_equal(part.half_agrees(r[rows]), whole.half_agrees(r)[rows])
