"""
conversion_prediction: how many of a client's open leads will become customers in the next 30 days, and which?

Conversion is a hazard that depends on the age since first contact and on what was known first of the lead (urgency,
source, intent, confidence score), with a level per client shrunk to the pool (worker/statistics/hazard.py). Open leads
are censored, not failures; archived, deleted and lost ones leave by competing exits. History counts from the first
recorded conversion on: before it, wins were not recorded and their absence says nothing. The count's distribution is
a Poisson-binomial mixed over DRAWS parameter draws; the claim is that the count lies in the range around its rounded
mean. Limits: leads are independent given their features; a change of pace since the history shows late.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from worker.jobs.finding import Check, Claim, Finding, Json
from worker.jobs.windows import LEVEL, interval_json, top_names
from worker.leads import DAY, OPEN, WINDOW_DAYS, Leads, to_microseconds
from worker.lifecycle import Episode, age_days, conversion_episodes, observe
from worker.statistics import BoolArray, FloatArray, IntArray
from worker.statistics.counts import claim_range, count_interval, mixed_cdf
from worker.statistics.hazard import (
    Exposure,
    Forecast,
    HazardModel,
    client_totals,
    draw_deviations,
    draw_log_shifts,
    expected_share_within,
    fit_hazard,
    forecast,
    mask_exposure,
)
from worker.vocabulary import TAG_FOLLOW_UP, URGENCY_HIGH, URGENCY_NAMES, URGENCY_UNKNOWN

NAME = "conversion_prediction"
EVENT_TYPE = "conversion_prediction"
TITLE = "how many open leads will convert in the next 30 days, and which?"
LOOK_BACK_DAYS: int | None = None
SCHEDULE = "03:40"

DRAWS = 64
HISTORY_DAYS = 730  # older behaviour is another business
MOST_SOURCES, MOST_INTENTS = 12, 8  # the rest share one level
CONFIDENCE_EDGES = (0.5, 0.7, 0.9)  # the product's own bands
TOP_LEADS = 10
STALE_DAYS, YOUNG_DAYS = 90, 7


@dataclass(frozen=True, slots=True)
class Feature:
    """One known-first attribute of a lead: a level for each lead, level 0 being "not known"."""

    name: str
    levels: tuple[str, ...]
    codes: IntArray


def _most_frequent(codes: IntArray, names: tuple[str, ...], limit: int) -> list[str]:
    counts = np.bincount(codes[codes >= 0], minlength=len(names))
    best = sorted(range(len(names)), key=lambda code: (-counts[code], names[code]))[:limit]
    return sorted(names[code] for code in best if counts[code] > 0)


def _named_codes(codes: IntArray, names: tuple[str, ...], known: list[str]) -> IntArray:
    """Levels of a feature with open vocabulary: 0 not known, 1 another name, 2 + i the i-th known name."""
    place = {name: 2 + i for i, name in enumerate(known)}
    table = np.array([place.get(name, 1) for name in names] + [0], dtype=np.int64)
    return table[codes]  # code -1, not known, takes the last entry


def _features(leads: Leads, vocabulary: Mapping[str, Json], before: int) -> list[Feature]:
    n = len(leads)
    urgency = leads.urgency.first_before(before, n, URGENCY_UNKNOWN).astype(np.int64) + 1
    confidence = leads.confidence.first_before(before, n, np.nan)
    band = np.where(np.isfinite(confidence), np.searchsorted(CONFIDENCE_EDGES, confidence, side="right") + 1, 0)
    sources, intents = list(vocabulary["source"]), list(vocabulary["intent"])
    intent = leads.intent_at(before)
    return [
        Feature("urgency", ("unknown", *URGENCY_NAMES), urgency),
        Feature("confidence", ("unknown", "< 0.50", "0.50-0.69", "0.70-0.89", ">= 0.90"), band.astype(np.int64)),
        Feature("source", ("unknown", "other", *sources), _named_codes(leads.source, leads.source_names, sources)),
        Feature("intent", ("unknown", "other", *intents), _named_codes(intent, leads.intent_names, intents)),
    ]


def _exposure(leads: Leads, features: list[Feature], episodes: list[Episode], *, as_of: int, start: int) -> Exposure:
    """Lay out each lead's time under observation since `start`; leads that ended before it were never seen."""
    followed = observe(leads, episodes, as_of)
    dated = leads.arrival < as_of
    arrival = np.where(dated, leads.arrival, as_of)
    entry = np.maximum(arrival, start)
    outcome = np.where(followed.end < start, 0, followed.outcome)
    exposure = Exposure(
        entry_age=(entry - arrival) / DAY,
        exit_age=np.maximum((followed.end - arrival) / DAY, 0.0),
        outcome=outcome,
        features=np.stack([feature.codes for feature in features], axis=1),
        client=leads.owner,  # a client's level is its own in the pool too
    )
    return mask_exposure(exposure, dated & (followed.end >= start))


