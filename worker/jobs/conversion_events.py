"""
conversion_events: which leads became customers, when, after how long, and which of them went back?

Replays lead_actions and reconciles with the leads' columns (worker/lifecycle.py). Writes `conversion` and `reversion`
snapshots once per episode, dated when they happened. days_to_convert: whole days from first contact. touch_points:
contacts before the conversion (submissions, notes, tags, outcome updates, contacted actions), the converting action
left out. The claim of a conversion: it stays 90 days; its confidence is the share of earlier conversions, whose
90 days had passed when this one happened, that stayed, the client's own shrunk to everyone's; likewise of a reversion.
A conversion that nothing dates is kept with days_to_convert and touch_points null; it lies between first contact (or
the reversion before) and the last change.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from worker.jobs.finding import Check, Claim, Finding, Json
from worker.leads import DAY, DELETED, UNDATED, Leads, from_microseconds, to_microseconds
from worker.lifecycle import Episode, conversion_episodes
from worker.vocabulary import URGENCY_NAMES, URGENCY_UNKNOWN

NAME = "conversion_events"
EVENT_TYPE = "conversion"
TITLE = "record conversions and reversions"
LOOK_BACK_DAYS: int | None = None
SCHEDULE = "every 5m"
PAST_EVENT_TYPES = ("conversion", "reversion")

STAYS_DAYS = 90
PRIOR_STAYED, PRIOR_LEFT = 9.0, 1.0  # before any is seen: nine in ten conversions stay, worth ten of them
CLIENT_STRENGTH = 20.0  # the pool's share counts as this many of a client's own conversions
SAME_EVENT = timedelta(days=1)  # the application's own row of an event lies this close to it


def fit(leads: Leads, as_of: datetime) -> Mapping[str, Json]:
    """
    Learn when conversions, and reversions, that did not stay 90 days ended, over all pooled clients.

    The times are kept, not only their counts: each event is judged by what was known when it happened.
    """
    spells = _spells(conversion_episodes(leads, to_microseconds(as_of)))
    return {
        event_type: dict(zip(("matured", "left"), _outcomes(spells[event_type]), strict=True)) for event_type in spells
    }


def _spells(episodes: Sequence[Episode]) -> dict[str, list[tuple[int, int | None]]]:
    """Give the start and end of every dated stretch as a customer, and of every one after a reversion."""
    spells: dict[str, list[tuple[int, int | None]]] = {"conversion": [], "reversion": []}
    for i, episode in enumerate(episodes):
        if episode.start is not None:
            spells["conversion"].append((episode.start, episode.end))
        if episode.end is not None:
            again = episodes[i + 1] if i + 1 < len(episodes) and episodes[i + 1].lead == episode.lead else None
            spells["reversion"].append((episode.end, None if again is None else again.known_by))
    return spells


def _outcomes(spells: Sequence[tuple[int, int | None]]) -> tuple[list[int], list[int]]:
    """Give the sorted instants at which a spell's 90 days were over, and of them those it had ended by then."""
    left = sorted(
        start + STAYS_DAYS * DAY for start, end in spells if end is not None and end < start + STAYS_DAYS * DAY
    )
    return sorted(start + STAYS_DAYS * DAY for start, _ in spells), left


@dataclass(frozen=True, slots=True)
class _Record:
    """What may be known, at any instant, of how long events stay: everyone's, and one client's own."""

    model: Mapping[str, Json]
    own: Mapping[str, tuple[list[int], list[int]]]

    def probability(self, event_type: str, instant: int) -> float:
        """Estimate, from what had matured by then, the probability that an event of this instant stays."""
        everyone, (own_matured, own_left) = self.model[event_type], self.own[event_type]
        n, gone = bisect_right(everyone["matured"], instant), bisect_right(everyone["left"], instant)
        pooled = (n - gone + PRIOR_STAYED) / (n + PRIOR_STAYED + PRIOR_LEFT)
        n_own, gone_own = bisect_right(own_matured, instant), bisect_right(own_left, instant)
        return (n_own - gone_own + CLIENT_STRENGTH * pooled) / (n_own + CLIENT_STRENGTH)


