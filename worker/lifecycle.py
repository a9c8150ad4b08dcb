"""How leads end: conversions and reversions as episodes, and how long each lead was under observation."""

from bisect import bisect_left
from dataclasses import dataclass, replace

import numpy as np

from worker.leads import ARCHIVED, DAY, DELETED, LOST, UNDATED, Leads
from worker.statistics import BoolArray, FloatArray, IntArray
from worker.vocabulary import (
    ACTION_ARCHIVE,
    ACTION_DELETE,
    ACTION_OUTCOME_UPDATE,
    ACTION_TAG,
    OUTCOME_CLIENT_CLOSED,
    OUTCOME_NAMES,
    OUTCOME_NO_SALE,
    TAG_ARCHIVED,
    TAG_CONVERTED,
    TAG_DELETED,
    TAG_LOST,
    TAG_NAMES,
)

BY_TAG, BY_OUTCOME = 1, 2  # what makes a lead a customer; both may
FINAL_TAG = TAG_NAMES[TAG_CONVERTED]  # an outcome or conversion_outcome stands for it where no tag does


@dataclass(frozen=True, slots=True)
class Episode:
    """
    One stretch of being a customer; instants in microseconds.

    start is None where nothing dates the conversion: it then lies between `after`, the first contact or the end of the
    episode before, and `known_by`. end is None while it lasts. touch_points: contacts before the start (submissions,
    notes, tags, outcome updates and contacted actions), the converting action left out; None without a start.
    """

    lead: int
    start: int | None
    after: int
    known_by: int
    end: int | None = None
    touch_points: int | None = None
    final_tag: str = FINAL_TAG
    reason: str | None = None
    reverted_to: str | None = None


def conversion_episodes(leads: Leads, before: int) -> list[Episode]:
    """
    Find every conversion that happened, or was known of, strictly before an instant, in order of lead and time.

    An episode starts with conversion_outcome true, a Converted tag or the outcome client_closed; it ends with a revert
    or with conversion_outcome false and a reason, with any other tag (where the tag made it) or any other outcome
    (where the outcome did). A repeated start or end changes nothing. Actions may be missing: what the columns say at
    that instant (Leads.converted_at) and no action shows is an episode dated by client_closed_at, or undated; a
    reasoned reversion with no conversion on record ends an undated one.
    """
    replayed = _replay(leads, before)
    converted = np.flatnonzero(leads.converted_at(before)).tolist()
    for lead in converted:
        found = replayed.setdefault(lead, [])
        if not found or found[-1].end is not None:
            found.extend(_from_columns(leads, lead, before, found))
    episodes = [episode for lead in sorted(replayed) for episode in replayed[lead]]
    return _with_touch_points(leads, episodes)


def _replay(leads: Leads, before: int) -> dict[int, list[Episode]]:
    """Play the actions of all leads that ever won or reverted, in order: the others have nothing to tell."""
    actions = leads.actions
    if actions is None:
        return {}
    by_tag, by_outcome, reverting = actions.winning_by_tag, actions.winning_by_outcome, actions.reverting
    telling = (actions.kind == ACTION_TAG) | (actions.kind == ACTION_OUTCOME_UPDATE) | by_tag | reverting
    evident = np.zeros(len(leads), dtype=bool)
    evident[actions.lead[by_tag | by_outcome | actions.excused]] = True
    k = np.flatnonzero(telling & (actions.time < before) & evident[actions.lead])
    wins = np.where(by_tag, BY_TAG, np.where(by_outcome, BY_OUTCOME, 0))
    ends = np.where(reverting, BY_TAG | BY_OUTCOME, np.where(actions.kind == ACTION_TAG, BY_TAG, BY_OUTCOME))
    columns = (actions.lead, actions.time, wins, ends, actions.excused, actions.reason)
    result: dict[int, list[Episode]] = {}
    basis = 0
    for place, lead, time, win, end, excused, reason in zip(
        k.tolist(), *(column[k].tolist() for column in columns), strict=True
    ):
        if lead not in result:
            result[lead], basis = [], 0
        episodes = result[lead]
        was_customer = bool(basis)
        basis = basis | win if win else basis & ~end
        if win and not was_customer:
            after = episodes[-1].end if episodes else None
            episodes.append(Episode(lead, time, after if after is not None else int(leads.arrival[lead]), time))
            continue
        if not was_customer and excused and not episodes and leads.arrival[lead] <= time:
            episodes.append(Episode(lead, None, int(leads.arrival[lead]), time))
        elif win or not was_customer or basis:
            continue
        episodes[-1] = replace(episodes[-1], end=time, reason=reason, reverted_to=_label(leads, place))
    return {lead: episodes for lead, episodes in result.items() if episodes}


