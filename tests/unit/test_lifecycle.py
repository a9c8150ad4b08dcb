"""Episodes of being a customer, from actions that may be missing, partial, doubled or out of order."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lead_rows import AS_OF, CLIENT_IDS, action, arranged, days_before, history, lead

from worker.episodes import Episode, _replay, conversion_episodes, event_key, spells
from worker.leads import DAY, from_microseconds, to_microseconds
from worker.lifecycle import observe, resolve_stays
from worker.vocabulary import (
    ACTION_OUTCOME_UPDATE,
    ACTION_TAG,
    OUTCOME_CLIENT_CLOSED,
    OUTCOME_NAMES,
    TAG_NAMES,
    TAG_NONE,
    TAG_OTHER,
)

END = to_microseconds(AS_OF)


def at(days):
    return to_microseconds(days_before(days))


def episodes(rows, actions=(), before=END):
    return list(conversion_episodes(arranged(rows, actions), before))


def spans(rows, actions=(), before=END):
    """Give start, end of every episode, in days before AS_OF."""
    return [
        (None if e.start is None else (END - e.start) / DAY, None if e.end is None else (END - e.end) / DAY)
        for e in episodes(rows, actions, before)
    ]


def tag(days, name, **more):
    return action("a", "tag", days_before(days), tag=name, **more)


def outcome(days, name, **more):
    return action("a", "outcome_update", days_before(days), tag=name, **more)


def one(**columns):
    return [lead("a", days_before(40), **columns)]


@pytest.mark.parametrize("converted", [True, None, False])
def test_a_converted_tag_starts_an_episode(converted):
    assert spans(one(tag="Converted"), [tag(30, "Converti", converted=converted)]) == [(30, None)]


def test_conversion_outcome_alone_starts_one():
    assert spans(one(), [tag(30, "Qualified", converted=True)]) == [(30, None)]


def test_an_outcome_starts_and_another_ends_it():
    actions = [outcome(30, "client_closed"), outcome(20, "no_sale")]
    (episode,) = episodes(one(outcome="no_sale", closed_at=days_before(30)), actions)
    assert (episode.start, episode.end, episode.reverted_to) == (at(30), at(20), "no_sale")


def test_clearing_the_outcome_ends_it():
    (episode,) = episodes(one(), [outcome(30, "client_closed"), outcome(20, None)])
    assert (episode.end, episode.reverted_to, episode.reason) == (at(20), None, None)


def test_a_revert_says_why_and_what_came_instead():
    actions = [tag(30, "Converted", converted=True), tag(20, "Actif", converted=False, reason=" Autre: x ")]
    (episode,) = episodes(one(tag="Actif"), actions)
    assert (episode.end, episode.reason, episode.reverted_to) == (at(20), "Autre: x", "Active")


def test_another_tag_ends_what_a_tag_made_but_not_what_an_outcome_made():
    assert spans(one(tag="High Priority"), [tag(30, "Converted"), tag(20, "High Priority")]) == [(30, 20)]
    actions = [outcome(30, "client_closed"), tag(20, "High Priority", converted=False)]
    assert spans(one(tag="High Priority", outcome="client_closed"), actions) == [(30, None)]


def test_two_reasons_to_be_a_customer_end_with_the_second():
    actions = [tag(30, "Converted"), outcome(28, "client_closed"), tag(25, "Follow-Up"), outcome(20, "contacted")]
    assert spans(one(tag="Follow-Up", outcome="contacted"), actions) == [(30, 20)]


def test_default_false_on_other_rows_ends_nothing():
    actions = [
        tag(30, "Converted", converted=False),
        action("a", "note_added", days_before(25), tag="Note Added", converted=False),
        action("a", "reactivate", days_before(24), converted=False),
        action("a", "insert", days_before(23), tag="New Lead", converted=False),
        outcome(22, "meeting_booked", converted=False),
    ]
    assert spans(one(tag="Converted", outcome="meeting_booked"), actions) == [(30, None)]


def test_doubled_actions_change_nothing():
    actions = [
        tag(30, "Converted"),
        tag(29, "Converted", action_id="again"),
        tag(20, "Active", converted=False, reason="x"),
        tag(19, "Active", converted=False, reason="x", action_id="twice"),
    ]
    assert spans(one(tag="Active"), actions) == [(30, 20)]


def test_a_lead_may_convert_again():
    actions = [tag(30, "Converted"), tag(20, "Active", converted=False, reason="x"), tag(10, "Converted")]
    assert spans(one(tag="Converted"), actions) == [(30, 20), (10, None)]


def test_what_comes_at_the_instant_or_later_is_not_known():
    actions = [tag(30, "Converted"), tag(10, "Active")]
    assert spans(one(tag="Active"), actions, at(10)) == [(30, None)]
    assert spans(one(tag="Active"), actions, at(30)) == []
    assert spans(one(tag="Converted"), [tag(30, "Converted")], at(35)) == []


def test_columns_without_actions_date_by_the_stamp_or_not_at_all():
    assert spans(one(outcome="client_closed", closed_at=days_before(12))) == [(12, None)]
    assert spans(one(outcome="client_closed", closed_at=days_before(12)), None, at(12)) == []
    (episode,) = episodes(one(tag="Converted", updated=days_before(12)))
    assert (episode.start, episode.after, episode.known_by) == (None, at(40), at(12))
    assert episode.touch_points is None
    assert episodes(one(tag="Converted", updated=days_before(12)), (), at(20)) == []


def test_a_stale_stamp_starts_nothing():
    """Moving back leaves the later stamps."""
    assert spans(one(outcome="contacted", closed_at=days_before(12))) == []
    actions = [outcome(20, "client_closed"), action("a", "revert", days_before(10))]
    assert spans(one(outcome="client_closed", closed_at=days_before(20)), actions) == [(20, 10)]


def test_a_conversion_after_a_reversion_may_be_on_the_columns_only():
    actions = [tag(30, "Converted"), tag(20, "Active", converted=False, reason="x")]
    (first, second) = episodes(one(tag="Converted", updated=days_before(5)), actions)
    assert (first.end, second.start, second.after, second.known_by) == (at(20), None, at(20), at(5))


def test_a_reasoned_reversion_without_a_conversion_ends_an_undated_one():
    (episode,) = episodes(one(tag="Active"), [tag(20, "Active", converted=False, reason="x")])
    assert (episode.start, episode.after, episode.end) == (None, at(40), at(20))
    assert episodes(one(), [action("a", "revert", days_before(20))]) == []


def test_a_lead_that_nothing_dates_is_no_event():
    assert episodes([lead("a", None, tag="Converted", updated=days_before(5))]) == []


def test_touch_points_are_contacts_and_touches_before_the_conversion():
    entries = history(("Low", days_before(40)), ("Low", days_before(35)), ("Low", days_before(10)))
    actions = [
        action("a", "insert", days_before(40)),
        action("a", "insert", days_before(35)),
        action("a", "note_added", days_before(33)),
        tag(32, "Contacted"),
        outcome(31, "meeting_booked"),
        action("a", "archive", days_before(31)),
        tag(30, "Converted"),
        action("a", "note_added", days_before(20)),
    ]
    (episode,) = episodes([lead("a", days_before(10), tag="Converted", urgency_history=entries)], actions)
    assert episode.touch_points == 2 + 3


def test_following_a_lead_to_its_end():
    rows = [
        lead("a", days_before(40), tag="Converted"),
        lead("b", days_before(40), archived=True),
        lead("c", days_before(40), archived=True, updated=days_before(25)),
        lead("d", days_before(40)),
        lead("e", days_before(40), tag="Converted", updated=days_before(20)),
        lead("f", days_before(40), tag="Not Qualified"),
    ]
    actions = [tag(30, "Converted"), action("f", "tag", days_before(22), tag="Not Qualified")]
    leads = arranged(rows, actions)
    followed = observe(leads, conversion_episodes(leads, END), END)
    assert ((END - followed.end) / DAY).tolist() == [30, 40, 25, 0, 30, 22]
    assert followed.outcome.tolist() == [1, 2, 2, 0, 1, 2]


@pytest.mark.parametrize(
    ("put_away", "columns"),
    [
        (action("a", "archive", days_before(20)), {"tag": "Converted", "archived": True}),
        (action("a", "delete", days_before(20)), {"tag": "Converted", "deleted": True}),
    ],
)
def test_a_customer_who_is_put_away_has_not_gone_back(put_away, columns):
    (episode,) = episodes(one(**columns), [tag(30, "Converted", converted=True), put_away])
    assert (episode.start, episode.end, episode.lapsed) == (at(30), None, False)
    assert spans(one(tag="Converted"), [tag(30, "Converted"), put_away, action("a", "reactivate", days_before(10))])


@pytest.mark.parametrize(("label", "reverted_to"), [("Archivé", "Archived"), ("Deleted", "Deleted")])
def test_a_tag_that_archives_is_another_tag(label, reverted_to):
    """The flags put a customer away; a tag in the place of Converted takes it back, whatever it says."""
    (episode,) = episodes(one(tag=label), [tag(30, "Converted", converted=True), tag(20, label)])
    assert (episode.start, episode.end, episode.reverted_to) == (at(30), at(20), reverted_to)


def test_a_stamp_from_before_the_last_end_lets_nobody_know_of_the_future():
    """The outcome was cleared, and stands again: since a change 5 days ago, which nobody knew before."""
    ended = [outcome(30, "client_closed"), outcome(20, None)]
    rows = one(outcome="client_closed", closed_at=days_before(30), updated=days_before(5))
    for days in (15, 10, 6, 0):
        assert all(episode.known_by < at(days) for episode in episodes(rows, ended, at(days)))
    assert episodes(rows, ended)[-1].known_by == at(5)


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        ([tag(30, "Converted"), tag(15, "Follow-Up")], (30, None)),  # the tag was taken away, the outcome stands
        ([tag(20, "Converted", converted=True)], (25, None)),
        ([tag(30, "Converted"), tag(28, "Follow-Up")], (25, None)),
        ([outcome(30, "client_closed")], (30, None)),  # stamped anew
        ([outcome(30, "client_closed"), outcome(27, None)], (25, None)),
        ([tag(10, "Active", converted=False, reason="x")], (25, 10)),
        ([tag(30, "Follow-Up")], (25, None)),
        ([outcome(20, "client_closed")], (25, None)),
        ([outcome(24.5, "client_closed")], (24.5, None)),  # that is its action
    ],
)
def test_a_stamp_without_its_action_counts_as_one(actions, expected):
    """Recording the outcome is best effort; whenever one looks, what came later changes nothing of what was."""
    rows = one(tag="Follow-Up", outcome="client_closed", closed_at=days_before(25), updated=days_before(5))
    assert spans(rows, actions)[-1] == expected
    for days in (24, 12, 6):
        known = [(start, None if end is not None and end <= days else end) for start, end in spans(rows, actions)]
        assert spans(rows, [a for a in actions if a[1] < at(days)], at(days)) == known


def test_won_lost_and_won_again_by_outcome():
    actions = [outcome(30, "client_closed"), outcome(20, None), outcome(10, "client_closed")]
    assert spans(one(outcome="client_closed", closed_at=days_before(10)), actions) == [(30, 20), (10, None)]


def test_both_a_tag_and_an_outcome_are_one_conversion():
    actions = [tag(30, "Converted", converted=True), outcome(29, "client_closed")]
    assert spans(one(tag="Converted", outcome="client_closed", closed_at=days_before(29)), actions) == [(30, None)]
    revert = tag(20, "Active", converted=False, reason="Placed in converted by accident")
    assert spans(one(tag="Active", outcome="client_closed", closed_at=days_before(29)), [*actions, revert]) == [
        (30, 20)
    ]


def test_a_tag_of_the_clients_own_has_no_name():
    (episode,) = episodes(one(tag="Chantier Laval"), [tag(30, "Converti"), tag(20, "Chantier Laval")])
    assert (episode.start, episode.end, episode.reverted_to) == (at(30), at(20), None)


def test_french_words_say_the_same():
    reason = "Placé dans convertis par erreur"
    (episode,) = episodes(one(tag="Actif"), [tag(30, "Converti"), tag(20, "Actif", converted=False, reason=reason)])
    assert (episode.start, episode.end, episode.reverted_to, episode.reason) == (at(30), at(20), "Active", reason)
    assert spans(one(tag="Suivi"), [tag(30, "Convertie"), tag(20, "Suivi")]) == [(30, 20)]


def test_actions_without_their_lead_are_nobodys():
    assert episodes([], [tag(30, "Converted")]) == []
    assert episodes([lead("b", days_before(40))], [tag(30, "Converted")]) == []


def test_a_conversion_logged_before_the_first_contact_keeps_its_date():
    (episode,) = episodes([lead("a", days_before(5), tag="Converted")], [tag(9, "Converted")])
    assert (episode.start, episode.touch_points) == (at(9), 0)


@pytest.mark.parametrize("columns", [{"tag": "Active"}, {"tag": None, "updated": days_before(15)}])
def test_a_reversion_that_only_the_columns_tell_has_no_date(columns):
    """Its action is missing: the lead is no customer any more, and nothing says since when."""
    (episode,) = episodes(one(**columns), [tag(30, "Converted", converted=True)])
    assert (episode.start, episode.end, episode.lapsed) == (at(30), None, True)
    still = episodes(one(tag="Converted"), [tag(30, "Converted", converted=True)])
    assert [e.lapsed for e in still] == [False]


def claims_of(found, leads):
    return [
        {
            "event_type": spell.event_type,
            "client_id": CLIENT_IDS[0],
            "created_at": from_microseconds(spell.known_by),
            "claim_key": event_key(leads.id[spell.episode.lead], spell.start, spell.after),
        }
        for spell in found
    ]


def resolved(rows, actions, when, as_of=AS_OF):
    """What became, by as_of, of the claims that a run at `when` days before AS_OF made."""
    leads = arranged(rows, actions)
    claims = claims_of(spells(conversion_episodes(leads, at(when))), leads)
    return [
        (claim["event_type"], held) for claim, held in zip(claims, resolve_stays(leads, claims, as_of), strict=True)
    ]


def test_what_became_of_a_claim_that_an_event_stays():
    rows = [lead("a", days_before(400), tag="Converted")]
    won, lost = tag(300, "Converted"), tag(250, "Active", converted=False, reason="x")
    assert resolved(rows, [won], 299) == [("conversion", True)]
    assert resolved(rows, [won], 299, days_before(210)) == [("conversion", True)]
    assert resolved(rows, [won], 299, days_before(211)) == [("conversion", None)]  # its 90 days are not over
    assert resolved(rows, [won, lost, tag(100, "Converted")], 299) == [("conversion", False)]
    assert resolved(rows, [won, lost, tag(100, "Converted")], 299, days_before(249)) == [("conversion", False)]
    assert resolved(rows, [won, lost, tag(100, "Converted")], 249) == [("conversion", False), ("reversion", True)]
    assert resolved(rows, [won, lost, tag(200, "Converted")], 249) == [("conversion", False), ("reversion", False)]
    at_last_moment = tag(210, "Active", converted=False, reason="x")
    assert resolved(rows, [won, at_last_moment, tag(100, "Converted")], 299) == [("conversion", True)]


def test_a_claim_without_its_event_is_void():
    leads = arranged([lead("a", days_before(400), tag="Active")], [tag(300, "Converted")])
    (claim,) = claims_of(spells(conversion_episodes(leads, at(299))), leads)
    assert resolve_stays(leads, [claim], AS_OF) == [None]  # only the columns tell that it is over
    for other in (
        {"claim_key": "a@x"},
        {"client_id": CLIENT_IDS[1]},
        {"event_type": "reversion"},
        {"created_at": None},
    ):
        assert resolve_stays(leads, [{**claim, **other}], AS_OF) == [None]
    assert resolve_stays(arranged([]), [claim], AS_OF) == [None]
    assert resolve_stays(leads, [], AS_OF) == []


def test_an_undated_conversions_claim_is_found_by_its_key():
    rows = [lead("a", days_before(400), tag="Converted", updated=days_before(300))]
    assert resolved(rows, [], 299) == [("conversion", True)]
    assert resolved(rows, [tag(280, "Converted")], 270) == [("conversion", True)]
    leads = arranged(rows, [])
    claims = claims_of(spells(conversion_episodes(leads, at(299))), leads)
    assert resolve_stays(arranged(rows, [tag(350, "Converted")]), claims, AS_OF) == [None]  # dated by now


STEPS = st.lists(
    st.tuples(
        st.integers(1, 39),
        st.sampled_from(["tag", "outcome_update", "revert", "note_added", "reactivate"]),
        st.sampled_from([None, "Converted", "Active", "client_closed", "no_sale"]),
        st.sampled_from([None, True, False]),
        st.sampled_from([None, "why"]),
    ),
    max_size=12,
)


@given(STEPS, st.randoms(use_true_random=False), st.integers(1, 45))
@settings(max_examples=200, deadline=None)
def test_episodes_alternate_stay_in_time_and_do_not_depend_on_the_rows_order_ids_or_doubles(steps, random, days):
    actions = [
        action("a", kind, days_before(when), tag=name, converted=converted, reason=reason, action_id=f"{k:02d}")
        for k, (when, kind, name, converted, reason) in enumerate(steps)
    ]
    found = episodes(one(tag="Active"), actions, at(days))
    again = random.choices(actions, k=len(actions)) if actions else []
    shuffled = [(*row[:2], f"{random.random()}", *row[3:]) for row in (*actions, *again)]
    random.shuffle(shuffled)
    assert episodes(one(tag="Active"), shuffled, at(days)) == found
    # erasing what came later changes nothing, as long as the columns do not tell of it
    earlier = [row for row in actions if row[1] < at(days)]
    known = [replace(e, lapsed=False) for e in episodes(one(), earlier, at(days))]
    assert known == [replace(e, lapsed=False) for e in episodes(one(), actions, at(days))]
    for i, episode in enumerate(found):
        assert (episode.start or episode.known_by) < at(days)
        assert episode.end is None or (episode.start or episode.after) <= episode.end < at(days)
        assert (episode.end is None) <= (i == len(found) - 1)
        if i:
            previous = found[i - 1]
            assert previous.end is not None
            assert (episode.start or episode.known_by) >= previous.end
    assert len([e for e in found if e.start is not None]) <= len(steps)


@given(STEPS, st.integers(1, 45))
@settings(max_examples=200, deadline=None)
def test_a_lead_in_an_open_episode_is_a_customer(steps, days):
    """The state and the episodes are two readings of the same actions."""
    actions = [
        action("a", kind, days_before(when), tag=name, converted=converted, reason=reason, action_id=f"{k:02d}")
        for k, (when, kind, name, converted, reason) in enumerate(steps)
    ] + [action("a", "tag", days_before(-1)), action("a", "outcome_update", days_before(-1))]
    leads = arranged(one(), actions)
    found = conversion_episodes(leads, at(days))
    assert bool(leads.converted_at(at(days))[0]) == bool(found and found[-1].end is None)


def played(leads):
    """Actions, and stamps that no recorded outcome follows, in turn: (who, time, place); a stamp has no place."""
    a = leads.actions
    told = [(int(a.lead[k]), int(a.time[k]), k) for k in range(len(a.lead))]
    stamps = []
    for who, stamp in enumerate(leads.closed_at.tolist()):
        outcomes = [k for other, _, k in told if other == who and a.deeds.kind[a.deed[k]] == ACTION_OUTCOME_UPDATE]
        later = [(a.time[k] - stamp, a.deeds.winning_by_outcome[a.deed[k]]) for k in outcomes if a.time[k] >= stamp]
        if leads.outcome[who] == OUTCOME_CLIENT_CLOSED and all(won and after > DAY for after, won in later):
            stamps.append((who, stamp, None))
    return sorted(told + stamps, key=lambda event: (event[0], event[1], event[2] is None))


def replayed(leads, before):
    """The slow twin of the replay: action by action, what one has to know is on which tracks the lead is a customer."""
    a, found, basis = leads.actions, {}, set()
    deeds = a.deeds
    for who, time, k in played(leads):
        if who not in found:
            found[who], basis = [], set()
        mine, was_customer = found[who], bool(basis)
        if time >= before:
            continue
        if k is None:
            basis.add("outcome")
            if not was_customer:
                mine.append(Episode(who, time, mine[-1].end if mine else int(leads.arrival[who]), time))
            continue
        deed = a.deed[k]
        tracks = (deeds.winning_by_tag, deeds.winning_by_outcome, deeds.reverting)
        by_tag, by_outcome, reverting = (bool(x[deed]) for x in tracks)
        if not (by_tag or reverting or deeds.kind[deed] in (ACTION_TAG, ACTION_OUTCOME_UPDATE)):
            continue
        if by_tag or by_outcome:
            basis.add("tag" if by_tag else "outcome")
            if not was_customer:
                mine.append(Episode(who, time, mine[-1].end if mine else int(leads.arrival[who]), time))
            continue
        basis -= {"tag", "outcome"} if reverting else {"tag" if deeds.kind[deed] == ACTION_TAG else "outcome"}
        if deeds.excused[deed] and not mine and leads.arrival[who] <= time:
            mine.append(Episode(who, None, int(leads.arrival[who]), time))
        elif not was_customer or basis:
            continue
        tag, outcome = int(deeds.tag[deed]), int(deeds.outcome[deed])
        label = OUTCOME_NAMES[outcome] if outcome else TAG_NAMES[tag] if tag not in (TAG_NONE, TAG_OTHER) else None
        mine[-1] = replace(mine[-1], end=time, reason=a.reason(k), reverted_to=label)
    return [episode for who in sorted(found) for episode in found[who]]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), STEPS), min_size=1, max_size=4),
    st.lists(st.none() | st.integers(1, 39), min_size=3, max_size=3),
    st.integers(1, 45),
)
@settings(max_examples=300, deadline=None)
def test_replaying_all_leads_at_once_is_replaying_action_by_action(tracks, stamps, days):
    rows = [
        lead(name, days_before(35), outcome=stamp and "client_closed", closed_at=stamp and days_before(stamp))
        for name, stamp in zip("abc", stamps, strict=True)
    ]
    actions = [
        action(name, kind, days_before(when), tag=label, converted=converted, reason=reason, action_id=f"{i}-{k:02d}")
        for i, (name, steps) in enumerate(tracks)
        for k, (when, kind, label, converted, reason) in enumerate(steps)
    ]
    leads = arranged(rows, actions)
    found = [replace(e, touch_points=None) for e in _replay(leads, at(days))]
    assert found == replayed(leads, at(days))
    if not any(stamps):  # the columns show no customer: what the actions alone tell is all there is
        assert [replace(e, lapsed=False, touch_points=None) for e in conversion_episodes(leads, at(days))] == found