def _history_start(episodes: list[Episode], as_of: int) -> int:
    """Find where history begins: the first recorded conversion, at most HISTORY_DAYS ago."""
    oldest = as_of - HISTORY_DAYS * DAY
    return max(oldest, min((e.start if e.start is not None else e.known_by for e in episodes), default=oldest))


def fit(leads: Leads, as_of: datetime) -> Mapping[str, Json]:
    """Learn the hazard from all pooled clients' leads, open ones censored at as_of."""
    end = to_microseconds(as_of)
    arrived = leads.only(leads.arrival < end)
    episodes = conversion_episodes(arrived, end)
    start = _history_start(episodes, end)
    vocabulary = {
        "source": _most_frequent(arrived.source, arrived.source_names, MOST_SOURCES),
        "intent": _most_frequent(arrived.intent_at(end), arrived.intent_names, MOST_INTENTS),
    }
    features = _features(arrived, vocabulary, end)
    exposure = _exposure(arrived, features, episodes, as_of=end, start=start)
    model = fit_hazard(exposure, [len(feature.levels) for feature in features])
    first = int(arrived.arrival.min()) if len(arrived) else end
    return {
        "vocabulary": vocabulary,
        "history_from": start,
        "history_days": (end - max(start, first)) / DAY,
        "conversions": len(episodes),
        "leads": len(arrived),
        "levels": list(model.levels),
        "coefficients": model.coefficients.tolist(),
        "covariance": model.covariance.tolist(),
        "centre": model.centre.tolist(),
        "exit_hazard": model.exit_hazard.tolist(),
        "client_shape": model.client_shape,
    }


def _hazard(model: Mapping[str, Json]) -> HazardModel:
    return HazardModel(
        levels=tuple(model["levels"]),
        coefficients=np.array(model["coefficients"]),
        covariance=np.array(model["covariance"]),
        centre=np.array(model["centre"]),
        exit_hazard=np.array(model["exit_hazard"]),
        client_shape=float(model["client_shape"]),
        n_events=int(model["conversions"]),
        n_leads=int(model["leads"]),
    )


