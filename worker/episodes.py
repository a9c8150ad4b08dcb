"""Conversions and reversions of all leads at once, as arrays: each stretch of being a customer, and of being none."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from worker.actions import Actions
from worker.leads import DAY, UNDATED, Leads, from_microseconds, to_microseconds
from worker.statistics import BoolArray, IntArray
from worker.vocabulary import (
    ACTION_OUTCOME_UPDATE,
    ACTION_TAG,
    OUTCOME_CLIENT_CLOSED,
    OUTCOME_NAMES,
    TAG_CONVERTED,
    TAG_NAMES,
    TAG_NONE,
    TAG_OTHER,
)

FINAL_TAG = TAG_NAMES[TAG_CONVERTED]  # an outcome or conversion_outcome stands for it where no tag does
NO_ACTION = -1
UNDATED_KEY = "after "  # in an event's key, before the instant that it came after


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


@dataclass(frozen=True, slots=True)
class Episodes:
    """The episodes of some leads, in order of lead and time; arrays of shape (episodes,). Iterated, each an Episode."""

    leads: Leads
    lead: IntArray
    start: IntArray  # UNDATED where nothing dates it
    after: IntArray
    known_by: IntArray
    end: IntArray  # UNDATED while it lasts
    ended_by: IntArray  # the place of the action that did, or NO_ACTION
    lapsed: BoolArray

    def __len__(self) -> int:
        return len(self.lead)

    def __iter__(self) -> Iterator[Episode]:
        columns = (self.lead, self.start, self.after, self.known_by, self.end, touch_points(self), self.lapsed)
        for k, (lead, start, after, known_by, end, touches, lapsed) in enumerate(
            zip(*(column.tolist() for column in columns), strict=True)
        ):
            dated, reason_and_label = start != UNDATED, self.ending(k)
            yield Episode(
                lead,
                start if dated else None,
                after,
                known_by,
                None if end == UNDATED else end,
                touches if dated else None,
                FINAL_TAG,
                lapsed,
                *reason_and_label,
            )

    def __getitem__(self, place: int) -> Episode:
        return list(self)[place]

    @property
    def first(self) -> BoolArray:
        """Mark the first episode of each lead."""
        result: BoolArray = np.diff(self.lead, prepend=-1) != 0
        return result

    def of(self, keep: BoolArray | IntArray) -> "Episodes":
        """Give some of the episodes, by a mask or by their places."""
        return Episodes(self.leads, *(getattr(self, name)[keep] for name in Episodes.__slots__[1:]))

    def ending(self, place: int) -> tuple[str | None, str | None]:
        """Give the reason why an episode ended, and what came in the conversion's place; None where nothing tells."""
        actions, action = self.leads.actions, int(self.ended_by[place])
        if actions is None or action == NO_ACTION:
            return None, None
        deed = actions.deed[action]
        tag, outcome = int(actions.deeds.tag[deed]), int(actions.deeds.outcome[deed])
        known_tag = tag not in (TAG_NONE, TAG_OTHER)  # a tag of the client's own has no name here
        label = OUTCOME_NAMES[outcome] if outcome else TAG_NAMES[tag] if known_tag else None
        return actions.reason(action), label


