"""Two counts compared: against scipy's exact distributions, in the tails and for unequal windows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from worker.statistics.comparison import attainable_surprise, count_change_z, share_change_z, widened

NONE = np.zeros(1)


def z_of(below, above):
    return stats.norm.ppf(below) if below < above else -stats.norm.ppf(above)


def slow_share_z(k1, n1, k0, n0, shift=0.0):
    """Mid-p of the conditional distribution, as scipy has it."""
    share = (k1 + k0) / (n1 + n0)
    if shift:
        p1, p0 = share + shift * n0 / (n1 + n0), share - shift * n1 / (n1 + n0)
        law = stats.nchypergeom_fisher(n1 + n0, k1 + k0, n1, p1 * (1 - p0) / (p0 * (1 - p1)))
    else:
        law = stats.hypergeom(n1 + n0, k1 + k0, n1)
    return z_of(law.cdf(k1) - law.pmf(k1) / 2, law.sf(k1) + law.pmf(k1) / 2)


def share_z(k1, n1, k0, n0, shift=0.0):
    return share_change_z(*(np.array([count]) for count in (k1, n1, k0, n0)), NONE + shift)[0]


@given(st.integers(1, 120), st.integers(1, 120), st.floats(0, 1), st.floats(0, 1))
def test_the_exact_law_without_a_shift(n1, n0, first, second):
    k1, k0 = round(first * n1), round(second * n0)
    assert share_z(k1, n1, k0, n0) == pytest.approx(slow_share_z(k1, n1, k0, n0), abs=1e-6)


@pytest.mark.parametrize("counts", [(12, 25, 60, 400), (40, 60, 30, 60), (3, 30, 9, 30), (30, 80, 44, 90)])
@pytest.mark.parametrize("shift", [0.05, -0.1])
def test_the_exact_law_beyond_everyones_change(counts, shift):
    assert share_z(*counts, shift) == pytest.approx(slow_share_z(*counts, shift), abs=1e-6)


def test_small_and_unequal_windows_are_not_overrated():
    """11 of 25 after 40 of 400: Yates' z says 4.5 standard errors, the exact law hardly four."""
    k1, n1, k0, n0 = 11, 25, 40, 400
    n, k = n1 + n0, k1 + k0
    yates = (k1 / n1 - k0 / n0 - 0.5 * (1 / n1 + 1 / n0)) / np.sqrt(k / n * (n - k) / (n - 1) * (1 / n1 + 1 / n0))
    assert yates > 4.4
    assert share_z(k1, n1, k0, n0) == pytest.approx(slow_share_z(k1, n1, k0, n0))
    assert share_z(k1, n1, k0, n0) < yates - 0.4


@pytest.mark.parametrize("counts", [(450, 1500, 380, 1500), (900, 3000, 300, 1500), (60, 2500, 250, 5000)])
def test_many_leads_by_the_deviance(counts):
    assert share_z(*counts) == pytest.approx(slow_share_z(*counts), abs=0.02)


def test_no_warning_and_a_bound_far_out():
    with np.errstate(all="raise", under="ignore"):
        z = share_change_z(
            np.array([500, 0]), np.array([500, 500]), np.array([0, 500]), np.array([500, 500]), np.zeros(2)
        )
    assert z[0] == pytest.approx(-z[1])
    assert 20 < z[0] < 40


def test_a_null_z_is_standard_normal_in_the_tails():
    """Conditional tests of small unequal windows keep their size: at most the promised share beyond 2 and 3."""
    rng = np.random.default_rng(1)
    m = 200_000
    n1, n0, p = rng.integers(8, 60, m), rng.integers(8, 300, m), rng.beta(3, 6, m)
    z = share_change_z(rng.binomial(n1, p), n1, rng.binomial(n0, p), n0, np.zeros(m))
    for bound in (2.0, 3.0, 3.5):
        assert (np.abs(z) > bound).mean() <= 1.1 * 2 * stats.norm.sf(bound)
        assert (np.abs(z) > bound).mean() >= 0.5 * 2 * stats.norm.sf(bound)
    assert z.mean() == pytest.approx(0.0, abs=0.02)


