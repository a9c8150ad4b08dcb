"""The order of rows by several keys is that of np.lexsort, ties and all."""

import numpy as np
import pytest

from worker.ordering import order_by


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
