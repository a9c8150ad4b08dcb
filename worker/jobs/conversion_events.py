"""
conversion_events: which leads became customers, when, after how long, and which of them went back?

Meaning. Replays lead_actions and reconciles with the leads' columns (worker/lifecycle.py): a lead converts by a tag
Converted or Converti, by conversion_outcome true, or by the outcome client_closed. Writes `conversion` and `reversion`
snapshots once per episode, dated when they happened; once written they stay. Rows that the application itself wrote
within a day of an event are kept, and nothing is doubled. days_to_convert: whole days from first contact. touch_points:
contacts before the conversion - every submission of the lead, and every note, tag, outcome update and contacted action
- with the action that converted it left out.

Formula. The claim of a conversion: it stays 90 days; of a reversion: the lead is not a customer again within 90 days.
Its probability is that of surviving the rest of seven bins of age, whose hazards are learned from how long earlier
events of all clients lasted, those still running included, in the half year before, from a prior of nine in ten worth
ten events; a client's own level on them is shrunk by a gamma distribution whose shape is learned as well. An event is
judged by what was known when its UTC week began, so that it reads the same whenever it is looked at.

Check. The claim itself, 90 days later.

Source. Piecewise constant hazards with gamma levels: worker/statistics/stays.py. Replay: worker/lifecycle.py.

How it runs. Every five minutes, and only over the clients whose rows changed since the last run
(worker/watermark.py); the first run of each UTC day reads everything, and only then notices rows that were deleted.

Limits. A conversion that nothing dates is kept with days_to_convert and touch_points null: `between` says from which
instant, first contact or the reversion before, to which, the last change, it must have happened. A reversion that no
action tells, only the columns, is not written, since nothing says when it was: its conversion teaches nothing about
how long conversions last. A share of conversions that are undone which triples overnight is off by .05 until half a
year has passed. There is no row for all clients together.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np

from worker.episodes import (
    FINAL_TAG,
    Episodes,
    Spells,
    conversion_episodes,
    event_key,
    read_event_key,
    spells,
    touch_points,
)
from worker.jobs.finding import Check, Claim, Finding, Json
from worker.leads import DAY, UNDATED, Leads, from_microseconds, to_microseconds
from worker.lifecycle import STAYS_DAYS
from worker.statistics import FloatArray, IntArray
from worker.statistics.stays import Experience, Passages, find_passages, learn_experience, probability_stays
from worker.vocabulary import ACTION_OUTCOME_UPDATE, URGENCY_NAMES, URGENCY_UNKNOWN

NAME = "conversion_events"
EVENT_TYPE = "conversion"
TITLE = "record conversions and reversions"
LOOK_BACK_DAYS: int | None = None
PAST_EVENT_TYPES = ("conversion", "reversion")
ONE_READING = True  # every client's events teach how long events last, and a sample would forget most of them
INCREMENTAL = True  # an event depends on its own client's rows alone, and on what was known when it happened

STAYS = timedelta(days=STAYS_DAYS)
CONVERSION_STAYS = f"The lead is still a customer {STAYS_DAYS} days after the conversion."
REVERSION_STAYS = f"The lead has not become a customer again {STAYS_DAYS} days after the reversion."
SAME_EVENT = timedelta(days=1)  # the application's own row of an event lies this close to it
WEEK = 7 * DAY
WEEK_ZERO = to_microseconds(datetime(1970, 1, 5, tzinfo=UTC))  # a Monday


def fit(leads: Leads, as_of: datetime) -> Mapping[str, Json]:
    """
    Learn how long conversions, and reversions, of all pooled clients last, week by week.

    Counts by the week in which they became known, not their sum: each event is judged by what was known when its week
    began. Weeks are numbered from Monday 5 January 1970 UTC.
    """
    found = spells(conversion_episodes(leads, to_microseconds(as_of)))
    last_week = int(_weeks(np.array([to_microseconds(as_of)], dtype=np.int64))[0])
    return {name: _learn(_passages(leads, found, name), len(leads.clients), last_week) for name in PAST_EVENT_TYPES}


def _learn(passages: Passages, n_clients: int, last_week: int) -> dict[str, Json]:
    learned = learn_experience(passages, n_clients, last_week)
    return {
        "first_week": learned.first_week,
        "reached": learned.reached.tolist(),
        "left": learned.left.tolist(),
        "shape": learned.shape.tolist(),
    }


def _weeks(instants: IntArray) -> IntArray:
    """Number the UTC weeks that instants lie in."""
    return (instants - WEEK_ZERO) // WEEK


def _passages(leads: Leads, found: Spells, event_type: str) -> Passages:
    """Lay out how long the dated events of a type lasted, those left out that are over since nobody knows when."""
    dated = (found.reversion == (event_type == "reversion")) & (found.start != UNDATED) & ~found.lapsed
    return find_passages(leads.client[found.lead[dated]], found.start[dated], found.end[dated], WEEK_ZERO, DAY)


def _experience(model: Mapping[str, Json], event_type: str) -> Experience:
    learned = model[event_type]
    return Experience(
        learned["first_week"],
        np.array(learned["reached"], dtype=np.int64),
        np.array(learned["left"], dtype=np.int64),
        np.array(learned["shape"], dtype=np.float64),
    )


def analyse(leads: Leads, model: Mapping[str, Json], as_of: datetime, rng: np.random.Generator) -> list[Finding]:
    """Write one finding for each conversion and reversion before as_of of leads not deleted; none for the pool."""
    del rng  # nothing here is simulated
    if leads.clients.ids == (None,):
        return []
    before = to_microseconds(as_of)
    found = spells(conversion_episodes(leads, before))
    probability = _probabilities(leads, found, model)
    deleted = leads.deleted_at(before)
    chosen = np.flatnonzero(~deleted[found.lead])
    urgency = leads.urgency.first_before(before, len(leads), URGENCY_UNKNOWN).astype(np.int64)
    lead = found.lead[chosen]
    columns = (
        found.episode[chosen], found.reversion[chosen], leads.id[lead], leads.client[lead], leads.arrival[lead],
        urgency[lead], found.start[chosen], found.after[chosen], found.known_by[chosen], found.lapsed[chosen],
        probability[chosen],
    )  # fmt: skip
    row = _Rows(leads.clients.ids, as_of, found.episodes, touch_points(found.episodes).tolist())
    return [row.finding(_Event(*event)) for event in zip(*(column.tolist() for column in columns), strict=True)]


def _probabilities(leads: Leads, found: Spells, model: Mapping[str, Json]) -> FloatArray:
    """Estimate for each event the probability that it stays, by what was known when its week began; shape (events,)."""
    result = np.ones(len(found))
    owner, week = leads.client[found.lead], _weeks(found.known_by)
    for event_type in PAST_EVENT_TYPES:
        mine = np.flatnonzero(found.reversion == (event_type == "reversion"))
        passages = _passages(leads, found, event_type)
        result[mine] = probability_stays(_experience(model, event_type), passages, owner[mine], week[mine])
    return result


class _Event(NamedTuple):
    """One event as plain numbers; instants in microseconds."""

    episode: int
    reversion: bool
    lead_id: str
    client: int
    arrival: int
    urgency: int
    start: int  # UNDATED where nothing dates it
    after: int
    known_by: int
    lapsed: bool
    stays: float  # probability


@dataclass(frozen=True, slots=True)
class _Rows:
    """What the findings of one run share."""

    client_ids: tuple[str | None, ...]
    as_of: datetime
    episodes: Episodes
    touch_points: list[int]

    def finding(self, event: _Event) -> Finding:
        """
        Put an event into the shape of a finding.

        An undated conversion is dated by when it was first known, which moves with every later contact, so that its key
        must not: it is named by the last instant at which the lead was surely no customer.
        """
        instant, key = from_microseconds(event.known_by), from_microseconds(event.after)
        dated = event.start != UNDATED
        to = instant.isoformat()
        since = None
        if event.arrival != UNDATED:
            since = to if event.arrival >= event.known_by else from_microseconds(event.arrival).isoformat()
        return Finding(
            self.client_ids[event.client],
            "reversion" if event.reversion else "conversion",
            self._reversion(event) if event.reversion else self._conversion(event, to),
            Claim("stays", event.stays, REVERSION_STAYS if event.reversion else CONVERSION_STAYS, {"days": STAYS_DAYS}),
            Check("outcome", instant + STAYS, event.stays),
            n=1,
            facts={"between": (min(key, instant), instant), "lapsed": event.lapsed},
            claim_key=event_key(event.lead_id, event.start if dated else None, event.after),
            period_key=key.astimezone(self.as_of.tzinfo).date().isoformat(),
            created_at=instant,
            window={"from": since, "to": to},
        )

    def _conversion(self, event: _Event, to: str) -> dict[str, Json]:
        dated, days = event.start != UNDATED, None
        if dated and event.arrival != UNDATED:
            days = max(0, (event.start - event.arrival) // DAY)
        between = None
        if not dated:
            between = {"from": from_microseconds(min(event.after, event.known_by)).isoformat(), "to": to}
        return {
            "lead_id": event.lead_id,
            "lead_name": None,
            "conversion_value": None,  # nothing in this schema records it
            "days_to_convert": days,
            "touch_points": self.touch_points[event.episode] if dated else None,
            "initial_urgency": None if event.urgency < 0 else URGENCY_NAMES[event.urgency],
            "final_tag": FINAL_TAG,
            "dated": dated,
            "between": between,
        }

    def _reversion(self, event: _Event) -> dict[str, Json]:
        reason, reverted_to = self.episodes.ending(event.episode)
        start = int(self.episodes.start[event.episode])
        return {
            "lead_id": event.lead_id,
            "lead_name": None,
            "reason": reason,
            "reverted_to": reverted_to,
            "days_as_customer": None if start == UNDATED else max(0, (event.start - start) // DAY),
        }


def repeated(
    findings: Sequence[Finding], known: Collection[tuple[str | None, str, str | None]], leads: Leads
) -> set[str]:
    """
    Find the conversions of leads that are customers already, by an event on record: their claim_keys.

    The application stamps an outcome anew when it is clicked again, and what dated the conversion is gone. Where
    nothing ended it since, neither a reversion, on record or among the findings, nor an action, it is the same one.

    known : client_id, event_type and claim_key of the events on record. leads : those that the findings speak of.
    """
    told = {(finding.client_id, finding.event_type, finding.claim_key) for finding in findings}
    new = [(i, key, *read_event_key(key)) for i, event_type, key in told - set(known) if event_type == "conversion"]
    asked = {(client_id, lead_id) for client_id, _, lead_id, _, _ in new}
    events: dict[tuple[str | None, str], list[tuple[int, bool]]] = {}  # a lead's, and whether they are reversions
    for client_id, event_type, key in {*known, *(event for event in told if event[1] == "reversion")} if asked else ():
        of_lead = client_id, str(key).rpartition("@")[0]
        _, instant, is_dated = read_event_key(str(key)) if of_lead in asked else ("", 0, False)
        if is_dated:
            events.setdefault(of_lead, []).append((instant, event_type == "reversion"))
    again: dict[str, tuple[str, int, int]] = {}  # by key its lead, and the instants of both
    for client_id, key, lead_id, instant, is_dated in new:
        before = (event for event in events.get((client_id, lead_id), ()) if event[0] < instant)
        last, was_reversion = max(before, default=(instant, True))
        if is_dated and not was_reversion:
            again[key] = lead_id, last, instant
    ends = _ends_of_leads(leads, {lead_id for lead_id, _, _ in again.values()})
    return {
        key
        for key, (lead_id, first, second) in again.items()
        if not any(first < end <= second for end in ends[lead_id])
    }


def _ends_of_leads(leads: Leads, lead_ids: Collection[str]) -> dict[str, list[int]]:
    """Give the instants of the actions by which these leads' outcomes ended."""
    result: dict[str, list[int]] = {lead_id: [] for lead_id in lead_ids}
    a = leads.actions
    if a is not None and result:
        ending = a.deeds.reverting | ((a.deeds.kind == ACTION_OUTCOME_UPDATE) & ~a.deeds.winning_by_outcome)
        names = leads.id.tolist()
        asked = np.array([name in result for name in names], dtype=np.bool_)
        places = np.flatnonzero(asked[a.lead] & a.that(ending))
        for lead, time in zip(a.lead[places].tolist(), a.time[places].tolist(), strict=True):
            result[names[lead]].append(time)
    return result


def reconcile(findings: Sequence[Finding], past: Sequence[Mapping[str, Json]], as_of: datetime) -> list[Finding]:
    """
    Leave out the events that the application itself recorded within a day; its rows stay, and nothing is doubled.

    An undated conversion is the application's if that lies anywhere between the instants that hold it.

    past : event_type, lead_id and created_at of the application's own rows. Events that we wrote ourselves are kept
    here: the database passes over what it already has.
    """
    del as_of
    theirs: dict[tuple[str, str], list[datetime]] = {}
    for row in past:
        if row["lead_id"] is not None:
            theirs.setdefault((row["event_type"], row["lead_id"]), []).append(row["created_at"])
    result = []
    for finding in findings:
        first, last = finding.facts["between"]
        written = theirs.get((finding.event_type, str(finding.content["lead_id"])), ())
        if not any(first - SAME_EVENT <= other <= last + SAME_EVENT for other in written):
            result.append(finding)
    return result