def test_groups_of_leads_are_worth_fewer():
    z, n = np.array([1.0, -3.0, 3.0, 8.0, -60.0]), np.full(5, 60)
    assert widened(z, np.ones(5), n) == pytest.approx(z)
    paired = widened(z, np.full(5, 2.0), n)
    assert paired[0] == pytest.approx(1 / np.sqrt(2))
    assert (np.abs(paired) <= np.abs(z) / np.sqrt(2) + 1e-12).all()
    assert paired[2] == -paired[1]


def test_what_lies_further_out_is_never_less_surprising():
    z = np.arange(0, 60, 0.05)
    for deff in (1.0, 1.1, 1.5, 2.0, 3.0, 5.0):
        for n in (2, 4, 8, 12, 30, 60, 400):
            far = widened(z, np.full(len(z), deff), np.full(len(z), n))
            assert (np.diff(far) >= 0).all(), (deff, n)
            assert (far <= z / np.sqrt(deff) + 1e-12).all()
    y = np.array([5.5, 6.5])
    near = widened(y * np.sqrt(2), np.full(2, 2.0), np.full(2, 12))
    assert near[1] >= near[0] > 3.9


def test_doubled_leads_keep_the_size_of_the_test():
    """Every lead recorded twice: the z of the doubled counts, widened, lies beyond 3 about as rarely as it should."""
    rng = np.random.default_rng(3)
    m, n = 300_000, 30
    p = rng.beta(3, 6, m)
    k1, k0 = (2 * rng.binomial(n, p) for _ in range(2))
    sizes = np.full(m, 2 * n)
    z = widened(share_change_z(k1, sizes, k0, sizes, np.zeros(m)), np.full(m, 2.0), 2 * sizes)
    assert z.std() == pytest.approx(1.0, abs=0.03)
    assert 0.5 < (np.abs(z) > 3).mean() / (2 * stats.norm.sf(3)) < 1.15


def test_a_row_does_not_depend_on_its_neighbours_to_the_last_bit():
    rng = np.random.default_rng(2)
    n1, n0 = rng.integers(1, 900, 300), rng.integers(1, 900, 300)
    k1, k0, shift = rng.binomial(n1, 0.4), rng.binomial(n0, 0.4), rng.normal(0, 0.1, 300)
    whole = share_change_z(k1, n1, k0, n0, shift)
    for row in range(0, 300, 7):
        alone = share_change_z(*(part[row : row + 1] for part in (k1, n1, k0, n0, shift)))
        assert alone[0] == whole[row]


@given(st.integers(0, 300), st.integers(0, 300), st.sampled_from([0.5, 1.0, 1.7]))
def test_counts_by_the_binomial_law(x1, x0, ratio):
    law = stats.binom(x1 + x0, ratio / (1 + ratio))
    expected = z_of(law.cdf(x1) - law.pmf(x1) / 2, law.sf(x1) + law.pmf(x1) / 2)
    z = count_change_z(np.array([x1]), np.array([x0]), np.array([ratio]))
    assert z[0] == pytest.approx(expected, abs=1e-6)


def test_margins_bound_what_can_be_seen():
    """No answer is more surprising than the margins allow, and with equal windows the bound is nearly reached."""
    one = np.ones(1)
    for k, n1, n0 in ((6, 10, 10), (12, 40, 40), (20, 30, 90), (25, 15, 15)):
        bound = attainable_surprise(np.array([k]), np.array([n1]), np.array([n0]), one)[0]
        most, small = min(k, n1 + n0 - k), min(n1, n0)
        law = stats.hypergeom(n1 + n0, most, small)
        extreme = -np.log(law.pmf(min(most, small)))
        if most <= small:
            assert bound <= extreme + 1e-9
    halved = attainable_surprise(np.array([12]), np.array([40]), np.array([40]), 2 * one)[0]
    assert halved == pytest.approx(6 * np.log(2))