def conversion_episodes(leads: Leads, before: int) -> Episodes:
    """
    Find every conversion that happened, or was known of, strictly before an instant, in order of lead and time.

    An episode starts with conversion_outcome true, a Converted tag or the outcome client_closed; it ends with a revert
    or with conversion_outcome false and a reason, with any other tag (where the tag made it) or any other outcome
    (where the outcome did). A repeated start or end changes nothing. Actions may be missing: where the column says
    client_closed, and no such action came within a day of client_closed_at, that stamp counts as one. What the
    columns say at that instant (Leads.converted_at) and nothing dates is an undated episode; a reasoned reversion with
    no conversion on record ends an undated one. An episode that lasts by the actions and not by the columns is marked
    as lapsed. The flags archived and deleted end nothing; a tag of that name is another tag.
    """
    replayed = _replay(leads, before)
    converted = leads.converted_at(before)
    last = np.append(replayed.first[1:], True)[: len(replayed)]
    lasting = last & (replayed.end == UNDATED)
    replayed.lapsed[:] = lasting & ~converted[replayed.lead]
    converted[replayed.lead[lasting]] = False
    ended = last & ~lasting
    shown = _from_columns(leads, np.flatnonzero(converted), before, replayed.of(ended))
    order = np.argsort(np.concatenate([replayed.lead, shown.lead]), kind="stable")
    columns = (
        np.concatenate([getattr(replayed, name), getattr(shown, name)])[order] for name in Episodes.__slots__[1:]
    )
    return Episodes(leads, *columns)


def _replay(leads: Leads, before: int) -> Episodes:
    """
    Play the actions of all leads that ever won or reverted, in order: the others have nothing to tell.

    Each of the two reasons to be a customer, by tag and by outcome, holds where the last action that bears on it won.
    A stamp that tells of a win which no action shows is played among them.
    """
    actions = leads.actions
    if actions is None:
        nothing = np.zeros(0, dtype=np.int64)
        return _make(leads, nothing, start=nothing, after=nothing, known_by=nothing)
    deeds = actions.deeds
    by_tag, by_outcome, reverting = deeds.winning_by_tag, deeds.winning_by_outcome, deeds.reverting
    of_tag = deeds.kind == ACTION_TAG
    evident = np.zeros(len(leads), dtype=np.bool_)
    evident[actions.lead[actions.that(by_tag | by_outcome | deeds.excused)]] = True
    stamped = _stamped_alone(leads, actions, before)
    evident[stamped] = True
    telling = of_tag | (deeds.kind == ACTION_OUTCOME_UPDATE) | by_tag | reverting
    k = np.flatnonzero(actions.that(telling) & (actions.time < before) & evident[actions.lead])
    lead: IntArray = actions.lead[k].astype(np.int64)
    time: IntArray = actions.time[k]
    deed = actions.deed[k]
    by_tag, by_outcome, reverting, of_tag = by_tag[deed], by_outcome[deed], reverting[deed], of_tag[deed]
    excused = deeds.excused[deed]
    if len(stamped):
        at = leads.closed_at[stamped]
        place = np.searchsorted(lead, stamped) + _count_before(lead, time, stamped, at + 1)
        lead, time, k = np.insert(lead, place, stamped), np.insert(time, place, at), np.insert(k, place, NO_ACTION)
        by_outcome = np.insert(by_outcome, place, values=True)
        by_tag, reverting, of_tag, excused = (
            np.insert(column, place, values=False) for column in (by_tag, reverting, of_tag, excused)
        )

    first = np.diff(lead, prepend=-1) != 0
    begin = _last_place(first)  # where its lead's actions begin
    wins = by_tag | by_outcome
    customer = _holds(by_tag, by_tag | reverting | (of_tag & ~wins), begin)
    customer |= _holds(by_outcome, by_outcome | reverting | (~of_tag & ~wins), begin)
    was_customer = np.append(False, customer[:-1])[: len(customer)] & ~first
    won = wins & ~was_customer
    # a reversion with a reason, of a lead that was never seen to be a customer, tells of a conversion
    told_of = excused & (leads.arrival[lead] <= time) & (_last_place(won) < begin)
    told_of &= _last_place(told_of, inclusive=False) < begin
    opens, closes = np.flatnonzero(won | told_of), np.flatnonzero(told_of | (was_customer & ~customer))
    end, ended_by = np.full(len(opens), UNDATED), np.full(len(opens), NO_ACTION)
    closed = np.searchsorted(opens, closes, side="right") - 1
    end[closed], ended_by[closed] = time[closes], k[closes]
    of_lead = lead[opens]
    again = np.diff(of_lead, prepend=-1) == 0
    after = np.where(again, np.append(UNDATED, end[:-1])[: len(end)], leads.arrival[of_lead])
    start = np.where(told_of[opens], UNDATED, time[opens])
    return _make(leads, of_lead, start=start, after=after, known_by=time[opens], end=end, ended_by=ended_by)


