"""
Which clients a fit learns from where there are very many: the same ones however the work is split, and wherever.

A prior learned from 5,000 clients cannot be told from one learned from all of them, and reading all of them over the
months that the trends go back would take memory that grows with the table. Those with the lowest hashes of their ids
are taken: a fixed sample, which shards and executors do not change, and from day to day nearly the same.
"""

import zlib

import numpy as np

from worker.leads import Clients
from worker.statistics import BoolArray, IntArray

LEARN_CLIENTS = 5_000


def hashes(clients: Clients) -> IntArray:
    """Give the clients' hashes, shape (clients,), the same on every machine; they also decide a client's shard."""
    return np.fromiter((zlib.crc32(str(i).encode()) for i in clients.ids), dtype=np.int64, count=len(clients))


def sample_limit(clients: Clients) -> int | None:
    """Find the hash up to which pooled clients are learned from; None where all of them are."""
    pooled = hashes(clients)[clients.pooled]
    return None if len(pooled) <= LEARN_CLIENTS else int(np.partition(pooled, LEARN_CLIENTS - 1)[LEARN_CLIENTS - 1])


def learned_from(clients: Clients, limit: int | None) -> BoolArray:
    """Mark the clients that a fit with this limit learns from, shape (clients,)."""
    marked: BoolArray = clients.pooled if limit is None else clients.pooled & (hashes(clients) <= limit)
    return marked
