"""The order of rows by several keys is that of np.lexsort, ties and all."""

import numpy as np
import pytest

from worker import ordering
from worker.ordering import keep_in_place, looked_up, order_by, put_in_order, rows_of


@pytest.mark.parametrize("n", [0, 1, 2, 7, 1000])
@pytest.mark.parametrize("many", [2, 5, 10**6])
@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint64])
def test_it_is_that_of_lexsort(n, many, kind):
    rng = np.random.default_rng(n + many)
    first, second, third = (rng.integers(0, many, n).astype(k) for k in (np.int32, kind, np.int64))
    sorted_second = np.sort(second)
    for keys in ((first, second), (first, sorted_second), (first, second, third), (first, sorted_second, third)):
        assert order_by(*keys).tolist() == np.lexsort(keys[::-1]).tolist()


def test_instants_and_ids_from_end_to_end():
    first = np.array([2**31 - 1, 0, 0, 5, 5], dtype=np.int64)
    for second in (
        np.array([-(2**63), 2**63 - 1, -1, 0, 0], dtype=np.int64),
        np.array([0, 2**64 - 1, 2**63, 3, 3], dtype=np.uint64),
    ):
        third = np.array([0, 0, 0, 2, 1])
        assert order_by(first, second, third).tolist() == np.lexsort((third, second, first)).tolist()


@pytest.mark.parametrize("n", [0, 1, 5, 23])
def test_rows_are_put_in_an_order(n, monkeypatch):
    monkeypatch.setattr(ordering, "BLOCK", 5)
    rng = np.random.default_rng(n)
    column = rng.integers(0, 2**60, n)
    order, before = rng.permutation(n).astype(np.int32), column.copy()
    put_in_order(column, order)
    assert column.tolist() == before[order].tolist()


@pytest.mark.parametrize("n", [0, 1, 5, 23])
def test_rows_are_looked_up_and_kept(n, monkeypatch):
    monkeypatch.setattr(ordering, "BLOCK", 5)
    rng = np.random.default_rng(n)
    values, places, kept = rng.integers(0, 2**60, 7), rng.integers(0, 7, n).astype(np.uint8), rng.random(n) < 0.6
    column = looked_up(values, places)
    expected = values[places]
    assert column.tolist() == expected.tolist()
    assert keep_in_place(column, kept).tolist() == expected[kept].tolist()


@pytest.mark.parametrize("a_search", [0, 10**9])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.9, 1.0])
def test_the_rows_of_a_chosen_few(share, a_search, monkeypatch):
    monkeypatch.setattr(ordering, "ROWS_A_SEARCH", a_search)
    rng = np.random.default_rng(3)
    column = np.sort(rng.integers(0, 50, 300)).astype(np.int32)
    chosen = np.flatnonzero(np.repeat(rng.random(10), 5) < share)
    places, number = rows_of(chosen, 50)(column)
    assert places.tolist() == np.flatnonzero(np.isin(column, chosen)).tolist()
    assert chosen[number].tolist() == column[places].tolist()
