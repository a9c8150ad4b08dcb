"""From rows to arrays: when a lead arrived, what its histories say in whatever shape, and rows that are absurd."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lead_rows import AS_OF, CLIENT_IDS, action, arranged, days_before, history, lead

from worker.actions import Deeds
from worker.leads import FIRST_LEAD, UNDATED, to_microseconds
from worker.packing import POSTGRES_EPOCH, unpack_instants
from worker.reading import read_since
from worker.vocabulary import (
    ACTION_ARCHIVE,
    ACTION_INSERT,
    ACTION_NOTE,
    ACTION_REACTIVATE,
    TAG_ACTIVE,
    TAG_CONVERTED,
    TAG_HIGH_PRIORITY,
    TONES,
    URGENCY_HIGH,
    URGENCY_LOW,
)

END = to_microseconds(AS_OF)


def arrival(row, actions=()):
    return int(arranged([row], actions).arrival[0])


def test_arrival_is_the_earliest_sign_of_the_lead():
    first = days_before(20)
    entries = history(("Low", first), ("Low", days_before(5)))
    assert arrival(lead("a", days_before(5), urgency_history=entries)) == to_microseconds(first)
    assert arrival(lead("a", days_before(5)), [action("a", "insert", first)]) == to_microseconds(first)
    assert arrival(lead(f"lead_{to_microseconds(first) // 1000}_x9", days_before(5))) == to_microseconds(first)
    assert arrival(lead("a", first)) == to_microseconds(first)
    assert arrival(lead("a", None, urgency_history=entries)) == to_microseconds(first)


def test_only_inserts_date_the_arrival():
    assert arrival(lead("a", days_before(5)), [action("a", "note_added", days_before(20))]) == to_microseconds(
        days_before(5)
    )


@pytest.mark.parametrize("stamp", [None, 0, FIRST_LEAD - 1, UNDATED])
def test_what_is_no_date_dates_nothing(stamp):
    assert arrival(lead("a", stamp)) == UNDATED
    assert arrival(lead("a", days_before(5)), [action("a", "insert", stamp)]) == to_microseconds(days_before(5))
    leads = arranged([lead("a", days_before(5), outcome="client_closed", closed_at=stamp, updated=stamp)])
    assert leads.closed_at.tolist() == [UNDATED]
    assert leads.last_change.tolist() == [to_microseconds(days_before(5))]


def test_infinities_are_never_and_what_was_before_the_product_is_no_date():
    def unpacked(value):
        return unpack_instants(value.to_bytes(8, "big", signed=True)).tolist()

    assert unpacked(2**63 - 1) == [UNDATED]
    assert unpacked(-(2**63)) == [UNDATED]
    assert unpacked(-1) == [UNDATED]
    assert unpacked(0) == [POSTGRES_EPOCH]


def test_stamps_of_one_submission_are_one_contact():
    first = days_before(20)
    entries = history(("Low", first + timedelta(seconds=2)), ("Low", days_before(5)))
    row = lead(f"lead_{to_microseconds(first) // 1000}_x9", days_before(5), urgency_history=entries)
    leads = arranged([row], [action(row[0], "insert", first + timedelta(seconds=4))])
    assert leads.contacts.time.tolist() == [to_microseconds(first), to_microseconds(days_before(5))]


ENTRIES = [
    {"value": "Low", "timestamp": "2025-03-01T10:00:00.000Z"},
    {"value": "Élevée", "timestamp": "2025-03-20T10:00:00+00:00"},
]


@pytest.mark.parametrize("stored", [json.dumps(ENTRIES), json.dumps(json.dumps(ENTRIES))])
def test_histories_are_lists_or_strings_of_lists(stored):
    leads = arranged([lead("a", datetime(2025, 3, 20, 10, tzinfo=UTC), urgency="Élevée", urgency_history=stored)])
    early = to_microseconds(datetime(2025, 3, 10, tzinfo=UTC))
    assert leads.urgency.latest_before(early, 1, -1).tolist() == [URGENCY_LOW]
    assert leads.urgency.latest_before(END, 1, -1).tolist() == [URGENCY_HIGH]


def test_bare_values_place_only_the_first():
    row = lead(f"lead_{to_microseconds(days_before(20)) // 1000}_x", days_before(5), urgency="Medium",
               urgency_history='["Low", "High", "Medium"]')  # fmt: skip
    leads = arranged([row])
    assert leads.urgency.latest_before(to_microseconds(days_before(10)), 1, -1).tolist() == [URGENCY_LOW]
    assert leads.urgency.latest_before(END, 1, -1).tolist() == [1]


def test_a_null_column_beside_a_fresh_history_says_nothing():
    entries = history(("High", days_before(5)))
    leads = arranged([lead("a", days_before(5), urgency_history=entries)])
    assert leads.urgency.latest_before(END, 1, -1).tolist() == [URGENCY_HIGH]
    later = arranged([lead("a", days_before(2), urgency_history=entries)])
    assert later.urgency.latest_before(END, 1, -1).tolist() == [-1]


NONSENSE = (
    None, "", "[]", "null", "nonsense", "{", "3", "true", '{"value": "High"}', '"[oops"', '"\\"[]\\""',
    "[null, [], [[]]]",
    '[{"value": {"a": 1}, "timestamp": 7}, {"value": ["High"], "timestamp": null}, {"timestamp": "x"}, {}]',
    '[{"value": "a\\u0000b", "timestamp": "2025-03-01T10:00:00Z"}]',
    '"[{\\"value\\": \\"a\\\\u0000b\\", \\"timestamp\\": \\"2025-03-01T10:00:00Z\\"}]"',
    '[{"value": "\\ud800", "timestamp": "\\ud800"}]', "[" * 100_000, "[" * 500 + "]" * 500,
    '[{"value": 1e999, "timestamp": "9999-12-31T23:59:59-14:00"}, {"value": NaN, "timestamp": "0001-01-01"}]',
    '[{"value": ' + "9" * 5000 + ', "timestamp": "2090-01-01T00:00:00Z"}]',
)  # fmt: skip
TEXTS = (None, "", "ASAP!!", "🔥🔥", "N/A", "a\x00b", "é" * 1000, "High", "Urgent", "Converted", "client_closed")
NUMBERS = (None, 1.7, float("nan"), -3.0, float("inf"), 0.5, True)
STAMPS = (None, UNDATED, 0, -(10**15), to_microseconds(datetime(2090, 1, 1, tzinfo=UTC)), END - 10**9)
ABSURD_LEADS = st.builds(
    lead,
    st.sampled_from(["x", "🔥", "lead_99999999999999_z", "lead_0_z", "lead_1700000000000_", "y" * 5000]),
    st.sampled_from(STAMPS),
    st.just(CLIENT_IDS[1]),
    urgency=st.sampled_from(TEXTS),
    tone=st.sampled_from(TEXTS),
    confidence=st.sampled_from(NUMBERS),
    source=st.sampled_from(TEXTS),
    intent=st.sampled_from(TEXTS),
    language=st.sampled_from(TEXTS),
    tag=st.sampled_from(TEXTS),
    archived=st.sampled_from([None, True, False]),
    deleted=st.sampled_from([None, True, False]),
    updated=st.sampled_from(STAMPS),
    closed_at=st.sampled_from(STAMPS),
    outcome=st.sampled_from(TEXTS),
    urgency_history=st.sampled_from(NONSENSE),
    tone_history=st.sampled_from(NONSENSE),
    confidence_history=st.sampled_from(NONSENSE),
    no_sale_at=st.sampled_from(STAMPS),
)


@given(ABSURD_LEADS)
@settings(max_examples=150, deadline=None)
def test_no_row_is_too_absurd_to_arrange(row):
    actions = [
        action(row[0], kind, stamp, tag=row[9], converted=False) for kind in ("insert", "🔥") for stamp in STAMPS
    ]
    leads = arranged([row, lead("good", days_before(5), urgency="High")], actions, 2)
    mine = int(leads.client[leads.id == "good"][0])
    assert mine == 0
    assert leads.urgency.latest_before(END, 2, -1)[0] == URGENCY_HIGH
    for seen, allowed in ((leads.urgency, range(-1, 3)), (leads.tone, range(-1, len(TONES)))):
        assert set(seen.value.astype(int).tolist()) <= set(allowed)
    values = leads.confidence.value
    assert ((values >= 0) & (values <= 1) | np.isnan(values)).all()
    assert set(leads.state_at(END).tolist()) <= set(range(5))


def test_actions_are_in_order_of_lead_and_time_and_each_counts_once():
    rows = [lead("b", days_before(9)), lead("a", days_before(9))]
    when = days_before(4)
    actions = [
        action("b", "note_added", days_before(6), action_id="z"),
        action("a", "archive", when, action_id="2"),
        action("a", "reactivate", when, action_id="10"),
        action("a", "archive", when, action_id="3"),
        action("stranger", "archive", when),
        action("a", "insert", None),
        action("a", "insert", days_before(8), action_id=None),
    ]
    leads = arranged(rows, actions)
    assert leads.id.tolist() == ["a", "b"]
    assert leads.actions is not None
    assert leads.actions.lead.tolist() == [0, 0, 0, 1]
    kinds = leads.actions.deeds.kind[leads.actions.deed]
    assert kinds.tolist() == [ACTION_INSERT, ACTION_ARCHIVE, ACTION_REACTIVATE, ACTION_NOTE]
    assert leads.state_at(END).tolist() == [0, 0]
    renamed = [(*row[:2], f"{i}", *row[3:]) for i, row in enumerate(actions)]
    shuffled = arranged(rows[::-1], renamed[::-1])
    assert shuffled.actions is not None
    for name in ("lead", "time", "deed"):
        assert getattr(shuffled.actions, name).tolist() == getattr(leads.actions, name).tolist()
    for name in Deeds.__slots__:
        assert list(getattr(shuffled.actions.deeds, name)) == list(getattr(leads.actions.deeds, name))


def test_of_one_instant_a_conversion_comes_before_the_revert_that_undoes_it_and_after_any_other_tag():
    """As in a list that was imported by the day."""
    day = days_before(4)
    actions = [
        action("a", "tag", day, tag="Active", converted=False, reason="x", action_id="1"),
        action("a", "tag", day, tag="Converted", action_id="2"),
        action("a", "tag", day, tag="High Priority", action_id="3"),
    ]
    leads = arranged([lead("a", days_before(9))], actions)
    assert leads.actions is not None
    assert leads.actions.deeds.tag[leads.actions.deed].tolist() == [TAG_HIGH_PRIORITY, TAG_CONVERTED, TAG_ACTIVE]


def test_names_have_codes_in_their_own_order():
    leads = arranged([lead("a", days_before(9), source="web"), lead("b", days_before(9), source=" ads  x ")])
    assert leads.source_names == ("ads x", "web")
    assert leads.source.tolist() == [1, 0]


def test_an_empty_database_is_no_problem():
    leads = arranged([], [])
    assert len(leads) == 0
    assert leads.state_at(END).tolist() == []
    assert leads.half().tolist() == []


def test_a_look_back_reads_from_that_many_days_before():
    assert read_since(AS_OF, 60) == days_before(60)
    assert read_since(AS_OF, None) is None
    leads = arranged([lead("a", days_before(60)), lead("b", days_before(61)), lead("c", None), lead("d", 0)])
    assert leads.in_contact_since(days_before(60)).id.tolist() == ["a", "c", "d"]  # as the query reads them