def _stamped_alone(leads: Leads, actions: Actions, before: int) -> IntArray:
    """
    Find the leads that client_closed_at says were won, where no action says so within a day.

    A stamp that another outcome follows is none of what the column says now.
    """
    stamped = (leads.outcome == OUTCOME_CLIENT_CLOSED) & (leads.closed_at < before)
    if stamped.any():
        outcomes = actions.that(actions.deeds.kind == ACTION_OUTCOME_UPDATE)
        places = np.flatnonzero(outcomes & stamped[actions.lead])
        lead, since = actions.lead[places], actions.time[places] - leads.closed_at[actions.lead[places]]
        other = ~actions.deeds.winning_by_outcome[actions.deed[places]]
        stamped[lead[(since >= 0) & (other | (since <= DAY))]] = False
    return np.flatnonzero(stamped)


def _make(leads: Leads, lead: IntArray, **columns: IntArray) -> Episodes:
    """Put columns together; where nothing is said of the end, the episodes last."""
    columns.setdefault("end", np.full(len(lead), UNDATED))
    columns.setdefault("ended_by", np.full(len(lead), NO_ACTION))
    return Episodes(leads, lead, **columns, lapsed=np.zeros(len(lead), dtype=np.bool_))


def _last_place(marked: BoolArray, *, inclusive: bool = True) -> IntArray:
    """Give for each place the last one marked up to it (or before it), -1 where there is none."""
    places = np.maximum.accumulate(np.where(marked, np.arange(len(marked)), -1))
    return places if inclusive else np.append(-1, places[:-1])[: len(marked)]


def _holds(wins: BoolArray, bears: BoolArray, begin: IntArray) -> BoolArray:
    """Tell after each action whether the last one of its lead that bears on it won."""
    last = _last_place(bears)
    result: BoolArray = (last >= begin) & wins[last]
    return result


def _from_columns(leads: Leads, lead: IntArray, before: int, ended: Episodes) -> Episodes:
    """
    Make one more episode of what the columns say and the replay does not; none for a lead that nothing dates yet.

    lead : customers by their columns, with no lasting episode. ended : the last episodes of leads where it ended.
    """
    last_end = np.full(len(leads), UNDATED)
    last_end[ended.lead] = ended.end
    after = last_end[lead]
    again = after != UNDATED
    since = np.where(again, after, leads.arrival[lead])
    closed_at, changed = leads.closed_at[lead], leads.last_change[lead]
    dated = (leads.outcome[lead] == OUTCOME_CLIENT_CLOSED) & (closed_at < before) & (~again | (closed_at > after))
    # a last change that is yet to come tells nothing; the stamp of an outcome won before `since` told it then
    known_by = np.where(dated, closed_at, np.where(changed < before, np.maximum(changed, since), since))
    kept = np.flatnonzero(dated | (since < before))
    start = np.where(dated, closed_at, UNDATED)[kept]
    return _make(leads, lead[kept], start=start, after=since[kept], known_by=known_by[kept])


def touch_points(episodes: Episodes) -> IntArray:
    """Count, for each dated start, the lead's contacts and touches before it; shape (episodes,), of others 0."""
    leads, dated = episodes.leads, np.flatnonzero(episodes.start != UNDATED)
    lead, start = episodes.lead[dated], episodes.start[dated]
    wanted = np.zeros(len(leads), dtype=np.bool_)
    wanted[lead] = True
    places = np.flatnonzero(wanted[leads.contacts.lead])
    count = _count_before(leads.contacts.lead[places], leads.contacts.time[places], lead, start)
    if leads.actions is not None:
        places = np.flatnonzero(wanted[leads.actions.lead] & leads.actions.that(leads.actions.deeds.touch))
        count += _count_before(leads.actions.lead[places], leads.actions.time[places], lead, start)
    result = np.zeros(len(episodes), dtype=np.int64)
    result[dated] = count
    return result