def analyse(leads: Leads, model: Mapping[str, Json], as_of: datetime, rng: np.random.Generator) -> list[Finding]:
    """Write one finding for each client with an open lead at as_of."""
    end = to_microseconds(as_of)
    hazard = _hazard(model)
    arrived = leads.only(leads.arrival < end)
    features = _features(arrived, model["vocabulary"], end)
    codes = np.stack([feature.codes for feature in features], axis=1)
    episodes = conversion_episodes(arrived, end)
    exposure = _exposure(arrived, features, episodes, as_of=end, start=int(model["history_from"]))
    is_open = arrived.state_at(end) == OPEN
    deviations = draw_deviations(hazard, DRAWS, rng)
    levels = _levels(hazard, exposure, arrived, rng)

    cohort = arrived.only(is_open)
    cohort_codes = codes[is_open]
    age = age_days(cohort, end)
    outlook = forecast(hazard, age, cohort_codes, levels.multiplier[cohort.owner])
    shifts = draw_log_shifts(hazard, outlook, cohort_codes, deviations)
    counts = _count_draws(outlook, cohort, shifts, levels)
    means, squares = counts.means, counts.squares
    mean = means.mean(axis=1)
    m, low, high = claim_range(mean)
    probability = mixed_cdf(high, means, squares) - mixed_cdf(low - 1, means, squares)
    interval_low, interval_high = count_interval(means, squares, LEVEL)
    arrivals = _new_arrivals(arrived, hazard, end, levels.multiplier)
    size = cohort.per_client(np.ones(len(cohort), dtype=bool))
    facts = _facts(cohort, age, end)
    based_on = _based_on(model)
    bounds = np.searchsorted(cohort.client, np.arange(len(leads.clients) + 1))
    order = np.lexsort((-counts.probability, cohort.client))  # stable: ties stay in the order of the ids
    findings = []
    for c in np.flatnonzero(size > 0).tolist():
        mine = slice(bounds[c], bounds[c + 1])
        best = order[mine][:TOP_LEADS]
        content = {
            "predicted_conversions": int(m[c]),
            "prediction_window": "next_30_days",
            "high_value_leads": [
                {
                    "lead_id": str(cohort.id[i]),
                    "probability": float(counts.probability[i]),
                    "estimated_value": None,  # nothing in this schema records what a conversion was worth
                    "reasons": _reasons(hazard, features, cohort_codes[i], float(levels.multiplier[cohort.owner[i]])),
                }
                for i in best
            ],
            "expected_conversions": float(mean[c]),
            "interval": interval_json(interval_low[c], interval_high[c]),
            "cohort": {"size": int(size[c]), "hash": _digest(cohort.id[mine])},
            "based_on": based_on,
            "new_arrivals": arrivals[c],
        }
        claim = Claim(
            "count_in_range",
            float(np.clip(probability[c], 0.0, 1.0)),
            f"Of the {size[c]} leads open at as_of, {low[c]:.0f} to {high[c]:.0f} convert in the next 30 days.",
            {"low": int(low[c]), "high": int(high[c])},
        )
        check = Check("outcome", as_of.astimezone(UTC) + timedelta(days=WINDOW_DAYS), claim.probability)
        findings.append(Finding(leads.clients.ids[c], EVENT_TYPE, content, claim, check, int(size[c]), facts=facts[c]))
    return findings


@dataclass(frozen=True, slots=True)
class Levels:
    """Each client's multiplier of everyone's hazard, and draws of it as shares of that; indexed by Leads.owner."""

    multiplier: FloatArray
    ratio: FloatArray  # (owners, DRAWS)


def _levels(hazard: HazardModel, exposure: Exposure, leads: Leads, rng: np.random.Generator) -> Levels:
    """
    Estimate every client's level: gamma posterior, prior of mean 1, with DRAWS draws (Wilson & Hilferty 1931).

    One client's draws use the same normal numbers as any other's, so that they do not depend on who else is there. In
    the pool, where many levels meet in one count, each has numbers of its own: their errors cancel.
    """
    n_owners = len(leads.owner_industry)
    observed, expected = client_totals(hazard, exposure, n_owners)
    shape, rate = hazard.client_shape + observed, hazard.client_shape + expected
    noise = rng.standard_normal((n_owners if leads.clients.ids == (None,) else 1, DRAWS))
    cube = 1 - 1 / (9 * shape[:, None]) + noise / (3 * np.sqrt(shape[:, None]))
    drawn = shape[:, None] * np.maximum(cube, 1e-3) ** 3 / rate[:, None]
    multiplier = shape / rate
    return Levels(multiplier, drawn / multiplier[:, None])


@dataclass(frozen=True, slots=True)
class Counts:
    """What the draws say: each lead's probability, and for each client and draw the sums that make the count."""

    probability: FloatArray  # (leads,), the mean over the draws: they add up to the expected count
    means: FloatArray  # (clients, DRAWS), sum of the leads' probabilities
    squares: FloatArray  # (clients, DRAWS), sum of their squares


def _count_draws(outlook: Forecast, cohort: Leads, shifts: FloatArray, levels: Levels) -> Counts:
    """
    Draw every lead's probability, and sum by client.

    Each lead's draws of its hazard are scaled to mean 1: the fit's estimate on the log scale is that of the mean hazard
    (a Poisson rate's, under its gamma posterior), and the mean of an exponential of normal draws would lie above it.
    """
    n_clients = len(cohort.clients)
    means, squares = np.zeros((n_clients, DRAWS)), np.zeros((n_clients, DRAWS))
    hazard_total = -np.log1p(-outlook.probability)
    factor = np.exp(np.clip(shifts, -5, 5)) * levels.ratio[cohort.owner]
    hazard_total = hazard_total / factor.mean(axis=1)
    total = np.zeros(len(cohort))
    for draw in range(DRAWS):
        p = -np.expm1(-hazard_total * factor[:, draw])
        total += p
        means[:, draw] = np.bincount(cohort.client, weights=p, minlength=n_clients)
        squares[:, draw] = np.bincount(cohort.client, weights=p * p, minlength=n_clients)
    return Counts(total / DRAWS, means, squares)


