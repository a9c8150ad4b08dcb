"""
How much a fit learns from: which clients where there are very many, and how far back where there are enough.

A prior learned from 5,000 clients cannot be told from one learned from all of them, nor can a conversion model learned
from 2,000, or from fewer who have 200,000 leads together, and reading all of them over months or years would take
memory that grows with the table. Those with the lowest hashes of their ids are taken: a fixed sample, which shards and
executors do not change, and from day to day nearly the same.

Past periods stand in for clients that are not there: a month of thirty clients says little of how clients change, one
of several thousand says it all. So the more clients are active, the fewer past periods are learned from, and read.
"""

import zlib

import numpy as np

from worker.leads import Clients, Leads
from worker.statistics import BoolArray, IntArray

LEARN_CLIENTS = 5_000  # by whoever learns how clients differ and change
FEWEST_CLIENTS = 1_000  # learned from however many leads they have: how clients differ, only clients can tell
LEARN_PAIRS = 2_500  # pairs of windows; with more of them confidence is not visibly truer (tests/calibration)
MOST_PAST_PERIODS = 6


def past_periods(active: int) -> int:
    """Find how many past periods to learn from beside the present one where so many clients had leads in it."""
    needed = -(-LEARN_PAIRS // active) - 1 if active else MOST_PAST_PERIODS
    return min(needed, MOST_PAST_PERIODS)


def of_sample(active: int, clients: int) -> int:
    """Tell how many of the active clients a sample of all of them has, more or less."""
    return active if clients <= LEARN_CLIENTS else active * LEARN_CLIENTS // clients


def hashes(clients: Clients) -> IntArray:
    """Give the clients' hashes, shape (clients,), the same on every machine; they also decide a client's shard."""
    return np.fromiter((zlib.crc32(str(i).encode()) for i in clients.ids), dtype=np.int64, count=len(clients))


def sample_limit(clients: Clients, most: int) -> int | None:
    """Find the hash up to which pooled clients are learned from, `most` of them; None where all of them are."""
    pooled = hashes(clients)[clients.pooled]
    return None if len(pooled) <= most else int(np.partition(pooled, most - 1)[most - 1])


def limit_of_enough(leads: Leads, limit: int | None, enough: int) -> int | None:
    """Lower a limit to the first clients who have `enough` leads together, but not below FEWEST_CLIENTS of them."""
    own = hashes(leads.clients)
    sampled = np.flatnonzero(learned_from(leads.clients, limit))
    sampled = sampled[np.argsort(own[sampled], kind="stable")]
    of_client = np.bincount(leads.client, minlength=len(leads.clients))[sampled]
    needed = max(FEWEST_CLIENTS, int(np.searchsorted(np.cumsum(of_client), enough)) + 1)
    return limit if needed >= len(sampled) else int(own[sampled[needed - 1]])


def learned_from(clients: Clients, limit: int | None) -> BoolArray:
    """Mark the clients that a fit with this limit learns from, shape (clients,)."""
    marked: BoolArray = clients.pooled if limit is None else clients.pooled & (hashes(clients) <= limit)
    return marked
