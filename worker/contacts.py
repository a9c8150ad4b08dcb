"""When a lead was in contact: its row, histories, actions and id may each tell, and what lies close is one contact."""

from array import array
from collections.abc import Mapping, Sequence

import numpy as np

from worker.actions import Actions
from worker.columns import LeadColumns
from worker.histories import ONE_CONTACT, History
from worker.lead_ids import Ids, UuidIds
from worker.leads import DAY, FIRST_LEAD, UNDATED, Observations
from worker.ordering import order_by
from worker.statistics import BoolArray, IntArray
from worker.vocabulary import ACTION_INSERT

OWN_INSERT = DAY  # a first insert logged within a day of the arrival is the arrival's; one later is another submission
LEAD_ID_START, LEAD_ID_DIGITS = b"lead_", (14, 13, 12)  # the application's ids hold their epoch in milliseconds


def date_contacts(
    rows: LeadColumns, actions: Actions | None, histories: Mapping[str, Mapping[int, History]]
) -> tuple[Observations, IntArray]:
    """Date every lead's contacts, the arrival first; UNDATED where nothing tells."""
    n = len(rows)
    last_contact = rows.instants["last_contact"]
    known = np.flatnonzero(last_contact != UNDATED).astype(np.int32)
    tracks = [(known, last_contact[known]), _id_epochs(rows.id), _history_stamps(histories)]
    of: IntArray = np.zeros(0, dtype=np.int32)
    when: IntArray = np.zeros(0, dtype=np.int64)
    if actions is not None:
        k = np.flatnonzero(actions.that(actions.deeds.kind == ACTION_INSERT))
        of, when = actions.lead[k], actions.time[k]
    is_first = _starts(of)
    tracks.append((of[~is_first], when[~is_first]))
    lead, time = _in_order(tracks)
    earliest = _first_of_each(lead, time, n)
    # The first insert is the lead's own, also when it was logged late: it may date the arrival, not add a contact.
    of, when = of[is_first], when[is_first]
    since = when - earliest[of]  # of an undated lead far below zero
    extra = (since < 0) | (since > OWN_INSERT)
    del since, earliest
    if extra.any():
        lead, time = _in_order([(lead, time), (of[extra], when[extra])])
    del of, when, tracks
    lead, time = _merge_contacts(lead, time)
    arrival = _first_of_each(lead, time, n)
    return Observations(lead.astype(np.int32, copy=False), time, np.ones(len(lead), dtype=np.int8)), arrival


def _starts(lead: IntArray) -> BoolArray:
    """Mark where another lead's rows begin."""
    return np.append(True, lead[1:] != lead[:-1])[: len(lead)]


def _first_of_each(lead: IntArray, time: IntArray, n_leads: int) -> IntArray:
    """Give each lead's first time, UNDATED where it has none, shape (n_leads,)."""
    first, starts = np.full(n_leads, UNDATED, dtype=np.int64), _starts(lead)
    first[lead[starts]] = time[starts]
    return first


def _in_order(tracks: Sequence[tuple[IntArray, IntArray]]) -> tuple[IntArray, IntArray]:
    tracks = [track for track in tracks if len(track[0])]
    if not tracks:
        return np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int64)
    lead, time = tracks[0] if len(tracks) == 1 else (np.concatenate(parts) for parts in zip(*tracks, strict=True))
    if len(tracks) == 1 and (lead[1:] > lead[:-1]).all():
        return lead, time
    order = order_by(lead, time)
    return lead[order], time[order]


def _merge_contacts(lead: IntArray, time: IntArray) -> tuple[IntArray, IntArray]:
    """One entry a contact: stamps closer than ONE_CONTACT to the contact's first are the same submission."""
    same = ~_starts(lead)
    again = np.flatnonzero(same)
    near = again[time[again] - time[again - 1] <= ONE_CONTACT]
    opens = np.ones(len(lead), dtype=np.bool_)
    opens[near] = False
    begins = np.flatnonzero(opens) if len(near) else near
    begin = begins[np.searchsorted(begins, near) - 1]
    strayed = lead[near[time[near] - time[begin] > ONE_CONTACT]]  # in a chain, near the last and far from the first
    if len(strayed):
        first = 0
        for i in np.flatnonzero(np.isin(lead, strayed)).tolist():
            if same[i] and time[i] - first <= ONE_CONTACT:
                opens[i] = False
            else:
                opens[i], first = True, time[i]
    return lead[opens], time[opens]


def _history_stamps(histories: Mapping[str, Mapping[int, History]]) -> tuple[IntArray, IntArray]:
    lead, time = array("q"), array("q")
    for of_lead in histories.values():
        for row, history in of_lead.items():
            for stamp, _ in history:
                if stamp is not None:
                    lead.append(row)
                    time.append(stamp)
    return np.array(lead, dtype=np.int64), np.array(time, dtype=np.int64)


def _id_epochs(ids: Ids) -> tuple[IntArray, IntArray]:
    """Read the epochs in ids such as lead_<milliseconds>_x9: which leads have one, and the instants."""
    nothing = np.zeros(0, dtype=np.int64)
    if isinstance(ids, UuidIds) or not len(ids):
        return nothing, nothing
    width = len(LEAD_ID_START) + LEAD_ID_DIGITS[0] + 1
    starts = [text[:width].encode("utf-8", "replace")[:width] for text in ids]
    letters = np.array(starts, dtype=f"S{width}").view(np.uint8).reshape(len(ids), width)
    ours = (letters[:, : len(LEAD_ID_START)] == np.frombuffer(LEAD_ID_START, dtype=np.uint8)).all(axis=1)
    rows, times = [nothing], [nothing]
    for n_digits in LEAD_ID_DIGITS:
        end = len(LEAD_ID_START) + n_digits
        digits = letters[:, len(LEAD_ID_START) : end].astype(np.int64) - ord("0")
        found = np.flatnonzero(ours & (letters[:, end] == ord("_")) & ((digits >= 0) & (digits <= 9)).all(axis=1))
        stamps = digits[found] @ 10 ** np.arange(n_digits - 1, -1, -1, dtype=np.int64) * 1000
        usable_ones = stamps >= FIRST_LEAD
        rows.append(found[usable_ones])
        times.append(stamps[usable_ones])
    return np.concatenate(rows), np.concatenate(times)
