"""How leads end: conversions and reversions as episodes, and how long each lead was under observation."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from worker.leads import ARCHIVED, DAY, DELETED, LOST, UNDATED, Leads, from_microseconds, to_microseconds
from worker.statistics import BoolArray, FloatArray, IntArray
from worker.statistics.hazard import default_delay_within
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

STAYS_DAYS = 90  # a conversion, or a reversion, stays if nothing undid it for so long
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
    lapsed: bool = False  # by its columns the lead is no customer any more, and nothing tells since when
    reason: str | None = None
    reverted_to: str | None = None


def conversion_episodes(leads: Leads, before: int) -> list[Episode]:
    """
    Find every conversion that happened, or was known of, strictly before an instant, in order of lead and time.

    An episode starts with conversion_outcome true, a Converted tag or the outcome client_closed; it ends with a revert
    or with conversion_outcome false and a reason, with any other tag (where the tag made it) or any other outcome
    (where the outcome did). A repeated start or end changes nothing. Actions may be missing: what the columns say at
    that instant (Leads.converted_at) and no action shows is an episode dated by client_closed_at, or undated; a
    reasoned reversion with no conversion on record ends an undated one. An episode that lasts by the actions and not
    by the columns is marked as lapsed. The flags archived and deleted end nothing; a tag of that name is another tag.
    """
    replayed = _replay(leads, before)
    converted = leads.converted_at(before)
    for lead, found in replayed.items():
        if found[-1].end is None and not converted[lead]:
            found[-1] = replace(found[-1], lapsed=True)
    for lead in np.flatnonzero(converted).tolist():
        found = replayed.setdefault(lead, [])
        if not found or found[-1].end is not None:
            found.extend(_from_columns(leads, lead, before, found))
    episodes = [episode for lead in sorted(replayed) for episode in replayed[lead]]
    return _with_touch_points(leads, episodes)


@dataclass(frozen=True, slots=True)
class Spell:
    """A stretch of time that an event opened: being a customer, or being none any more."""

    event_type: str  # conversion or reversion
    episode: Episode
    start: int | None  # microseconds; None for a conversion that nothing dates
    known_by: int  # the same, or when it was known of
    end: int | None  # when the opposite happened, or was known of; None while it lasts
    lapsed: bool = False  # it is over, and nothing tells since when

    @property
    def after(self) -> int:
        """The instant that names the event where nothing dates it: it came after this one."""
        return self.episode.after if self.start is None else self.start


def spells(episodes: Sequence[Episode]) -> list[Spell]:
    """Give the stretch as a customer of every episode and the one after every reversion, in the episodes' order."""
    result = []
    for i, episode in enumerate(episodes):
        result.append(Spell("conversion", episode, episode.start, episode.known_by, episode.end, episode.lapsed))
        if episode.end is not None:
            again = episodes[i + 1] if i + 1 < len(episodes) and episodes[i + 1].lead == episode.lead else None
            until = None if again is None else again.known_by
            result.append(Spell("reversion", episode, episode.end, episode.end, until))
    return result


def event_key(lead_id: object, start: int | None, after: int) -> str:
    """Name an event, the same in every run: its lead and when it happened, or after when where nothing dates it."""
    if start is None:
        return f"{lead_id}@after {from_microseconds(after).isoformat()}"
    return f"{lead_id}@{from_microseconds(start).isoformat()}"


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
    ids, owner = leads.id.tolist(), leads.client.tolist()
    ends: dict[tuple[str, str | None, str], int | None] = {}
    for spell in spells(conversion_episodes(leads, before)):
        if spell.lapsed:
            continue
        lead = spell.episode.lead
        client_id = leads.clients.ids[owner[lead]]
        ends[spell.event_type, client_id, event_key(ids[lead], spell.start, spell.after)] = spell.end
    result: list[bool | None] = []
    for claim in claims:
        key = (str(claim["event_type"]), str(claim["client_id"]), str(claim["claim_key"]))
        created_at = claim["created_at"]
        if key not in ends or not isinstance(created_at, datetime):
            result.append(None)
            continue
        due, end = to_microseconds(created_at) + STAYS_DAYS * DAY, ends[key]
        left = end is not None and end < due
        result.append(False if left else True if due <= before else None)
    return result


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
    columns = (actions.lead, actions.time, wins, ends, actions.excused)
    result: dict[int, list[Episode]] = {}
    basis = 0
    for place, lead, time, win, end, excused in zip(
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
        reason, reverted_to = actions.reason(place), _label(leads, place)
        episodes[-1] = replace(episodes[-1], end=time, reason=reason, reverted_to=reverted_to)
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
    if since >= before:
        return []
    # a last change that is yet to come tells nothing; the stamp of an outcome won before `since` told it then
    return [Episode(lead, None, since, max(known_by, since) if known_by < before else since)]


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
        leaving = (
            np.isin(a.kind, (ACTION_DELETE, ACTION_ARCHIVE))
            | ((a.kind == ACTION_TAG) & np.isin(a.tag, (TAG_LOST, TAG_ARCHIVED, TAG_DELETED)))
            | ((a.kind == ACTION_OUTCOME_UPDATE) & (a.outcome == OUTCOME_NO_SALE))
        ) & (a.time < before)
        exit_time[a.lead[leaving]] = a.time[leaving]  # of repeated indices, the last one stays
    end[left] = exit_time[left]
    outcome[left] = 2
    for episode in reversed(episodes):  # the first episode of a lead is written last
        end[episode.lead] = episode.start if episode.start is not None else _likely_start(episode, before)
        outcome[episode.lead] = 1
    return Observation(end, outcome)


def _likely_start(episode: Episode, before: int) -> int:
    if episode.after == UNDATED:
        return episode.known_by
    if episode.known_by > episode.after:
        return (episode.after + episode.known_by) // 2
    return episode.after + int(default_delay_within((before - episode.after) / DAY) * DAY)


def age_days(leads: Leads, instant: IntArray | int) -> FloatArray:
    """Days from each lead's first contact to an instant; negative where it had not arrived yet."""
    return (instant - leads.arrival) / DAY
