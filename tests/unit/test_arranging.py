"""Whole columns at a time and lead by lead, the obvious way, come to the same; also where rows are absurd."""

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lead_rows import AS_OF, CLIENT_IDS, action, arranged, clients, lead, rows_of
from test_reading import ABSURD_LEADS, STAMPS

from worker.actions import TOUCHES
from worker.arranging import arrange
from worker.contacts import OWN_INSERT
from worker.histories import ONE_CONTACT, observe, parse_history
from worker.lead_ids import UuidIds, half_by_id, order_by_client_and_id, text_ids
from worker.leads import FIRST_LEAD, UNDATED
from worker.simulate import company_world
from worker.vocabulary import ACTION_INSERT, action_code, outcome_code, tag_code, tone_code, urgency_code

HISTORIES = {"urgency": (16, 3, urgency_code), "tone": (17, 4, tone_code)}


def usable(instant):
    return None if instant is None or instant == UNDATED or instant < FIRST_LEAD else instant


def contacts_of(row, inserts):
    """Every stamp that tells of a contact, those of one submission merged."""
    stamps = [stamp for column in (16, 17, 18) for stamp, _ in parse_history(row[column]) if stamp is not None]
    stamps += inserts[1:]
    epoch = re.match(r"^lead_(\d{12,14})_", row[0], flags=re.ASCII)
    stamps += [int(epoch[1]) * 1000] if epoch and int(epoch[1]) * 1000 >= FIRST_LEAD else []
    stamps += [usable(row[2])] if usable(row[2]) is not None else []
    if inserts and not (stamps and 0 <= inserts[0] - min(stamps) <= OWN_INSERT):
        stamps.append(inserts[0])
    contacts = []
    for stamp in sorted(stamps):
        if not contacts or stamp - contacts[-1] > ONE_CONTACT:
            contacts.append(stamp)
    return contacts


def seen(history, column, code, first, last):
    found = []
    observe(lambda time, value: found.append((time, code(value))), parse_history(history), column, first, last)
    return [found[i] for i in sorted(range(len(found)), key=lambda i: (found[i][0], i))]


def actions_of(rows):
    """A lead's actions in their turn, each once."""
    found = {}
    for _, time, _, kind, tag, converted, given_reason in rows:
        if usable(time) is None:
            continue
        reason = (given_reason and given_reason.strip()) or None
        k, t, o, c = action_code(kind), tag_code(tag), outcome_code(tag), -1 if converted is None else int(converted)
        part = arranged(
            [lead("x", None)], [action("x", kind, time, tag=tag, converted=converted, reason=reason)]
        ).actions
        won = part.deeds.winning_by_tag[0] or part.deeds.winning_by_outcome[0]
        turn = 2 if part.deeds.reverting[0] else int(won)
        found[time, turn, k, t, o, c, reason or ""] = (time, k, t, o, c, reason, k in TOUCHES)
    return [found[key] for key in sorted(found)]


def assert_as_lead_by_lead(about, rows, action_rows):
    leads = arrange(about, rows, action_rows)
    ordinal = {client_id: i for i, client_id in enumerate(about.ids)}
    rows = sorted((row for row in rows if row[1] in ordinal), key=lambda row: (ordinal[row[1]], row[0]))
    assert leads.id.tolist() == [row[0] for row in rows]
    assert leads.client.tolist() == [ordinal[row[1]] for row in rows]
    for i, row in enumerate(rows):
        mine = [a for a in action_rows or () if a[0] == row[0]]
        inserts = [held[0] for held in actions_of(mine) if held[1] == ACTION_INSERT]
        contacts = contacts_of(row, inserts)
        first = contacts[0] if contacts else UNDATED
        last = usable(row[2]) if usable(row[2]) is not None else first
        assert leads.arrival[i] == first
        assert leads.contacts.time[leads.contacts.lead == i].tolist() == contacts
        changes = [stamp for stamp in (usable(row[2]), usable(row[13])) if stamp is not None]
        assert leads.last_change[i] == max(changes, default=first)
        for name, (history, column, code) in HISTORIES.items():
            o = getattr(leads, name)
            k = o.lead == i
            assert list(zip(o.time[k].tolist(), o.value[k].astype(int).tolist(), strict=True)) == seen(
                row[history], row[column], code, first, last
            )
        if leads.actions is not None:
            a, deeds = leads.actions, leads.actions.deeds
            k = np.flatnonzero(a.lead == i)
            tables = (deeds.kind, deeds.tag, deeds.outcome, deeds.converted)
            columns = (a.time[k], *(of_deed[a.deed[k]] for of_deed in tables))
            touched = deeds.touch[a.deed[k]].tolist()
            held = list(zip(*(column.tolist() for column in columns), map(a.reason, k), touched, strict=True))
            assert held == actions_of(mine)


