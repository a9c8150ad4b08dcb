"""Sums by level and by pairs of levels, against the design matrix written out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.statistics import level_sums
from worker.statistics.hazard import Exposure
from worker.statistics.hazard_rows import Rows


def exposure_of(features, periods, rng):
    n = len(features)
    entry = rng.choice([0.0, 3.3, 400.0], n)
    return Exposure(
        entry, entry + rng.gamma(1.0, 40.0, n), rng.integers(0, 3, n), features, rng.integers(0, 5, n), periods
    )


@given(st.integers(0, 10_000), st.lists(st.integers(1, 30), max_size=6), st.integers(1, 4), st.integers(1, 400))
@settings(max_examples=60, deadline=None)
def test_sums_are_those_of_the_design_matrix(seed, sizes, n_periods, n):
    rng = np.random.default_rng(seed)
    features = np.stack([rng.integers(0, size, n) for size in sizes], axis=1) if sizes else np.zeros((n, 0), np.uint8)
    periods = rng.integers(0, n_periods, n)
    design = np.concatenate(
        [np.eye(size)[codes] for size, codes in zip((n_periods, *sizes), (periods, *features.T), strict=True)], axis=1
    )
    rows = Rows.of(exposure_of(features.astype(np.uint8), periods, rng), (n_periods, *sizes))
    weights, effects = rng.gamma(1.0, 1.0, n), rng.normal(0, 0.3, design.shape[1])
    assert np.concatenate(rows.factors(effects)) == pytest.approx(np.exp(design @ effects))
    assert rows.sum_by_level([weights]) == pytest.approx(design.T @ weights)
    assert rows.information([weights]) == pytest.approx((design.T * weights) @ design)
    spans = rows.blocks[0].spans
    by_level = np.stack([spans.days(weights * column)[:, 0] for column in design.T])
    assert rows.days_by_level([weights]) == pytest.approx(by_level, abs=1e-6)


def test_blocks_add_up(monkeypatch):
    rng = np.random.default_rng(1)
    features = rng.integers(0, 40, (1000, 4)).astype(np.uint8)
    data = exposure_of(features, rng.integers(0, 3, 1000), rng)
    whole = Rows.of(data, (3, *[40] * 4))
    assert len(whole.levels.packs) > 1
    monkeypatch.setattr(level_sums, "BLOCK_ROWS", 170)
    cut = Rows.of(data, (3, *[40] * 4))
    assert len(cut.blocks) == 6
    hazard = rng.gamma(1.0, 0.01, 31)
    for sums in (
        lambda rows: rows.sum_by_level(rows.expected(hazard, rows.ones())),
        lambda rows: rows.sum_by_client(rows.expected(hazard, rows.ones())),
        lambda rows: rows.information(rows.expected(hazard, rows.ones())),
        lambda rows: rows.days_by_level(rows.ones()),
        lambda rows: np.concatenate(rows.conversions()),
    ):
        assert sums(cut) == pytest.approx(sums(whole))


def test_no_rows_are_no_sums():
    rows = Rows.of(exposure_of(np.zeros((0, 2), np.uint8), np.zeros(0, np.int64), np.random.default_rng(1)), (2, 3, 4))
    assert rows.sum_by_level([]).tolist() == [0.0] * 9
    assert rows.information([]).tolist() == np.zeros((9, 9)).tolist()
