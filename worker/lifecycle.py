"""How leads end: how long each was under observation, and whether conversions and reversions stayed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from worker.episodes import Episodes, conversion_episodes, event_key, read_event_key, spells
from worker.leads import ARCHIVED, DAY, DELETED, LOST, UNDATED, Leads, to_microseconds
from worker.statistics import FloatArray, IntArray
from worker.statistics.hazard import default_delay_within
from worker.vocabulary import (
    ACTION_ARCHIVE,
    ACTION_DELETE,
    ACTION_OUTCOME_UPDATE,
    ACTION_TAG,
    OUTCOME_NO_SALE,
    TAG_ARCHIVED,
    TAG_DELETED,
    TAG_LOST,
)

STAYS_DAYS = 90  # a conversion, or a reversion, stays if nothing undid it for so long


def resolve_stays(leads: Leads, claims: Sequence[Mapping[str, object]], as_of: datetime) -> list[bool | None]:
    """
    Tell of each claim "it stays 90 days", made by a conversion or reversion snapshot, whether it came true.

    leads : all leads of all clients, as a job without a look-back reads them; nothing from as_of on counts.
    claims : event_type, client_id, created_at (aware) and claim_key of the snapshots, in any order.

    Returns
    -------
    For each claim False as soon as the event was undone within its 90 days, True where they are over and it was not.
    None is void: the event is not on record any more (its lead was erased, its actions were edited, or what was
    undated has got a date), it is over and nothing tells since when, or its 90 days are not over yet, which the caller
    can tell by created_at.
    """
    before = to_microseconds(as_of)
    found = spells(conversion_episodes(leads, before))
    asked = np.array([read_event_key(str(claim["claim_key"]))[1] for claim in claims], dtype=np.int64)
    chosen = np.flatnonzero(~found.lapsed & np.isin(found.after, asked))  # writing all keys out would take its time
    ends: dict[tuple[str, str | None, str], int] = {}
    columns = (found.lead, found.reversion, found.start, found.after, found.end)
    for lead, reversion, start, after, end in zip(*(column[chosen].tolist() for column in columns), strict=True):
        key = event_key(leads.id[lead], None if start == UNDATED else start, after)
        client_id = leads.clients.ids[int(leads.client[lead])]
        ends["reversion" if reversion else "conversion", client_id, key] = end
    result: list[bool | None] = []
    for claim in claims:
        name = (str(claim["event_type"]), str(claim["client_id"]), str(claim["claim_key"]))
        created_at = claim["created_at"]
        if name not in ends or not isinstance(created_at, datetime):
            result.append(None)
            continue
        due = to_microseconds(created_at) + STAYS_DAYS * DAY
        result.append(False if ends[name] < due else True if due <= before else None)
    return result


@dataclass(frozen=True, slots=True)
class Observation:
    """Until when each lead was followed and how that ended, shape (leads,); instants in microseconds."""

    end: IntArray
    outcome: IntArray  # 0 still open (censored), 1 converted, 2 left otherwise


def observe(leads: Leads, episodes: Episodes, before: int) -> Observation:
    """
    Follow every lead from its arrival to its first conversion, its last exit without return, or the instant.

    An undated conversion counts in the middle of the interval that holds it. Where that is a single instant, since the
    application sets a tag without a trace of when, all that is known is that it came before the instant: it counts at
    the middle of the default delays that are so short (worker/statistics/hazard.py). An undated exit counts at the last
    change, or at the last contact before the instant where the last change came later.
    """
    end = np.full(len(leads), before, dtype=np.int64)
    outcome = np.zeros(len(leads), dtype=np.int64)
    left = np.isin(leads.state_at(before), (DELETED, ARCHIVED, LOST))
    contact = leads.contacts.last_time_before(before, len(leads), before)
    exit_time = np.where(leads.last_change < before, leads.last_change, contact)
    if leads.actions is not None:
        a = leads.actions
        deeds = a.deeds
        leave = (
            np.isin(deeds.kind, (ACTION_DELETE, ACTION_ARCHIVE))
            | ((deeds.kind == ACTION_TAG) & np.isin(deeds.tag, (TAG_LOST, TAG_ARCHIVED, TAG_DELETED)))
            | ((deeds.kind == ACTION_OUTCOME_UPDATE) & (deeds.outcome == OUTCOME_NO_SALE))
        )
        leaving = a.that(leave) & (a.time < before)
        exit_time[a.lead[leaving]] = a.time[leaving]  # of repeated indices, the last one stays
    end[left] = exit_time[left]
    outcome[left] = 2
    first = episodes.of(episodes.first)
    end[first.lead] = np.where(first.start != UNDATED, first.start, _likely_starts(first, before))
    outcome[first.lead] = 1
    return Observation(end, outcome)


def _likely_starts(episodes: Episodes, before: int) -> IntArray:
    """Guess when undated conversions were; what is said of dated ones means nothing."""
    after, known_by = episodes.after, episodes.known_by
    result = np.where(after == UNDATED, known_by, after + (known_by - after) // 2)
    sudden = np.flatnonzero((episodes.start == UNDATED) & (after != UNDATED) & (known_by <= after))
    delay = default_delay_within((before - after[sudden]) / DAY) * DAY
    result[sudden] = after[sudden] + delay.astype(np.int64)
    return result


def age_days(leads: Leads, instant: IntArray | int) -> FloatArray:
    """Days from each lead's first contact to an instant; negative where it had not arrived yet."""
    return (instant - leads.arrival) / DAY