def _label(leads: Leads, place: int) -> str | None:
    """Name what a reverting action put in the conversion's place, None where it left nothing."""
    assert leads.actions is not None  # noqa: S101 - the place is that of an action
    tag, outcome = int(leads.actions.tag[place]), int(leads.actions.outcome[place])
    if outcome:
        return OUTCOME_NAMES[outcome]
    return TAG_NAMES[tag] if tag else None


def _from_columns(leads: Leads, lead: int, before: int, found: list[Episode]) -> list[Episode]:
    """Make one more episode of what the columns say and no action shows; none for a lead that nothing dates yet."""
    after = found[-1].end if found else None
    since = after if after is not None else int(leads.arrival[lead])
    closed_at, known_by = int(leads.closed_at[lead]), int(leads.last_change[lead])
    if leads.outcome[lead] == OUTCOME_CLIENT_CLOSED and closed_at < before and (after is None or closed_at > after):
        return [Episode(lead, closed_at, since, closed_at)]
    return [] if since >= before else [Episode(lead, None, since, max(known_by, since))]


def _with_touch_points(leads: Leads, episodes: list[Episode]) -> list[Episode]:
    """Count, for each dated start, the lead's contacts and touches before it."""
    wanted = np.zeros(len(leads), dtype=bool)
    wanted[[episode.lead for episode in episodes]] = True
    times, bounds = _by_lead(leads.contacts.lead, leads.contacts.time, wanted)
    tracks = [(times, bounds)]
    if leads.actions is not None:
        touches = leads.actions.touch
        tracks.append(_by_lead(leads.actions.lead[touches], leads.actions.time[touches], wanted))
    return [
        episode
        if episode.start is None
        else replace(
            episode,
            touch_points=sum(
                bisect_left(times, episode.start, bounds[episode.lead], bounds[episode.lead + 1]) - bounds[episode.lead]
                for times, bounds in tracks
            ),
        )
        for episode in episodes
    ]


def _by_lead(lead: IntArray, time: IntArray, wanted: BoolArray) -> tuple[list[int], list[int]]:
    """Times of the wanted leads in order, and where each lead's begin."""
    kept = wanted[lead]
    bounds = np.searchsorted(lead[kept], np.arange(len(wanted) + 1))
    return time[kept].tolist(), bounds.tolist()


@dataclass(frozen=True, slots=True)
class Observation:
    """Until when each lead was followed and how that ended, shape (leads,); instants in microseconds."""

    end: IntArray
    outcome: IntArray  # 0 still open (censored), 1 converted, 2 left otherwise


def observe(leads: Leads, episodes: list[Episode], before: int) -> Observation:
    """
    Follow every lead from its arrival to its first conversion, its last exit without return, or the instant.

    An undated conversion counts in the middle of the interval that holds it; an undated exit at the last change, or at
    the last contact before the instant where the last change came later.
    """
    end = np.full(len(leads), before, dtype=np.int64)
    outcome = np.zeros(len(leads), dtype=np.int64)
    left = np.isin(leads.state_at(before), (DELETED, ARCHIVED, LOST))
    contact = leads.contacts.last_time_before(before, len(leads), before)
    exit_time = np.where(leads.last_change < before, leads.last_change, contact)
    if leads.actions is not None:
        a = leads.actions
        leaving = (
            np.isin(a.kind, (ACTION_DELETE, ACTION_ARCHIVE))
            | ((a.kind == ACTION_TAG) & np.isin(a.tag, (TAG_LOST, TAG_ARCHIVED, TAG_DELETED)))
            | ((a.kind == ACTION_OUTCOME_UPDATE) & (a.outcome == OUTCOME_NO_SALE))
        ) & (a.time < before)
        exit_time[a.lead[leaving]] = a.time[leaving]  # of repeated indices, the last one stays
    end[left] = exit_time[left]
    outcome[left] = 2
    for episode in reversed(episodes):  # the first episode of a lead is written last
        middle = (episode.after + episode.known_by) // 2 if episode.after != UNDATED else episode.known_by
        end[episode.lead] = episode.start if episode.start is not None else middle
        outcome[episode.lead] = 1
    return Observation(end, outcome)


def age_days(leads: Leads, instant: IntArray | int) -> FloatArray:
    """Days from each lead's first contact to an instant; negative where it had not arrived yet."""
    return (instant - leads.arrival) / DAY
