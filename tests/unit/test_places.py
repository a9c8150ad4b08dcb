"""Rows are found by the hash of their id as a dictionary would find them."""

import numpy as np
import pytest

from worker.reading import _Places

ENDS = [-(2**63), -(2**63) + 1, -1, 0, 1, 2**63 - 2, 2**63 - 1]


@pytest.mark.parametrize("n", [0, 1, 2, 3, 50, 5000])
@pytest.mark.parametrize("spread", [2**3, 2**40, 2**63 - 1])  # all in one place, and evenly
def test_each_hash_has_its_row(n, spread):
    rng = np.random.default_rng(n)
    hashes = np.concatenate([rng.integers(-spread, spread, n), ENDS[: n and None]]).astype(np.int64)
    clients = rng.integers(0, 9, len(hashes))
    kept = np.flatnonzero(rng.random(len(hashes)) < 0.8)
    # of several rows the last client's
    known = {}
    for row in kept[np.argsort(clients[kept], kind="stable")].tolist():
        known[int(hashes[row])] = row
    asked = np.concatenate([hashes, hashes + 1, rng.integers(-spread, spread, 100), ENDS]).astype(np.int64)
    places = _Places.of(clients, hashes, kept)
    assert places.find(asked).tolist() == [known.get(int(hash_), -1) for hash_ in asked]
    moved = rng.permutation(len(hashes)).astype(np.int32)
    moved[::5] = -1
    expected = [int(moved[known[int(hash_)]]) if int(hash_) in known else -1 for hash_ in asked]
    assert places.moved(moved).find(asked).tolist() == expected