def analyse(leads: Leads, model: Mapping[str, Json], as_of: datetime, rng: np.random.Generator) -> list[Finding]:
    """Write one finding for each conversion and reversion before as_of of leads not deleted; none for the pool."""
    del rng  # nothing here is simulated
    if leads.clients.ids == (None,):
        return []
    before = to_microseconds(as_of)
    episodes = conversion_episodes(leads, before)
    deleted = leads.state_at(before) == DELETED
    urgency = leads.urgency.first_before(before, len(leads), URGENCY_UNKNOWN).astype(np.int64)
    by_client: dict[int, list[Episode]] = {}
    for episode in episodes:
        by_client.setdefault(int(leads.client[episode.lead]), []).append(episode)
    findings = []
    for client in sorted(by_client):
        mine = by_client[client]
        record = _Record(model, {name: _outcomes(spells) for name, spells in _spells(mine).items()})
        for episode in mine:
            if deleted[episode.lead]:
                continue
            findings.append(_conversion(leads, episode, int(urgency[episode.lead]), record, as_of))
            if episode.end is not None:
                findings.append(_reversion(leads, episode, record, as_of))
    return findings


def _conversion(leads: Leads, episode: Episode, urgency: int, record: _Record, as_of: datetime) -> Finding:
    lead, arrival = episode.lead, int(leads.arrival[episode.lead])
    days = None
    if episode.start is not None and arrival != UNDATED:
        days = max(0, (episode.start - arrival) // DAY)
    content = {
        "lead_id": str(leads.id[lead]),
        "lead_name": None,
        "conversion_value": None,  # nothing in this schema records it
        "days_to_convert": days,
        "touch_points": episode.touch_points,
        "initial_urgency": None if urgency < 0 else URGENCY_NAMES[urgency],
        "final_tag": episode.final_tag,
        "dated": episode.start is not None,
    }
    if episode.start is not None:
        event = _Event("conversion", episode.start, episode.start)
    else:
        # Its row is dated by when it was first known, which moves with every later contact, so that its key must not:
        # the key is the last instant at which the lead was surely no customer.
        event = _Event("conversion", episode.known_by, episode.after)
    text = f"The lead is still a customer {STAYS_DAYS} days after the conversion."
    claim = Claim("stays", record.probability("conversion", event.when), text, {"days": STAYS_DAYS})
    return _finding(leads, lead, event, content, claim, as_of=as_of)


def _reversion(leads: Leads, episode: Episode, record: _Record, as_of: datetime) -> Finding:
    assert episode.end is not None  # noqa: S101 - the caller looked
    content = {
        "lead_id": str(leads.id[episode.lead]),
        "lead_name": None,
        "reason": episode.reason,
        "reverted_to": episode.reverted_to,
        "days_as_customer": None if episode.start is None else max(0, (episode.end - episode.start) // DAY),
    }
    text = f"The lead has not become a customer again {STAYS_DAYS} days after the reversion."
    claim = Claim("stays", record.probability("reversion", episode.end), text, {"days": STAYS_DAYS})
    event = _Event("reversion", episode.end, episode.end)
    return _finding(leads, episode.lead, event, content, claim, as_of=as_of)


@dataclass(frozen=True, slots=True)
class _Event:
    event_type: str
    when: int  # microseconds: when it happened or was known
    key: int  # the instant that names it


def _finding(
    leads: Leads, lead: int, event: _Event, content: dict[str, Json], claim: Claim, *, as_of: datetime
) -> Finding:
    instant, key = from_microseconds(event.when), from_microseconds(event.key)
    arrival = int(leads.arrival[lead])
    return Finding(
        leads.clients.ids[int(leads.client[lead])],
        event.event_type,
        content,
        claim,
        Check("outcome", instant + timedelta(days=STAYS_DAYS), claim.probability),
        n=1,
        facts={"between": (min(key, instant), instant)},
        claim_key=f"{leads.id[lead]}@{'' if event.key == event.when else 'after '}{key.isoformat()}",
        period_key=key.astimezone(as_of.tzinfo).date().isoformat(),
        created_at=instant,
        window={
            "from": None if arrival == UNDATED else from_microseconds(min(arrival, event.when)).isoformat(),
            "to": instant.isoformat(),
        },
    )


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
