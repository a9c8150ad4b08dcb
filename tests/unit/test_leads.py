"""Leads as arrays: what was known when, states as of an instant, and cutting leads into parts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lead_rows import AS_OF, CLIENT_IDS, action, arranged, days_before, history, lead

from worker.leads import (
    ARCHIVED,
    CONVERTED,
    DAY,
    DELETED,
    LOST,
    OPEN,
    STATE_NAMES,
    UNDATED,
    Windows,
    from_microseconds,
    to_microseconds,
)
from worker.vocabulary import TAG_FOLLOW_UP, TAG_NONE, URGENCY_HIGH, URGENCY_LOW

END = to_microseconds(AS_OF)


def at(days):
    return to_microseconds(days_before(days))


def states(rows, actions, *days):
    leads = arranged(rows, actions)
    assert all((leads.deleted_at(at(d)) == (leads.state_at(at(d)) == DELETED)).all() for d in days)
    return [STATE_NAMES[int(leads.state_at(at(d))[0])] for d in days]


def test_instants_survive_the_round_trip():
    assert from_microseconds(to_microseconds(AS_OF)) == AS_OF


def test_windows_are_half_open_and_adjacent():
    w = Windows.before(AS_OF)
    assert (w.end - w.middle, w.middle - w.start) == (30 * DAY, 30 * DAY)
    leads = arranged([lead("a", from_microseconds(w.middle)), lead("b", AS_OF), lead("c", from_microseconds(w.start))])
    assert leads.arrived(w.middle, w.end).tolist() == [True, False, False]
    assert leads.arrived(w.start, w.middle).tolist() == [False, False, True]


def test_a_value_is_known_strictly_after_it_was_written():
    leads = arranged([lead("a", days_before(5), urgency="High")])
    assert leads.urgency.latest_before(at(5), 1, -1).tolist() == [-1]
    assert leads.urgency.latest_before(at(5) + 1, 1, -1).tolist() == [URGENCY_HIGH]


def test_history_tells_what_a_later_contact_overwrote():
    entries = history(("Low", days_before(20)), ("High", days_before(5)))
    leads = arranged([lead("a", days_before(5), urgency="High", urgency_history=entries)])
    assert leads.urgency.latest_before(at(10), 1, -1).tolist() == [URGENCY_LOW]
    assert leads.urgency.latest_before(END, 1, -1).tolist() == [URGENCY_HIGH]
    assert leads.urgency.first_before(END, 1, -1).tolist() == [URGENCY_LOW]


def test_without_history_an_overwritten_column_is_unknown_before_the_contact():
    arrival = f"lead_{at(20) // 1000}_abc"
    leads = arranged([lead(arrival, days_before(5), urgency="High", intent="Consultation")])
    assert leads.arrival.tolist() == [at(20)]
    assert leads.urgency.latest_before(at(10), 1, -1).tolist() == [-1]
    assert leads.intent_at(at(10)).tolist() == [-1]
    assert leads.intent_at(END).tolist() == [0]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({}, OPEN),
        ({"tag": "Follow-Up"}, OPEN),
        ({"tag": "High Priority"}, OPEN),
        ({"tag": "Converti"}, CONVERTED),
        ({"outcome": "client_closed"}, CONVERTED),
        ({"outcome": "no_sale"}, LOST),
        ({"tag": "Non Qualifié"}, LOST),
        ({"tag": "Non Qualifié", "outcome": "client_closed"}, CONVERTED),
        ({"tag": "Converted", "archived": True}, ARCHIVED),
        ({"tag": "Archived"}, ARCHIVED),
        ({"tag": "Converted", "archived": True, "deleted": True}, DELETED),
        ({"tag": "Supprimé"}, DELETED),
    ],
)
@pytest.mark.parametrize("actions", [None, ()])
def test_states_rank_deleted_archived_converted_lost_open(columns, expected, actions):
    leads = arranged([lead("a", days_before(9), **columns)], actions)
    assert leads.state_at(END).tolist() == [expected]
    assert leads.deleted_at(END).tolist() == [expected == DELETED]


def test_a_tag_holds_from_its_action_on():
    rows = [lead("a", days_before(40), tag="Converted")]
    actions = [
        action("a", "tag", days_before(30), tag="Contacted"),
        action("a", "tag", days_before(20), tag="Not Qualified"),
        action("a", "tag", days_before(10), tag="Converted", converted=True),
    ]
    assert states(rows, actions, 35, 25, 15, 5) == ["open", "open", "lost", "converted"]


def test_a_false_conversion_outcome_on_other_rows_is_no_reversion():
    """One of the schemas has false as the default of every row."""
    rows = [lead("a", days_before(40), tag="Converted")]
    actions = [
        action("a", "insert", days_before(40), tag="New Lead", converted=False),
        action("a", "tag", days_before(30), tag="Converted", converted=False),
        action("a", "note_added", days_before(20), tag="Note Added", converted=False),
        action("a", "archive", days_before(18), converted=False),
        action("a", "reactivate", days_before(17), converted=False),
        action("a", "note_edited", days_before(2), converted=False),
    ]
    assert states(rows, actions, 35, 25, 19, 10, 0) == ["open", "converted", "converted", "converted", "converted"]


def test_a_reasoned_reversion_ends_tag_and_outcome():
    rows = [lead("a", days_before(40), tag="Active", outcome="client_closed", closed_at=days_before(25))]
    actions = [
        action("a", "tag", days_before(30), tag="Converted", converted=True),
        action("a", "outcome_update", days_before(25), tag="client_closed"),
        action("a", "tag", days_before(10), tag="Active", converted=False, reason="Other: changed their mind"),
    ]
    assert states(rows, actions, 27, 20, 5, 0) == ["converted", "converted", "open", "open"]


def test_tagging_a_closed_lead_leaves_it_a_customer():
    rows = [lead("a", days_before(40), tag="High Priority", outcome="client_closed", closed_at=days_before(25))]
    actions = [
        action("a", "outcome_update", days_before(25), tag="client_closed"),
        action("a", "tag", days_before(10), tag="High Priority", converted=False),
    ]
    assert states(rows, actions, 30, 20, 5) == ["open", "converted", "converted"]


def test_archiving_deleting_and_coming_back():
    rows = [lead("a", days_before(40), archived=False, deleted=True)]
    actions = [
        action("a", "archive", days_before(30)),
        action("a", "reactivate", days_before(20)),
        action("a", "delete", days_before(10)),
    ]
    assert states(rows, actions, 35, 25, 15, 5) == ["open", "archived", "open", "deleted"]


def test_an_archived_tag_ends_with_the_next_tag():
    rows = [lead("a", days_before(40), tag="Contacted")]
    actions = [
        action("a", "tag", days_before(30), tag="Archived"),
        action("a", "tag", days_before(10), tag="Contacted"),
    ]
    assert states(rows, actions, 35, 20, 5) == ["open", "archived", "open"]


def test_columns_that_no_action_dates_hold_since_the_last_change():
    rows = [lead("a", days_before(40), tag="Converted", updated=days_before(15))]
    assert states(rows, (), 20, 10) == ["open", "converted"]
    rows = [lead("a", days_before(40), outcome="client_closed", closed_at=days_before(30), updated=days_before(15))]
    assert states(rows, (), 35, 20) == ["open", "converted"]
    rows = [lead("a", days_before(40), outcome="no_sale", no_sale_at=days_before(30), updated=days_before(15))]
    assert states(rows, None, 35, 20) == ["open", "lost"]


def test_a_conversion_whose_action_was_lost_is_seen_once_the_lead_rested():
    rows = [lead("a", days_before(40), tag="Converted", updated=days_before(15))]
    actions = [action("a", "tag", days_before(30), tag="Contacted")]
    assert states(rows, actions, 20, 10) == ["open", "converted"]


def test_the_tag_of_back_then():
    rows = [lead("a", days_before(40), tag="Follow-Up")]
    leads = arranged(rows, [action("a", "tag", days_before(10), tag="Follow-Up")])
    assert leads.tag_at(at(20)).tolist() == [TAG_NONE]
    assert leads.tag_at(at(5)).tolist() == [TAG_FOLLOW_UP]


def engaged(rows, actions, instant=END):
    leads = arranged(rows, actions)
    return leads.engaged(instant, 7, leads.recorded(at(60), instant)).tolist()


def test_engaged_is_touched_within_a_week():
    rows = [lead(name, days_before(20)) for name in "abcde"]
    actions = [
        *(action(name, "insert", days_before(20)) for name in "abc"),
        action("a", "note_added", days_before(15)),
        action("b", "note_added", days_before(12)),  # too late
        action("d", "insert", days_before(14)),  # the first on record, but six days after the lead came: it wrote again
    ]
    assert engaged(rows, actions) == [1.0, 0.0, 0.0, 1.0, 0.0]
    entries = history(("High", days_before(20)), ("High", days_before(14)))
    assert engaged([lead("a", days_before(14), urgency_history=entries)], [action("a", "insert", days_before(20))]) == [
        1
    ]


def test_engagement_is_unknown_while_young_and_where_nothing_is_recorded():
    rows = [lead("a", days_before(3)), lead("b", days_before(3))]
    found = engaged(rows, [action("a", "note_added", days_before(2))])
    assert found[0] == 1.0
    assert np.isnan(found[1])
    assert np.isnan(engaged([lead("a", days_before(20))], ())).all()
    assert np.isnan(engaged([lead("a", days_before(20))], None)).all()


def test_what_happens_at_the_instant_or_after_it_is_not_seen():
    rows = [lead("a", days_before(20)), lead("b", days_before(20))]
    actions = [action("b", "note_added", days_before(19)), action("a", "note_added", days_before(16))]
    assert engaged(rows, actions, at(16)) == pytest.approx([np.nan, 1.0], nan_ok=True)


def test_halves_are_balanced_and_fixed():
    leads = arranged([lead(f"lead-{i}", days_before(9)) for i in range(2000)])
    assert 900 < leads.half().sum() < 1100
    assert arranged([lead(f"lead-{i}", days_before(9)) for i in range(8)]).half().tolist() == [
        bool(b) for b in leads.half()[np.isin(leads.id, [f"lead-{i}" for i in range(8)])]
    ]


def test_the_pool_keeps_each_leads_client_as_owner():
    rows = [
        lead("a", days_before(9)),
        lead("b", days_before(9), CLIENT_IDS[1]),
        lead("c", days_before(9), CLIENT_IDS[2]),
    ]
    leads = arranged(rows, (), 3, pooled=[True, False, True], industry=("Legal", None, "Retail"))
    pool = leads.pool()
    assert pool.clients.ids == (None,)
    assert pool.id.tolist() == ["a", "c"]
    assert [pool.owner_industry[owner] for owner in pool.owner] == ["Legal", "Retail"]


LEAD_IDS = st.sampled_from(["a", "b", "c", "d"])
KINDS = st.sampled_from(["tag", "outcome_update", "archive", "delete", "reactivate", "revert", "note_added", "insert"])
TAGS = st.sampled_from(
    [None, "Converted", "Active", "Not Qualified", "client_closed", "no_sale", "Archived", "Other x"]
)
ACTIONS = st.lists(
    st.tuples(
        LEAD_IDS,
        KINDS,
        st.integers(-30, 60),
        TAGS,
        st.sampled_from([None, True, False]),
        st.sampled_from([None, "why"]),
    ),
    max_size=14,
)


def drawn_actions(spec):
    return [
        action(name, kind, days_before(days), tag=tag, converted=converted, reason=reason, action_id=f"{k:03d}")
        for k, (name, kind, days, tag, converted, reason) in enumerate(spec)
    ]


@given(ACTIONS, st.lists(st.booleans(), min_size=4, max_size=4))
@settings(max_examples=60, deadline=None)
def test_a_leads_state_does_not_depend_on_the_other_leads(spec, keep):
    rows = [lead(name, days_before(61), tag="Contacted", updated=days_before(1)) for name in "abcd"]
    leads = arranged(rows, drawn_actions(spec))
    mask = np.array(keep)
    part = leads.only(mask)
    for instant in (at(30), END):
        assert part.state_at(instant).tolist() == leads.state_at(instant)[mask].tolist()
        assert leads.deleted_at(instant).tolist() == (leads.state_at(instant) == DELETED).tolist()
        assert part.engaged(instant, 7, np.ones(mask.sum(), dtype=bool)) == pytest.approx(
            leads.engaged(instant, 7, np.ones(4, dtype=bool))[mask], nan_ok=True
        )


@given(ACTIONS)
@settings(max_examples=100, deadline=None)
def test_a_state_is_what_the_actions_before_it_made(spec):
    """With the columns as those actions left them, erasing what came later changes no state."""
    actions = drawn_actions(spec)
    rows = [lead(name, days_before(61)) for name in "abcd"]
    followed = actions + [
        action(name, kind, days_before(-40), tag="Other y") for name in "abcd" for kind in ("tag", "outcome_update")
    ] + [action(name, "reactivate", days_before(-40)) for name in "abcd"]  # fmt: skip
    earlier = [row for row in followed if row[1] < END]
    truth = arranged(rows, followed).state_at(END)
    after = arranged(rows, earlier)
    columns = [
        lead(
            name,
            days_before(61),
            archived=bool(truth[i] == ARCHIVED),
            deleted=bool(truth[i] == DELETED),
            tag=_last_tag(earlier, name),
            outcome=_last_outcome(earlier, name),
            updated=END,
        )
        for i, name in enumerate("abcd")
    ]
    # the flags hide what is below them; where they are not set, the tracks must agree
    assert arranged(columns, earlier).state_at(END).tolist() == truth.tolist()
    assert after.arrival.tolist() == arranged(rows, followed).arrival.tolist()


def _last_tag(actions, name):
    tags = [row for row in sorted(actions, key=lambda row: row[1:3]) if row[0] == name and row[3] in ("tag", "revert")]
    return tags[-1][4] if tags else None


def _last_outcome(actions, name):
    found = [row for row in sorted(actions, key=lambda row: row[1:3]) if row[0] == name and row[3] == "outcome_update"]
    return found[-1][4] if found else None


def test_an_undated_lead_never_arrives():
    leads = arranged([lead("a", None)])
    assert leads.arrival.tolist() == [UNDATED]
    assert not leads.arrived(0, UNDATED).any()