def _new_arrivals(arrived: Leads, hazard: HazardModel, end: int, multiplier: FloatArray) -> list[dict[str, Json]]:
    """Forecast conversions, within the window, of leads that have yet to arrive, at the last 60 days' pace."""
    recent = arrived.arrived(end - 2 * WINDOW_DAYS * DAY, end)
    pace = arrived.per_client(recent) / 2
    share = expected_share_within(hazard, float(hazard.centre.sum()), multiplier, WINDOW_DAYS)
    of_each = share[arrived.owner[recent]] / 2
    expected = np.bincount(arrived.client[recent], weights=of_each, minlength=len(pace))
    # a pace seen through n leads is itself uncertain by 1/sqrt(n): its draws at normal quantiles, evenly weighted
    quantiles = np.array([-1.5, -0.7, 0.0, 0.7, 1.5])
    scale = np.exp(quantiles[None, :] / np.sqrt(np.maximum(2 * pace, 1.0))[:, None])
    means = np.maximum(expected[:, None] * scale, 1e-9)
    low, high = count_interval(means, means * 1e-6, LEVEL)
    return [{"expected": float(expected[c]), "interval": interval_json(low[c], high[c])} for c in range(len(expected))]


def _reasons(hazard: HazardModel, features: list[Feature], codes: IntArray, multiplier: float) -> list[dict[str, Json]]:
    """Say what moves a lead's log hazard away from the average lead's beyond its noise, largest first."""
    reasons: list[dict[str, Json]] = []
    for j, feature in enumerate(features):
        place = hazard.offset(j) + int(codes[j])
        effect = float(hazard.coefficients[place] - hazard.centre[j])
        if abs(effect) > float(np.sqrt(hazard.covariance[place, place])):
            reasons.append({"reason": feature.name, "value": feature.levels[int(codes[j])], "log_hazard": effect})
    level = float(np.log(multiplier))
    if abs(level) > float(1 / np.sqrt(hazard.client_shape)):
        reasons.append({"reason": "client", "value": None, "log_hazard": level})
    return sorted(reasons, key=lambda reason: (-abs(reason["log_hazard"]), reason["reason"]))


def _facts(cohort: Leads, age: FloatArray, end: int) -> list[dict[str, Json]]:
    """Counts of the open leads that an owner can act on, for the recommended actions."""
    urgency = cohort.urgency.latest_before(end, len(cohort), URGENCY_UNKNOWN)

    def count(mask: BoolArray) -> IntArray:
        return cohort.per_client(mask)

    every = np.ones(len(cohort), dtype=bool)
    total, follow_up = count(every), count(cohort.tag_at(end) == TAG_FOLLOW_UP)
    high, young, stale = count(urgency == URGENCY_HIGH), count(age < YOUNG_DAYS), count(age > STALE_DAYS)
    sources = top_names(cohort, cohort.source, cohort.source_names, every, 1)
    return [
        {
            "n_open": int(total[c]),
            "follow_up_open": int(follow_up[c]),
            "high_urgency_open": int(high[c]),
            "young_open": int(young[c]),
            "stale_open": int(stale[c]),
            "top_source": sources[c][0] if sources[c] else None,
        }
        for c in range(len(cohort.clients))
    ]


def _based_on(model: Mapping[str, Json]) -> str:
    """Say in words what the numbers rest on."""
    conversions, days = int(model["conversions"]), float(model["history_days"])
    if conversions == 0:
        return "no conversion on record yet: the default curve, wide"
    history = f"{conversions} historical conversions among {model['leads']} leads, {days:.0f} days of history"
    return history if days >= WINDOW_DAYS else f"{history}: shorter than the window, so the default curve weighs in"


def _digest(ids: NDArray[np.object_]) -> str:
    return hashlib.sha256("\n".join(sorted(map(str, ids))).encode()).hexdigest()[:16]
