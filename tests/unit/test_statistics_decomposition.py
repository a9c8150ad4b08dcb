"""The parts of a Brier score add up to it, and each says what its name says."""

from dataclasses import astuple

import numpy as np
import pytest

from worker.statistics.decomposition import decompose_brier


def brier(p, happened):
    return float(np.mean((p - happened) ** 2))


@pytest.mark.parametrize("seed", range(5))
def test_the_parts_add_up_to_the_score_and_none_is_negative(seed):
    rng = np.random.default_rng(seed)
    p = np.round(rng.beta(1, 4, 400), 2)
    happened = rng.random(400) < p**2
    found = decompose_brier(p, happened)
    assert found.miscalibration - found.discrimination + found.uncertainty == pytest.approx(brier(p, happened))
    assert min(astuple(found)) >= -1e-12


def test_two_levels_by_hand():
    """Of four said at .5 one came true, of two said at .9 both: corrected they are .25 and 1."""
    p = np.array([0.5] * 4 + [0.9] * 2)
    happened = np.array([True, False, False, False, True, True])
    found = decompose_brier(p, happened)
    corrected = brier(np.array([0.25] * 4 + [1.0] * 2), happened)
    assert found.uncertainty == pytest.approx(0.25)
    assert found.miscalibration == pytest.approx((4 * 0.25 + 2 * 0.01) / 6 - corrected)
    assert found.discrimination == pytest.approx(0.25 - corrected)


def test_the_base_rate_errs_not_and_knows_nothing():
    happened = np.arange(100) < 20
    found = decompose_brier(np.full(100, 0.2), happened)
    assert astuple(found) == pytest.approx((0.0, 0.0, 0.16))


def test_true_probabilities_hardly_err():
    rng = np.random.default_rng(7)
    p = rng.beta(2, 5, 20_000)
    found = decompose_brier(p, rng.random(20_000) < p)
    assert found.miscalibration < 0.002
    assert found.discrimination == pytest.approx(np.var(p), rel=0.1)
    bold = decompose_brier(np.clip(2 * p, 0, 1), rng.random(20_000) < p)
    assert bold.miscalibration > 10 * found.miscalibration


def test_nothing_to_score_is_unknown():
    assert np.isnan(astuple(decompose_brier(np.zeros(0), np.zeros(0, dtype=bool)))).all()
