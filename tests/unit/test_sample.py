"""How far back a fit learns, the further the fewer clients are active; and from how many of very many clients."""

import zlib

import pytest
from lead_rows import CLIENT_IDS, arranged, days_before, lead

from worker import sample
from worker.sample import learned_from, limit_of_enough, of_sample, past_periods, sample_limit


@pytest.mark.parametrize("active", [1, 30, 400, 417, 600, 1_000, 2_499, 2_500, 100_000])
def test_no_fewer_and_no_more_past_periods_than_give_enough_pairs(active):
    past = past_periods(active)
    assert (1 + past) * active >= sample.LEARN_PAIRS or past == sample.MOST_PAST_PERIODS
    assert past == 0 or past * active < sample.LEARN_PAIRS


def test_where_nobody_is_active_the_whole_past_is_learned_from():
    assert past_periods(0) == sample.MOST_PAST_PERIODS


def test_a_sample_has_its_share_of_the_active_clients(monkeypatch):
    monkeypatch.setattr(sample, "LEARN_CLIENTS", 100)
    assert of_sample(60, 100) == 60
    assert of_sample(600, 1_000) == 60


def first_with_enough(leads, limit, enough, fewest):
    """Count client by client, in the order of the hashes: a slow twin of limit_of_enough."""
    known = [i for i, pooled in zip(leads.clients.ids, leads.clients.pooled, strict=True) if pooled]
    by_hash = sorted((zlib.crc32(i.encode()), i) for i in known)
    total = 0
    inside = [(number, i) for number, i in by_hash if limit is None or number <= limit]
    for place, (number, client_id) in enumerate(inside, start=1):
        total += sum(leads.clients.ids[owner] == client_id for owner in leads.client)
        if total >= enough and place >= fewest:
            return number if place < len(inside) else limit
    return limit


@pytest.mark.parametrize("enough", [1, 5, 8, 17, 29, 30, 1_000])
@pytest.mark.parametrize(("fewest", "most"), [(1, 9), (4, 9), (2, 5), (6, 5)])
def test_clients_with_leads_enough_are_enough_clients(enough, fewest, most, monkeypatch):
    monkeypatch.setattr(sample, "FEWEST_CLIENTS", fewest)
    rows = [lead(f"{c}-{k}", days_before(k + 1), CLIENT_IDS[c]) for c in range(9) for k in range((c * 5) % 9)]
    leads = arranged(rows, n_clients=9, pooled=[c != 3 for c in range(9)])
    limit = sample_limit(leads.clients, most)
    found = limit_of_enough(leads, limit, enough)
    assert found == first_with_enough(leads, limit, enough, fewest)
    learned = learned_from(leads.clients, found)
    assert min(fewest, most, 8) <= learned.sum() <= min(most, 8)


def test_of_nobody_everybody_is_learned_from():
    assert limit_of_enough(arranged([], n_clients=0), None, 1) is None
