"""
What decides a past claim: for each kind a pure function of the rows since, up to the review's own as_of.

- conversion_prediction: the conversions in the 30 days after it of the leads that were open when it was made. Void
  where a conversion has no date and may lie in those days, and where leads were imported, erased or edited in bulk: not
  the same leads, by their hash, seem to have been open then, more or fewer by more than one and by more than a tenth.
- conversion, reversion: whether it stayed 90 days. Void where the event is no longer on record.
- engagement_score, urgency_trend, tone_distribution, pattern_detected: nobody sees the rates that these claims speak
  of. What is decided, and scored, is the check beside the claim: does the half of the leads set aside show what the
  snapshot said it would? Void where the check had no probability, where the model that made it is gone, and where the
  windows' leads have become more or fewer by more than one and by more than a tenth.
- accuracy_review: whether what was said and what was right lay as near to each other among the claims whose time came
  in the 30 days after it. Void where there were none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import numpy as np

from worker.jobs import engagement_score, pattern_detection, tone_distribution, urgency_trend
from worker.jobs.conversion_outcomes import read_outcomes
from worker.jobs.conversion_prediction import cohort_hash
from worker.jobs.finding import HalfChecks
from worker.jobs.windows import TwoWindows
from worker.leads import DAY, OPEN, WINDOW_DAYS, Leads, to_microseconds
from worker.lifecycle import resolve_stays
from worker.randomness import generator
from worker.review.claims import BY_ROW, BY_WINDOW, PastClaim
from worker.review.resolved import (
    CONVERSION,
    EVERYONE,
    PENDING,
    REVIEW,
    RIGHT,
    SCORED,
    TYPES,
    VOID,
    WRONG,
    Resolved,
    base_rates,
    numbers,
    windows_of,
)
from worker.statistics import BoolArray, FloatArray, IntArray
from worker.statistics.count_scores import count_crps, forecast_draws

WITHIN = 0.05  # what an accuracy_review claims of the difference between said and right
SEVERAL, TENTH = 1.0, 0.1  # leads by which, and the part of them by which, a group may differ and be taken for the same
MATURES = {kind.event_type: kind.matures_days for kind in (*BY_WINDOW, *BY_ROW)}
HALVES: Mapping[str, ModuleType] = {
    job.EVENT_TYPE: job for job in (engagement_score, urgency_trend, tone_distribution, pattern_detection)
}

Models = Mapping[str, Mapping[str, Any]]


def resolve_claims(leads: Leads, claims: Sequence[PastClaim], models: Models, as_of: datetime) -> Resolved:
    """
    Decide every claim whose time has come, by what the leads tell before as_of.

    Parameters
    ----------
    leads : of all clients, read without a look-back. Claims of clients that are not among them are left out.
    models : by version, those that made the claims, as far as they are stored.
    """
    place: dict[str | None, int] = {client_id: number for number, client_id in enumerate(leads.clients.ids)}
    clients = {*leads.clients.ids, None}
    known = [c for c in claims if c.as_of < as_of and c.event_type in TYPES and c.client_id in clients]
    client = np.array([place.get(claim.client_id, EVERYONE) for claim in known], dtype=np.int64)
    kind = np.array([TYPES.index(claim.event_type) for claim in known], dtype=np.int64)
    time = np.array([to_microseconds(claim.as_of) for claim in known], dtype=np.int64)
    due = time + np.array([MATURES[claim.event_type] for claim in known], dtype=np.int64) * DAY
    of_check = np.array([SCORED[claim.event_type] == "check" for claim in known], dtype=np.bool_)
    said = np.where(of_check, numbers(known, "check_p"), numbers(known, "probability"))
    raw = numbers(known, "uncalibrated")
    work = _Work(leads, tuple(known), kind, client, time, np.full(len(known), VOID), as_of)
    work.state[due > to_microseconds(as_of)] = PENDING
    decidable = np.isfinite(said) & (work.state != PENDING)
    work.decide_halves(decidable, models)
    work.decide_stays(decidable)
    actual, crps, altered = work.decide_counts(decidable)
    pooled = np.append(leads.clients.pooled, False)[client]  # EVERYONE, -1, is the last place
    work.decide_reviews(decidable, due, said, pooled)
    window = windows_of(time, as_of)
    decided, right = work.state >= WRONG, work.state == RIGHT
    return Resolved(
        as_of=as_of,
        client_ids=leads.clients.ids,
        claims=work.claims,
        kind=kind,
        client=client,
        pooled=pooled,
        time=time,
        window=window,
        state=work.state,
        said=said,
        uncalibrated=np.where(np.isfinite(raw), raw, said),
        base=base_rates(kind, window, decided & pooled, right),
        actual=actual,
        crps=crps,
        altered=altered & decided,
        recalibration=_last_recalibration(work.claims, models),
    )


def _last_recalibration(claims: Sequence[PastClaim], models: Models) -> Mapping[str, Any] | None:
    """Find what the last review published: claims are sorted by time within an event type."""
    reviews = [claim for claim in claims if claim.event_type == "accuracy_review"]
    kept = models.get(reviews[-1].model_version or "", {}).get("recalibration") if reviews else None
    return kept if isinstance(kept, Mapping) else None


def differs(then: FloatArray, now: FloatArray) -> BoolArray:
    """Mark the groups of leads that are not the same any more, judged by their numbers; unknown ones are not."""
    result: BoolArray = ~(np.abs(now - then) <= np.maximum(SEVERAL, TENTH * then))
    return result


def _look(job: ModuleType, model: Mapping[str, Any], instant: datetime, leads: Leads) -> HalfChecks | None:
    """Let a job's stored model look at the halves again; None where the model is of another version of the program."""
    look = getattr(job, "claim_checks", job.half_checks)
    try:
        checks: HalfChecks = look(leads, model, instant, generator(job.NAME, instant))
    except (KeyError, TypeError, ValueError, IndexError):
        return None
    return checks


