"""Scores of probabilities against scikit-learn's, whose import the nightly run is spared."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from worker.statistics.probability_scores import area_under_curve, calibration_slope, log_loss


def draw(seed, n, digits=None, bold=1.0, level=0.0):
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(level, 1.5, n)
    p = 1 / (1 + np.exp(-bold * log_odds))
    happened = rng.random(n) < 1 / (1 + np.exp(-log_odds))
    happened[:2] = True, False
    return np.clip(p if digits is None else np.round(p, digits), 1e-9, 1 - 1e-9), happened


def sklearn_slope(p, happened):
    log_odds = np.log(p / (1 - p))[:, None]
    fitted = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-14, max_iter=10_000)
    return float(fitted.fit(log_odds, happened).coef_[0, 0])


@given(st.integers(0, 10_000), st.integers(2, 300), st.sampled_from([None, 1, 2]))
@settings(max_examples=100, deadline=None)
def test_log_loss_and_ranking_are_scikit_learns_with_and_without_ties(seed, n, digits):
    p, happened = draw(seed, n, digits)
    assert log_loss(p, happened) == pytest.approx(sklearn_log_loss(happened, p, labels=[False, True]), abs=1e-9)
    assert area_under_curve(p, happened) == pytest.approx(roc_auc_score(happened, p), abs=1e-9)


@pytest.mark.parametrize(
    ("n", "bold", "level"), [(60, 1.0, 0.0), (500, 0.2, -2.0), (2000, 5.0, -4.0), (20_000, 1.0, -5.0), (300, 1e-3, 3.0)]
)
@pytest.mark.parametrize("seed", range(3))
def test_the_slope_is_scikit_learns_without_a_penalty(seed, n, bold, level):
    p, happened = draw(seed, n, bold=bold, level=level)
    assert calibration_slope(p, happened) == pytest.approx(sklearn_slope(p, happened), rel=1e-9)


def test_the_slope_of_few_and_extreme_probabilities_is_found_from_afar():
    """A full Newton step from nought would overshoot here."""
    p = np.array([1e-9] * 400 + [0.5] * 3 + [1 - 1e-9] * 2)
    happened = np.zeros(len(p), dtype=bool)
    happened[[0, 400, 403]] = True
    log_odds = np.log(p / (1 - p))
    slope = calibration_slope(p, happened)
    assert np.isfinite(slope)
    # at the best slope and level the residuals are nought, and at right angles to the log odds
    level = np.linspace(-20, 20, 400_001)
    rates = [(1 / (1 + np.exp(-(level + slope * value))), int((log_odds == value).sum())) for value in set(log_odds)]
    surplus = sum(rate * count for rate, count in rates) - happened.sum()
    best = level[np.argmin(np.abs(surplus))]
    fitted = 1 / (1 + np.exp(-(best + slope * log_odds)))
    assert fitted.sum() == pytest.approx(3, abs=1e-3)
    assert log_odds @ (happened - fitted) == pytest.approx(0, abs=0.02)


def test_where_no_finite_slope_fits_best_there_is_none():
    assert np.isnan(calibration_slope(np.full(9, 0.3), np.arange(9) < 3))
    assert np.isnan(calibration_slope(np.array([0.2, 0.3, 0.8]), np.array([False, False, True])))
    assert np.isnan(calibration_slope(np.array([0.2, 0.3, 0.8]), np.array([True, False, False])))