@pytest.mark.parametrize("seed", range(3))
def test_a_simulated_world_is_arranged_as_lead_by_lead(seed):
    about, rows, actions = rows_of(company_world(np.random.default_rng(seed), AS_OF, 4, 120))
    assert len(rows) > 200
    assert_as_lead_by_lead(about, rows, actions)
    assert_as_lead_by_lead(about, rows, None)


BASE = 1_740_000_000_000_000
NEAR = st.integers(0, 40).map(lambda i: BASE + i * ONE_CONTACT // 3)  # chains of stamps that merge, or do not
ACTS = st.builds(
    action,
    st.sampled_from(["a", "b", "lead_1740000000500_x"]),
    st.sampled_from(["insert", "insert", "tag", "outcome_update", "revert", "note_added"]),
    st.one_of(NEAR, st.sampled_from(STAMPS)),
    tag=st.sampled_from([None, "Converted", "Active", "client_closed"]),
    converted=st.sampled_from([None, True, False]),
    reason=st.sampled_from([None, " ", "why", "Autre: x"]),
)
ROWS = st.tuples(
    *(
        st.builds(
            lead, st.just(name), st.one_of(NEAR, st.sampled_from(STAMPS)), urgency=st.sampled_from(["High", None])
        )
        for name in ("a", "b", "lead_1740000000500_x")
    )
)


@given(ROWS, st.lists(ACTS, max_size=10))
@settings(max_examples=200, deadline=None)
def test_contacts_and_actions_come_out_as_lead_by_lead(rows, actions):
    assert_as_lead_by_lead(clients(), list(rows), actions)


@given(ABSURD_LEADS)
@settings(max_examples=100, deadline=None)
def test_absurd_rows_come_out_as_lead_by_lead(row):
    assert_as_lead_by_lead(clients(2), [row, lead("other", BASE, CLIENT_IDS[0])], [])


UUIDS = [f"{a:08x}-0000-4000-8000-{b:012x}" for a, b in [(7, 1), (7, 0), (0, 3), (2**32 - 1, 2), (0, 2**48 - 1)]]


def test_uuids_are_in_the_same_order_and_half_as_their_texts():
    raw = UuidIds(np.frombuffer(bytes.fromhex("".join(UUIDS).replace("-", "")), dtype=np.uint8).reshape(-1, 16))
    assert raw.tolist() == UUIDS
    assert [raw[i] for i in range(len(raw))] == UUIDS
    assert raw[np.array([2, 0])].tolist() == [UUIDS[2], UUIDS[0]]
    texts, client = text_ids(UUIDS), np.array([1, 1, 0, 0, 1])
    assert half_by_id(raw).tolist() == half_by_id(texts).tolist()
    order = order_by_client_and_id(client, raw)
    assert order.tolist() == order_by_client_and_id(client, texts).tolist()
    assert all(client[a] <= client[b] for a, b in pairwise(order))


def test_halves_of_numbered_ids_are_halves():
    """Ids that only count, as in small databases, fall into halves that are neither alternate nor one-sided."""
    half = half_by_id(text_ids([f"00000001-0000-4000-8000-{i:012d}" for i in range(4000)]))
    assert 1800 < half.sum() < 2200
    together = (half[1:] == half[:-1]).mean()
    assert 0.4 < together < 0.6


def test_no_rows_are_no_leads():
    leads = arrange(clients(), [], [])
    assert len(leads) == 0
    assert leads.half().tolist() == []