@dataclass(frozen=True, slots=True)
class _Work:
    """The claims at hand, and the state of each, which the deciders fill in."""

    leads: Leads
    claims: tuple[PastClaim, ...]
    kind: IntArray
    client: IntArray
    time: IntArray
    state: IntArray
    as_of: datetime

    def _instants(self, chosen: BoolArray) -> list[tuple[datetime, IntArray]]:
        """Group claims by the instant at which they were made."""
        rows = np.flatnonzero(chosen)
        rows = rows[np.argsort(self.time[rows], kind="stable")]
        groups = np.split(rows, np.flatnonzero(np.diff(self.time[rows])) + 1)
        return [(self.claims[group[0]].as_of.astimezone(UTC), group) for group in groups if len(group)]

    def decide_halves(self, decidable: BoolArray, models: Models) -> None:
        """Decide the checks of the four analyses by the half of the leads set aside."""
        for event_type, job in HALVES.items():
            for instant, rows in self._instants(decidable & (self.kind == TYPES.index(event_type))):
                end = to_microseconds(instant)
                leads = self.leads.only(self.leads.arrived(end - 2 * WINDOW_DAYS * DAY, end))
                for group in self._by_model(rows):
                    model = models.get(self.claims[group[0]].model_version or "")
                    if model is None:
                        continue
                    for side, place, part in self._sides(group, leads):
                        checks = _look(job, model, instant, part)
                        if checks is not None:
                            self._set_shown(side, place, checks, part, instant)

    def _sides(self, rows: IntArray, leads: Leads) -> list[tuple[IntArray, IntArray, Leads]]:
        """
        Put claims about single clients, and those about all of them, beside the leads that they speak of.

        Gives the rows, for each its index among those leads' clients, and the leads.
        """
        single, everyone = rows[self.client[rows] != EVERYONE], rows[self.client[rows] == EVERYONE]
        sides = []
        if len(single):
            spoken_of = np.zeros(len(leads.clients), dtype=np.bool_)
            spoken_of[self.client[single]] = True
            place = np.cumsum(spoken_of) - 1
            sides.append((single, place[self.client[single]], leads.of_clients(spoken_of)))
        if len(everyone):
            sides.append((everyone, np.zeros(len(everyone), dtype=np.int64), leads.pool()))
        return sides

    def _by_model(self, rows: IntArray) -> list[IntArray]:
        versions = [self.claims[row].model_version or "" for row in rows.tolist()]
        _, number = np.unique(np.array(versions, dtype=object).astype(str), return_inverse=True)
        return [rows[number == one] for one in range(int(number.max()) + 1)]

    def _set_shown(self, rows: IntArray, place: IntArray, checks: HalfChecks, leads: Leads, instant: datetime) -> None:
        """Set what the half set aside shows of some claims of one job, instant and model."""
        seen = {
            (client, states): agreed
            for client, states, p, agreed in zip(
                checks.client.tolist(), checks.states, checks.p.tolist(), checks.agreed.tolist(), strict=True
            )
            if np.isfinite(p)
        }
        claims = [self.claims[row] for row in rows.tolist()]
        agreed = [
            # a pattern is named by its key, and another claim's check by the class it speaks of
            seen.get((client, claim.claim_key or claim.check_states or ""))
            for client, claim in zip(place.tolist(), claims, strict=True)
        ]
        state = np.array([VOID if one is None else RIGHT if one else WRONG for one in agreed], dtype=np.int64)
        two = TwoWindows.of(leads, instant)
        changed = np.zeros(len(rows), dtype=np.bool_)
        for name, mask in (("n", two.current), ("n_previous", two.previous)):
            changed |= differs(numbers(claims, name), leads.per_client(mask)[place].astype(np.float64))
        self.state[rows] = np.where(changed, VOID, state)

    def decide_stays(self, decidable: BoolArray) -> None:
        """Decide whether conversions and reversions stayed."""
        rows = np.flatnonzero(decidable & np.isin(self.kind, [TYPES.index("conversion"), TYPES.index("reversion")]))
        if not len(rows):
            return
        chosen = [self.claims[row] for row in rows.tolist()]
        claims = [
            {"event_type": c.event_type, "client_id": c.client_id, "claim_key": c.claim_key, "created_at": c.as_of}
            for c in chosen
        ]
        stayed = resolve_stays(self.leads, claims, self.as_of)
        self.state[rows] = [VOID if one is None else RIGHT if one else WRONG for one in stayed]

    def decide_counts(self, decidable: BoolArray) -> tuple[FloatArray, FloatArray, BoolArray]:
        """Decide the ranges of conversions; give the counts, their scores, and whose leads are not the same."""
        actual = np.full(len(self.claims), np.nan)
        altered = np.zeros(len(self.claims), dtype=np.bool_)
        low, high = numbers(self.claims, "low"), numbers(self.claims, "high")
        chosen = decidable & (self.kind == CONVERSION) & np.isfinite(low) & np.isfinite(high)
        for instant, rows in self._instants(chosen):
            count, void, same = self._count(instant, rows)
            told = rows[~void]
            actual[told] = count[~void]
            altered[told] = ~same[~void]
            self.state[told] = np.where((low <= actual) & (actual <= high), RIGHT, WRONG)[told]
        return actual, self._crps(actual, low, high), altered

    def _count(self, instant: datetime, rows: IntArray) -> tuple[FloatArray, BoolArray, BoolArray]:
        """Count conversions of the leads open at an instant; which claims are void, and whose leads are the same."""
        end = to_microseconds(instant)
        arrived = self.leads.only(self.leads.arrival < end)
        outcomes, is_open = read_outcomes(arrived, instant, self.as_of), arrived.state_at(end) == OPEN
        cohort, converted, doubtful = arrived.only(is_open), outcomes.converted[is_open], outcomes.void[is_open]
        count, void, same = np.zeros(len(rows)), np.zeros(len(rows), np.bool_), np.zeros(len(rows), np.bool_)
        for everyone in (False, True):
            at = np.flatnonzero((self.client[rows] == EVERYONE) == everyone)
            if not len(at):
                continue
            of_pool = cohort.clients.pooled[cohort.client]
            leads = np.flatnonzero(of_pool) if everyone else np.arange(len(cohort))
            group = cohort.client[leads] * (not everyone)  # in order, so that each group is one stretch of the leads
            who = np.maximum(self.client[rows[at]], 0)
            n = len(cohort.clients)
            size, sure, unsure = (np.bincount(group, w, n) for w in (None, converted[leads], doubtful[leads]))
            stretch = np.searchsorted(group, np.arange(n + 1))
            claims = [self.claims[row] for row in rows[at].tolist()]
            same[at] = [
                claim.cohort_hash == cohort_hash(cohort.id[leads[stretch[c] : stretch[c + 1]]])
                for claim, c in zip(claims, who.tolist(), strict=True)
            ]
            count[at] = sure[who]
            others = differs(numbers(claims, "cohort_size"), size[who].astype(np.float64))
            void[at] = (unsure[who] > 0) | (~same[at] & others)
        return count, void, same

    def _crps(self, actual: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
        """Score the counts by the distributions that the snapshots spoke of, as they were before recalibration."""
        crps = np.full(len(self.claims), np.nan)
        expected, size = numbers(self.claims, "expected"), numbers(self.claims, "cohort_size")
        published, raw = numbers(self.claims, "probability"), numbers(self.claims, "uncalibrated")
        p = np.where(np.isfinite(raw), raw, published)
        rows = np.flatnonzero(np.isfinite(actual) & np.isfinite(expected) & np.isfinite(size) & np.isfinite(p))
        draws = forecast_draws(expected[rows], size[rows], low[rows], high[rows], p[rows])
        crps[rows] = count_crps(actual[rows], *draws)
        return crps

    def decide_reviews(self, decidable: BoolArray, due: IntArray, said: FloatArray, pooled: BoolArray) -> None:
        """Decide what earlier reviews said of the claims that were to be decided after them."""
        scored = pooled & (self.state >= WRONG) & (self.kind != REVIEW)
        for row in np.flatnonzero(decidable & (self.kind == REVIEW)).tolist():  # a dozen at most
            start = self.time[row]
            next_ones = scored & (due > start) & (due <= start + WINDOW_DAYS * DAY)
            if next_ones.any():
                gap = said[next_ones].mean() - (self.state[next_ones] == RIGHT).mean()
                self.state[row] = RIGHT if abs(gap) < WITHIN else WRONG
