"""How alike neighbours in time are: bursts of known likeness recovered, and error bars as wide as means scatter."""

import numpy as np
import pytest

from worker.statistics.dependence import (
    LAGS,
    design_effect,
    estimate_serial_correlation,
    half_design_effect,
    sample_of_neighbours,
    whole_design_effect,
)


def bursts(rng, cells, n, length, correlation, parts=1):
    """Leads in bursts of one length, one burst after the other, shape (cells, n, parts), each of variance 1."""
    common = np.repeat(rng.normal(size=(cells, -(-n // length), parts)), length, axis=1)[:, :n]
    return np.sqrt(correlation) * common + np.sqrt(1 - correlation) * rng.normal(size=(cells, n, parts))


def estimated(values):
    """Estimate from values of shape (cells, n, parts), each cell with a level of its own."""
    cells, n, parts = values.shape
    level = np.arange(cells)[:, None, None] * 0.37
    return estimate_serial_correlation((values + level).reshape(-1, parts), np.repeat(np.arange(cells), n))


def expected_correlation(length, correlation):
    """Give how alike a lead is to the one so many places later, all leads of whole bursts counted."""
    return correlation * np.maximum(1 - np.arange(1, LAGS + 1) / length, 0)


@pytest.mark.parametrize("n", [4, 11, 60])
def test_independent_leads_are_not_alike(n):
    rng = np.random.default_rng([1, n])
    correlation = estimated(rng.normal(size=(24_000 // n, n, 1)))
    assert correlation.shape == (LAGS,)
    assert (correlation >= 0).all()
    assert design_effect(np.array([n]), correlation) == pytest.approx([1.0], abs=0.06)


@pytest.mark.parametrize(("length", "correlation"), [(2, 1.0), (2, 0.4), (3, 0.6), (6, 0.3)])
@pytest.mark.parametrize("n", [12, 60])
def test_likeness_within_bursts_is_recovered(length, correlation, n):
    rng = np.random.default_rng([2, length, n])
    expected = expected_correlation(length, correlation)
    got = estimated(bursts(rng, 60_000 // n, n, length, correlation))
    assert got[: length - 1] == pytest.approx(expected[: length - 1], abs=0.03)
    assert got[length:] == pytest.approx(np.zeros(LAGS - length), abs=0.03)


def test_categories_are_one_column_a_level():
    """Every other lead repeats the one before: of any number of levels, neighbours are alike by a half."""
    rng = np.random.default_rng(3)
    level = np.repeat(rng.integers(0, 4, (1500, 15)), 2, axis=1)
    correlation = estimated(np.eye(4)[level])
    assert correlation[0] == pytest.approx(0.5, abs=0.03)
    assert correlation[1:] == pytest.approx(np.zeros(LAGS - 1), abs=0.03)


def test_few_leads_are_given_the_benefit_of_the_doubt():
    """Twelve leads cannot tell bursts from chance: hardly any likeness is learned, however alike they look."""
    rng = np.random.default_rng(4)
    few = estimated(bursts(rng, 1, 12, 3, 0.9))
    many = estimated(bursts(rng, 300, 12, 3, 0.9))
    assert design_effect(np.array([12]), few)[0] < 1.2
    assert design_effect(np.array([12]), many)[0] > 2


@pytest.mark.parametrize(("length", "correlation", "n"), [(1, 0.0, 20), (2, 1.0, 20), (3, 0.6, 30), (6, 0.5, 60)])
def test_design_effect_is_how_much_wider_means_scatter(length, correlation, n):
    rng = np.random.default_rng([5, length])
    means = bursts(rng, 40_000, n, length, correlation)[:, :, 0].mean(axis=1)
    effect = design_effect(np.array([n]), expected_correlation(length, correlation))[0]
    assert means.var() * n == pytest.approx(effect, rel=0.04)


def test_bursts_are_as_long_in_small_windows():
    """Learned from all sizes together, right for windows of one burst and of twenty."""
    rng = np.random.default_rng(8)
    cells = [bursts(rng, 1, 4 * size, 4, 0.6)[0] for size in rng.integers(1, 21, 3000)]
    cell = np.repeat(np.arange(len(cells)), [len(values) for values in cells])
    correlation = estimate_serial_correlation(np.concatenate(cells), cell)
    assert design_effect(np.array([4, 8, 80]), correlation) == pytest.approx([2.8, 2.8, 2.8], abs=0.15)


def test_design_effect_by_hand():
    correlation = np.array([0.5, 0.3, 0.1] + [0.0] * (LAGS - 3))
    effect = design_effect(np.array([0, 1, 2, 3, 4, 500]), correlation)
    assert effect == pytest.approx([1.0, 1.0, 2.0, 2.6, 2.8, 2.8])


def test_design_effect_lies_between_one_and_all():
    alike = np.full(LAGS, 0.99)
    n = np.arange(200)
    effect = design_effect(n, alike)
    assert (effect >= 1).all()
    assert (effect <= np.maximum(n, 1)).all()
    assert np.array_equal(design_effect(n, np.zeros(LAGS)), np.ones(200))
    assert design_effect(n.reshape(20, 10), alike).shape == (20, 10)


def test_half_of_the_leads_keeps_half_of_the_neighbours():
    """Leads sent twice, and a random half of them: their mean scatters by the half's own design effect."""
    rng = np.random.default_rng(6)
    n = 400
    leads = bursts(rng, 8000, n, 2, 1.0)[:, :, 0]
    half = rng.random(leads.shape) < 0.5
    means = np.where(half, leads, 0).sum(axis=1) / half.sum(axis=1)
    effect = design_effect(np.array([n]), expected_correlation(2, 1.0))
    assert means.var() * n / 2 == pytest.approx(half_design_effect(effect)[0], rel=0.06)
    assert whole_design_effect(half_design_effect(effect)) == pytest.approx(effect)


def test_order_of_cells_is_irrelevant():
    rng = np.random.default_rng(7)
    sizes = rng.integers(1, 40, 80)
    parts = [bursts(rng, 1, n, 3, 0.5)[0] for n in sizes]
    there = estimate_serial_correlation(np.concatenate(parts), np.repeat(np.arange(80), sizes))
    back = estimate_serial_correlation(np.concatenate(parts[::-1]), np.repeat(np.arange(80) * 7 + 3, sizes[::-1]))
    assert there == pytest.approx(back, abs=1e-12)
    assert there[0] > 0.1


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((0, 1)),
        np.ones((1, 1)),
        np.ones((50, 2)),
        np.arange(3.0)[:, None],
        np.tile([[0.0], [1.0]], (30, 1)),
        np.array([[1e9], [0.0], [0.0], [0.0]]),
        np.full((9, 1), 0.1),
    ],
    ids=["none", "one", "equal", "three", "alternating", "outlier", "rounding"],
)
@pytest.mark.parametrize("cells", [1, 5, 1000])
def test_degenerate_leads_are_not_alike(values, cells):
    """No lead, one lead, equal leads, cells of one lead: no likeness, no warning, no NaN."""
    correlation = estimate_serial_correlation(values, np.sort(np.arange(len(values)) % cells))
    assert correlation.shape == (LAGS,)
    assert np.isfinite(correlation).all()
    assert design_effect(np.array([10]), correlation)[0] < 1.2


def test_a_sample_passes_nobody_over():
    """One client with nearly all leads, or very many clients: about as many as asked for, in order, from all."""
    cell = np.repeat(np.arange(6), [40_000, 30, 25, 20_000, 1, 40])
    chosen = sample_of_neighbours(cell, 10_000)
    per_cell = np.bincount(cell[chosen], minlength=6)
    assert 9_990 <= len(chosen) <= 10_000
    assert per_cell[[1, 2, 4, 5]].tolist() == [30, 25, 1, 40]
    assert per_cell[0] == per_cell[3]
    assert (np.diff(chosen) > 0).all()
    many = np.repeat(np.arange(5_000), 30)
    taken = np.bincount(many[sample_of_neighbours(many, 10_000)], minlength=5_000)
    assert set(taken.tolist()) == {0, 12}
    assert 10_000 <= taken.sum() <= 15_000
    assert sample_of_neighbours(many[:60], 10_000).tolist() == list(range(60))
