"""Distinct rows are found whatever their order, and give back every row to the bit."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from worker.statistics.change_likelihood import _of_counts, share_change_log_likelihood
from worker.statistics.change_prior import change_grid
from worker.statistics.distinct import distinct_rows
from worker.statistics.shares import estimate_shares, fit_shares_prior

ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.sampled_from([0.0, 0.5, 1.25])), max_size=20)


@given(ROWS)
def test_every_row_is_one_of_the_distinct_ones(rows):
    table = np.array(rows, dtype=np.float64).reshape(-1, 3)
    first, which = distinct_rows(table[:, 0], table[:, 1:])
    assert (table[first][which] == table).all()
    assert len(first) == len(set(rows))
    assert len({tuple(row) for row in table[first].tolist()}) == len(first)


def test_a_likelihood_is_the_same_worked_out_for_each_row():
    rng = np.random.default_rng(3)
    n = rng.integers(0, 6, (2, 300))
    k = rng.binomial(n, 0.4)
    grid = change_grid(0.05, 1.0)
    found = share_change_log_likelihood(k[0], n[0], k[1], n[1], grid, level_prior=(1.3, 2.1))
    assert len(distinct_rows(k[0], n[0], k[1], n[1])[0]) < 250
    counts = np.stack([k[0], n[0] - k[0], k[1], n[1] - k[1]], axis=1).astype(np.float64)
    assert (found == _of_counts(counts, grid, (1.3, 2.1))).all()


def test_shares_are_the_same_estimated_alone():
    rng = np.random.default_rng(4)
    counts = rng.multinomial(2, [0.6, 0.3, 0.1], 60).astype(np.float64)
    prior = fit_shares_prior(counts, 10.0)
    found = estimate_shares(counts, prior, 0.1, 0.8, np.random.default_rng(5))
    for i in (0, 7, 59):
        alone = estimate_shares(counts[[i]], prior, 0.1, 0.8, np.random.default_rng(5))
        assert (alone.estimate[0] == found.estimate[i]).all()
        assert (alone.within[0], alone.largest_probability[0]) == (found.within[i], found.largest_probability[i])
