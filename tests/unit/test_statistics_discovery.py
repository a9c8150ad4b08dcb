"""Many questions at once: Benjamini-Hochberg by its definition, and two groups recovered from a known mixture."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from worker.statistics.discovery import (
    NULL_SHARE,
    SCALES,
    TwoGroups,
    discoveries,
    effect_posterior,
    fit_two_groups,
    probability_half_agrees,
    two_sided_p,
)

GROUPS = TwoGroups(np.array([0.8, 0.04, 0.04, 0.04, 0.04, 0.04]))


def slow_discoveries(p, q):
    """The largest k with p_(k) <= q k / m; every p up to it is reported (Benjamini & Hochberg 1995, procedure (1))."""
    cut = -1.0
    for k, value in enumerate(sorted(p), start=1):
        if value <= q * k / len(p):
            cut = value
    return [value <= cut for value in p]


@given(st.lists(st.floats(0, 1), max_size=40), st.sampled_from([0.05, 0.10, 0.5]))
def test_discoveries_follow_the_definition(p, q):
    assert discoveries(np.array(p), q).tolist() == slow_discoveries(p, q)


def test_discoveries_of_the_paper():
    """Four of these 15 are reported at q = .05 (Benjamini & Hochberg 1995, section 4.2)."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459]
    p += [0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    assert discoveries(np.array(p), 0.05).sum() == 4


def test_p_values():
    assert two_sided_p(np.array([0.0, 1.959964, -1.959964])) == pytest.approx([1.0, 0.05, 0.05], abs=1e-6)


def test_no_hypothesis_leaves_the_prior():
    assert fit_two_groups(np.zeros(0)).weights[0] == NULL_SHARE
    assert len(effect_posterior(np.zeros(0), GROUPS).same_sign) == 0


def test_the_share_of_null_hypotheses_is_recovered():
    rng = np.random.default_rng(3)
    effect = np.where(rng.random(8000) < 0.85, 0.0, rng.normal(0.0, 4.0, 8000))
    weights = fit_two_groups(effect + rng.standard_normal(8000)).weights
    assert weights.sum() == pytest.approx(1.0)
    assert weights[0] == pytest.approx(0.85, abs=0.03)
    spread = (weights[1:] * SCALES**2).sum() / weights[1:].sum()
    assert np.sqrt(spread) == pytest.approx(4.0, abs=0.8)


def test_all_null_stays_null():
    weights = fit_two_groups(np.random.default_rng(4).standard_normal(5000)).weights
    assert weights[0] > 0.97


def test_said_and_right_agree_on_simulated_effects():
    """Confidence in the sign, and the half's agreement, hold on average among what stands out."""
    rng = np.random.default_rng(5)
    n = 200_000
    group = rng.choice(6, n, p=GROUPS.weights)
    effect = np.concatenate([[0.0], SCALES])[group] * rng.standard_normal(n)
    z, fresh = effect + rng.standard_normal(n), effect + rng.standard_normal(n)
    posterior, agree = effect_posterior(z, GROUPS), probability_half_agrees(z, GROUPS)
    for low, high in ((0, 1), (1, 2), (2, 3), (3, 6)):
        part = (np.abs(z) >= low) & (np.abs(z) < high)
        assert posterior.local_fdr[part].mean() == pytest.approx((effect == 0)[part].mean(), abs=0.02)
        assert posterior.same_sign[part].mean() == pytest.approx((effect * z > 0)[part].mean(), abs=0.02)
        assert agree[part].mean() == pytest.approx((fresh * z > 0)[part].mean(), abs=0.02)
        assert posterior.mean[part].mean() == pytest.approx(effect[part].mean(), abs=0.03)
        assert posterior.second_moment[part].mean() == pytest.approx((effect**2)[part].mean(), rel=0.05)


def test_responsibilities_match_the_densities():
    z = np.array([0.3, 2.5, -4.0])
    density = np.stack([stats.norm.pdf(z, 0, np.sqrt(1 + s**2)) for s in (0, *SCALES)], axis=1) * GROUPS.weights
    assert effect_posterior(z, GROUPS).local_fdr == pytest.approx(density[:, 0] / density.sum(axis=1))


@given(st.floats(-1e5, 1e5))
def test_bounds_and_symmetry(z):
    """The sign of z turns the effect, not the confidence; a huge z is certainly real."""
    here, there = (effect_posterior(np.array([x]), GROUPS) for x in (z, -z))
    assert 0 <= here.same_sign[0] <= 1
    assert here.same_sign[0] <= 1 - here.local_fdr[0] + 1e-12
    assert here.same_sign[0] == there.same_sign[0]
    assert here.mean[0] == -there.mean[0]
    if abs(z) > 50:
        assert here.same_sign[0] > 0.999


def test_a_row_does_not_depend_on_its_neighbours_to_the_last_bit():
    z = np.random.default_rng(6).normal(0, 3, 101)
    whole = effect_posterior(z, GROUPS)
    for rows in (slice(0, 1), slice(50, 53), slice(90, 101)):
        part = effect_posterior(z[rows], GROUPS)
        for name in ("local_fdr", "same_sign", "mean", "second_moment"):
            assert np.array_equal(getattr(part, name), getattr(whole, name)[rows])
        assert np.array_equal(probability_half_agrees(z[rows], GROUPS), probability_half_agrees(z, GROUPS)[rows])
