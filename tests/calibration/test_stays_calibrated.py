"""
Of the conversions said to stay with probability 0.9, do nine in ten stay? Companies drawn with known rates, seeded.

Each conversion's confidence is the one of a run over the whole history, resting on what was known when its week
began; what became of it is resolved by the same rows, as the review of past claims does it.
"""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from worker.jobs import conversion_events
from worker.leads import Clients, to_microseconds
from worker.lifecycle import resolve_stays
from worker.reading import arrange
from worker.statistics.calibration import reliability

AS_OF = datetime(2025, 3, 31, tzinfo=UTC)
WEEKS, LATE = 104, 15  # of history; from the 15th week on some conversions have been seen to the end
SETTLED = WEEKS // 2 + 13 + 13  # of the world that changes half-way: seen to the end, and half of what is remembered
N_CLIENTS = 1000
SECOND = 1_000_000

RATES = {  # of the clients' shares that go back within 90 days
    "few, all alike": lambda _: np.full(N_CLIENTS, 0.05),
    "many, all alike": lambda _: np.full(N_CLIENTS, 0.4),
    "none": lambda _: np.zeros(N_CLIENTS),
    "clients differ": lambda rng: rng.beta(2, 18, N_CLIENTS),
    "clients differ much": lambda rng: rng.beta(0.5, 1.5, N_CLIENTS),
    "two kinds of clients": lambda rng: np.where(rng.random(N_CLIENTS) < 0.5, 0.02, 0.4),
    "triples half-way": lambda _: np.full(N_CLIENTS, 0.1),
}


def company(world, seed):
    """Draw 2 years of conversions: half of those that go back do so within days, and some much later."""
    rng = np.random.default_rng(seed)
    rate = RATES[world](rng)
    n = np.minimum(200, 1 + (4 * rng.pareto(1.2, N_CLIENTS)).astype(int))  # most clients have few
    owner = np.repeat(np.arange(N_CLIENTS), n)
    converted = rng.uniform(-WEEKS * 7.0, 0.0, len(owner))  # days before AS_OF
    gone = rate[owner] * np.where((world == "triples half-way") & (converted > -WEEKS * 3.5), 3.0, 1.0)
    within_days, any_day = rng.exponential(6.0, len(owner)), rng.uniform(0.0, 90.0, len(owner))
    soon = np.minimum(np.where(rng.random(len(owner)) < 0.5, within_days, any_day), 89.9)
    later = np.where(rng.random(len(owner)) < 0.05, rng.uniform(91.0, 300.0, len(owner)), np.inf)
    return owner, converted, converted + np.where(rng.random(len(owner)) < gone, soon, later)


def as_leads(owner, converted, reverted):
    """Write the company's rows as the database would give them."""
    end = to_microseconds(AS_OF)
    ids = tuple(f"00000000-0000-4000-8000-{number:012d}" for number in range(N_CLIENTS))
    rows, actions = [], []
    starts = end + (converted * 86_400 * SECOND).astype(np.int64)
    for k, (client, start, back) in enumerate(zip(owner.tolist(), starts.tolist(), reverted.tolist(), strict=True)):
        lead, arrival = f"{k:06d}", start - 86_400 * SECOND
        tag = "Converted" if back >= 0 else "Active"
        rows.append((lead, ids[client], arrival, *(None,) * 5, "en", tag, *(False,) * 3, *(None,) * 7))
        actions.append((lead, start, "a", "tag", "Converted", True, None))
        if back < 0:
            actions.append((lead, end + int(back * 86_400 * SECOND), "b", "tag", "Active", False, "x"))
    clients = Clients(ids, (None,) * N_CLIENTS, (None,) * N_CLIENTS, np.ones(N_CLIENTS, dtype=bool))
    return arrange(clients, rows, actions)


def claims_of(leads):
    """Give the matured claims: when they were made (weeks since the history began), said, right, and whose they are."""
    model = conversion_events.fit(leads, AS_OF)
    found = conversion_events.analyse(leads, model, AS_OF, np.random.default_rng(0))
    matured = [f for f in found if f.event_type == "conversion" and f.created_at <= AS_OF - timedelta(days=90)]
    asked = [
        {"event_type": f.event_type, "client_id": f.client_id, "created_at": f.created_at, "claim_key": f.claim_key}
        for f in matured
    ]
    right = resolve_stays(leads, asked, AS_OF)
    assert None not in right
    week = np.array([WEEKS + (f.created_at - AS_OF).days // 7 for f in matured])
    client = np.array([leads.clients.ids.index(f.client_id) for f in matured])
    return week, np.array([f.claim.probability for f in matured]), np.array(right), client


@pytest.mark.parametrize("world", RATES)
def test_conversions_stay_as_often_as_said(world):
    week, said, right, client = claims_of(as_leads(*company(world, 1)))
    everything = reliability(said, right, cluster=client)
    later = reliability(said[week >= LATE], right[week >= LATE], cluster=client[week >= LATE])
    # A rate that triples overnight is seen by nobody before those it concerns have gone.
    gap, ece = (0.07, 0.07) if world == "triples half-way" else (0.03, 0.05)
    assert abs(everything.gap) <= gap
    assert abs(later.gap) <= gap, str(later)
    assert everything.ece <= ece
    assert later.ece <= ece, str(later)
    settled = week >= SETTLED
    assert abs(said[settled].mean() - right[settled].mean()) <= 0.05  # some hundreds of claims
    naive = reliability(np.full(len(right), 0.95), right)
    if world != "few, all alike":
        assert abs(naive.gap) > 0.03  # what the constant of the seed's example would be off by
        assert everything.brier < naive.brier
    if "differ" in world or "kinds" in world:
        assert later.skill > 0.005  # those who differ are told apart