def _count_before(of: IntArray, time: IntArray, lead: IntArray, instant: IntArray) -> IntArray:
    """Count each lead's times before its instant; (of, time) are sorted by lead and time. All searches go in step."""
    begin = np.searchsorted(of, lead)
    low, high = begin.copy(), np.searchsorted(of, lead, side="right")
    while (open_ones := np.flatnonzero(low < high)).size:
        middle = (low[open_ones] + high[open_ones]) // 2
        earlier = time[middle] < instant[open_ones]
        low[open_ones] = np.where(earlier, middle + 1, low[open_ones])
        high[open_ones] = np.where(earlier, high[open_ones], middle)
    return low - begin


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


@dataclass(frozen=True, slots=True)
class Spells:
    """The spells of some episodes, in the episodes' order; arrays of shape (spells,). Iterated, each a Spell."""

    episodes: Episodes
    episode: IntArray  # index into episodes
    reversion: BoolArray  # or else a conversion
    start: IntArray  # UNDATED where nothing dates it
    known_by: IntArray
    end: IntArray  # UNDATED while it lasts
    lapsed: BoolArray

    def __len__(self) -> int:
        return len(self.episode)

    def __iter__(self) -> Iterator[Spell]:
        episodes = list(self.episodes)
        columns = (self.episode, self.reversion, self.start, self.known_by, self.end, self.lapsed)
        for episode, reversion, start, known_by, end, lapsed in zip(*(c.tolist() for c in columns), strict=True):
            yield Spell(
                "reversion" if reversion else "conversion",
                episodes[episode],
                None if start == UNDATED else start,
                known_by,
                None if end == UNDATED else end,
                lapsed,
            )

    @property
    def lead(self) -> IntArray:
        """The lead of each spell."""
        return self.episodes.lead[self.episode]

    @property
    def after(self) -> IntArray:
        """The instant that names each event."""
        return np.where(self.start == UNDATED, self.episodes.after[self.episode], self.start)


def spells(episodes: Episodes) -> Spells:
    """Give the stretch as a customer of every episode and the one after every reversion, in the episodes' order."""
    n, ended = len(episodes), episodes.end != UNDATED
    again = np.append(np.diff(episodes.lead) == 0, False)[:n]
    until = np.where(again, np.append(episodes.known_by[1:], UNDATED)[:n], UNDATED)
    count = 1 + ended
    episode = np.repeat(np.arange(n), count)
    reversion = np.diff(episode, prepend=-1) == 0  # the second of an episode
    end = episodes.end[episode]
    return Spells(
        episodes,
        episode,
        reversion,
        start=np.where(reversion, end, episodes.start[episode]),
        known_by=np.where(reversion, end, episodes.known_by[episode]),
        end=np.where(reversion, until[episode], end),
        lapsed=~reversion & episodes.lapsed[episode],
    )


def event_key(lead_id: object, start: int | None, after: int) -> str:
    """Name an event, the same in every run: its lead and when it happened, or after when where nothing dates it."""
    if start is None:
        return f"{lead_id}@{UNDATED_KEY}{from_microseconds(after).isoformat()}"
    return f"{lead_id}@{from_microseconds(start).isoformat()}"


def read_event_key(key: str) -> tuple[str, int, bool]:
    """Give the lead that an event's key names, its instant, UNDATED where there is none, and whether it is dated."""
    lead_id, _, instant = key.rpartition("@")
    try:
        when = datetime.fromisoformat(instant.removeprefix(UNDATED_KEY))
        microseconds = to_microseconds(when if when.tzinfo is not None else when.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return lead_id, UNDATED, False
    return lead_id, microseconds, not instant.startswith(UNDATED_KEY)
