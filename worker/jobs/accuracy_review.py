"""
accuracy_review: what became of past claims, and what is to be learned from that?

Meaning. Every claim on record whose time has come is decided by later rows (worker/review/resolvers.py), at most one by
client, job and window, so that none rests on leads that another rests on. Of jobs that speak of rates which nobody sees
the check beside the claim is scored, never the claim itself. Claims are void, and counted as such, where leads were
imported, erased or edited in bulk since. One row a client, and one for all: for each job how many were decided, wait or
are void, what was said and what was right.

Formula. Mean said and mean right; the Brier score, and its skill over the base rate, the share right of the job's other
windows, all clients; ten bands of probability with Jeffreys' intervals, the pool's widened by how alike one client's
claims are; coverage of intervals and the CRPS of counts (worker/review/figures.py). The claim of each review is about
the pool, for a single client's claims are too few to judge by: what is said and what is right differ in the long run by
less than 0.05. Its probability is the posterior's, under a normal prior about no difference, with errors clustered by
client and by window (estimate_gap in worker/statistics/calibration.py).

What is learned. How conversion_prediction is to state its probabilities (worker/review/learning.py): a logistic map,
published only where maps of earlier windows improved later ones; and the base rate instead of single probabilities
where these did worse than it in two windows running.

Check. So near to each other, too, lie said and right among the claims that are decided in the next 30 days.

Source. Brier (1950); Jeffreys' interval: Brown, Cai & DasGupta (2001); recalibration: Cox (1958), Platt (1999).

Limits. Predictions are decided after 30 days, conversions after 90: a new database has little to review (`backfill`
makes past predictions). Every claim weighs the same, so that a client with many conversions weighs more. Half of a
client's leads, set aside, cannot tell what moves both halves alike, such as a burst.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from worker.jobs.finding import Check, Claim, Finding, Json
from worker.leads import DAY, WINDOW_DAYS, Leads, from_microseconds, to_microseconds
from worker.review.claims import PastClaim
from worker.review.figures import Totals, as_json, everyone, pool_reliability, windows_json
from worker.review.learning import learn
from worker.review.resolved import REVIEW, Resolved
from worker.review.resolvers import WITHIN, Models, resolve_claims
from worker.statistics.calibration import estimate_gap

NAME = "accuracy_review"
EVENT_TYPE = "accuracy_review"
TITLE = "what became of past claims, and what is learned from it?"
LOOK_BACK_DAYS: int | None = None
REVIEWS_CLAIMS = True  # fit and analyse take what became of the claims on record

MONTH = WINDOW_DAYS * DAY


def resolve(leads: Leads, claims: Sequence[PastClaim], models: Models, as_of: datetime) -> Resolved:
    """Decide the claims made before as_of, of all clients."""
    return resolve_claims(leads, claims, models, as_of)


def fit(leads: Leads, as_of: datetime, *, past: Resolved) -> Mapping[str, Json]:
    """Learn how well the pool's claims held, and how conversion_prediction is to state its probabilities."""
    del leads  # what they tell of the claims is in `past`
    scored = past.pooled & past.decided & (past.kind != REVIEW)
    gap = estimate_gap(past.said[scored], past.right[scored], (past.client[scored], past.window[scored]))
    # as many claims as in a month of those that were looked at
    span = max((to_microseconds(as_of) - int(past.time[scored].min(initial=to_microseconds(as_of)))) / MONTH, 1.0)
    recalibration, evidence = learn(past)
    return {
        "as_of": as_of.astimezone(UTC).isoformat(),
        "gap": {"mean": gap.mean, "error": gap.error},
        "probability": gap.within(WITHIN),
        "probability_next": gap.next_within(WITHIN, 1 / span),
        "recalibration": recalibration,
        "evidence": evidence,
    }


def analyse(
    leads: Leads, model: Mapping[str, Json], as_of: datetime, rng: np.random.Generator, *, past: Resolved
) -> list[Finding]:
    """Write one finding for each client that ever made a claim, or for all of them together."""
    del rng  # nothing here is simulated
    if leads.clients.ids == (None,):
        return _of_all(model, as_of, past)
    place = {client_id: number for number, client_id in enumerate(leads.clients.ids)}
    group_of = np.array([place.get(client_id, -1) for client_id in past.client_ids] + [-1], dtype=np.int64)
    group = group_of[past.client]
    totals = Totals.of(past, group, len(leads.clients))
    claims = np.bincount(group[group >= 0], minlength=len(leads.clients))
    first = np.full(len(leads.clients), to_microseconds(as_of), dtype=np.int64)
    np.minimum.at(first, group[group >= 0], past.time[group >= 0])
    return [
        _finding(
            leads.clients.ids[c],
            {**as_json(totals, c), "recalibration": _followed(model, leads.clients.ids[c])},
            model,
            as_of,
            int(first[c]),
        )
        for c in np.flatnonzero(claims).tolist()
    ]


def _of_all(model: Mapping[str, Json], as_of: datetime, past: Resolved) -> list[Finding]:
    """Write the finding for all: the pooled clients' claims, and apart from them the claims about all together."""
    ours = past.pooled | everyone(past)
    if not ours.any():
        return []
    totals = Totals.of(past, np.where(past.pooled, 0, -1), 1)
    own = as_json(Totals.of(past, np.where(everyone(past), 0, -1), 1), 0)["jobs"]
    content = {
        **as_json(totals, 0, pool_reliability(past)),
        # the base rate is that of clients' claims, which says nothing of these
        "of_all_together": {
            kind: {k: v for k, v in own[kind].items() if k not in ("base_rate", "skill")} for kind in own
        },
        "windows": windows_json(past, past.pooled),
        "recalibration": _followed(model, None),
        "evidence": model["evidence"],
    }
    return [_finding(None, content, model, as_of, int(past.time[ours].min()))]


def _followed(model: Mapping[str, Json], client_id: str | None) -> Json:
    """Tell what recalibration follows for a client: the map with its own offset, not those of others."""
    kept = model["recalibration"]
    if kept is None:
        return None
    offset = kept["clients"].get(client_id, 0.0)
    names = ("version", "a", "b", "claims", "fitted", "base_rate")
    return {**{name: kept[name] for name in names}, "offset": offset}


def _finding(
    client_id: str | None, content: dict[str, Json], model: Mapping[str, Json], as_of: datetime, first: int
) -> Finding:
    claim = Claim(
        "within_distance",
        float(model["probability"]),
        f"Over all clients, what is said and what is right differ in the long run by less than {WITHIN:.2f}.",
        {"distance": WITHIN},
    )
    check = Check(
        "outcome",
        as_of.astimezone(UTC) + timedelta(days=WINDOW_DAYS),
        float(model["probability_next"]),
        {"distance": WITHIN},
    )
    return Finding(
        client_id,
        EVENT_TYPE,
        content,
        claim,
        check,
        n=content["overall"]["resolved"],
        facts={"about": "all" if client_id is None else "client"},
        window={"from": from_microseconds(first).isoformat(), "to": as_of.astimezone(UTC).isoformat()},
    )
