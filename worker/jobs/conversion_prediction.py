"""
conversion_prediction: how many of a client's open leads will become customers in the next 30 days, and which?

Meaning. The leads spoken of, the cohort, are those open at as_of, of any age. Each has a probability of converting
within the window, and their sum is the count expected. `new_arrivals`, leads that have yet to come, are forecast apart
and are no part of the claim. Each of the most promising leads has its reasons, parts of its log hazard that add up
(worker/jobs/conversion_reasons.py), and, where the application recorded what earlier conversions were worth, a value
(worker/jobs/conversion_value.py); leads are then ordered by expected value.

Formula. Conversion is a hazard: constant within bins of the age since first contact, its logarithm a sum over the bin,
the pace of the calendar's months, what is known of the lead and when it came (worker/jobs/conversion_features.py), all
drawn to zero by as much as the history does not support them; a level per client is shrunk to everyone's by a gamma
prior. Open leads are censored, not failures; archived, deleted and lost ones leave by competing exits. History counts
from the first recorded conversion on: before it, wins were not recorded, and their absence says nothing. The count's
distribution is a Poisson-binomial, mixed over DRAWS draws of the parameters. The claim: the count lies within k of its
rounded mean m, k = max(1, round(m / 4)). Its probability is that of the mixed distribution, restated by what became of
earlier claims where accuracy_review found that this helps (worker/review/learning.py).

Which model speaks. Each fit is scored on the 30 days before as_of by a stand-in that had not seen them, and speaks only
if it does not lose to the one that spoke (worker/registry.py).

Check. The claim itself, 30 days later.

Source. Piecewise exponential model: Friedman (1982); client levels: Clayton (1978); worker/statistics/hazard.py and
hazard_fit.py. Poisson-binomial by a binomial: Ehm (1991), worker/statistics/counts.py. Recalibration: Cox (1958), Platt
(1999), worker/statistics/recalibration.py.

Limits. Leads are independent given their features. A change of pace is known once some weeks of conversions show it;
where the odds of new leads halve or double within a year, the expected count is off by some 5%. A lead that was a
customer, went back and is open again is forecast as if it had never converted. Where conversions leave no date at all,
a default delay stands in, and predictions are too sure.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np

from worker.episodes import Episodes, conversion_episodes
from worker.jobs.conversion_counts import DRAWS, Levels, count_draws, estimate_levels
from worker.jobs.conversion_features import (
    ARRIVAL,
    OF_OLDER,
    Feature,
    arrival_gaps,
    choose_vocabulary,
    codes_of,
    find_history_start,
    lay_out_exposure,
    lead_features,
    month_gaps,
)
from worker.jobs.conversion_outcomes import generator_at, read_outcomes, score
from worker.jobs.conversion_reasons import Candidate, Promising, explain, facts_of, worsens
from worker.jobs.conversion_value import recorded_values, with_values
from worker.jobs.finding import Check, Claim, Finding, Json
from worker.jobs.windows import LEVEL, interval_json, number, top_names
from worker.lead_ids import Ids
from worker.leads import DAY, OPEN, WINDOW_DAYS, Leads, from_microseconds, to_microseconds
from worker.lifecycle import age_days
from worker.statistics import BoolArray, FloatArray, IntArray
from worker.statistics.counts import claim_range, count_interval, mixed_cdf
from worker.statistics.hazard import (
    Codes,
    HazardModel,
    draw_deviations,
    expected_share_within,
    forecast,
)
from worker.statistics.hazard_fit import fit_hazard
from worker.statistics.recalibration import apply_map
from worker.vocabulary import TAG_FOLLOW_UP, URGENCY_HIGH, URGENCY_UNKNOWN

NAME = "conversion_prediction"
EVENT_TYPE = "conversion_prediction"
PAST_EVENT_TYPES = ("conversion",)
TITLE = "how many open leads will convert in the next 30 days, and which?"
LOOK_BACK_DAYS: int | None = None
LEARNS_FROM_SAMPLE = 2_000  # of 10,000 clients with 2,000,000 leads all teach no more: the same log loss to five digits
LEARNS_FROM_REVIEW = True  # the model says, as "recalibration", how accuracy_review would have claims stated

MODEL_FORMAT = 1  # of the JSON that fit gives: a model of another format cannot be asked

TOP_LEADS = 10
STALE_DAYS, YOUNG_DAYS = 90, 7


def fit(leads: Leads, as_of: datetime) -> Mapping[str, Json]:
    """Learn the hazard from all pooled clients' leads, open ones censored at as_of."""
    end = to_microseconds(as_of)
    arrived = leads.only(leads.arrival < end)
    episodes = conversion_episodes(arrived, end)
    start = find_history_start(episodes, end)
    vocabulary = choose_vocabulary(arrived, end)
    nobody = arrived.only(np.zeros(len(arrived), dtype=np.bool_))
    features = lead_features(nobody, vocabulary, end)  # their levels are the vocabulary's
    exposure = lay_out_exposure(arrived, vocabulary, episodes, as_of=end, start=start)
    model = fit_hazard(
        exposure,
        [len(feature.levels) for feature in features],
        month_gaps(start, end),
        arrival_gaps(),
    )
    first = int(arrived.arrival.min()) if len(arrived) else end
    return {
        "format": MODEL_FORMAT,
        "vocabulary": vocabulary,
        "trained_from": from_microseconds(max(start, first)).isoformat(),
        "history_from": start,
        "history_days": (end - max(start, first)) / DAY,
        "conversions": len(episodes),
        "leads": len(arrived),
        "levels": list(model.levels),
        "coefficients": model.coefficients.tolist(),
        "covariance": [row[: i + 1] for i, row in enumerate(model.covariance.tolist())],  # it is symmetric
        "weights": model.weights.tolist(),
        "pace": [model.pace, model.pace_noise],
        "periods": model.periods.tolist(),
        "exit_hazard": model.exit_hazard.tolist(),
        "client_shape": model.client_shape,
        "client_scale": model.client_scale,
    }


def _hazard(model: Mapping[str, Json]) -> HazardModel:
    width = len(model["coefficients"])
    covariance = np.zeros((width, width))
    covariance[np.tril_indices(width)] = np.concatenate(model["covariance"])
    covariance.T[np.tril_indices(width)] = covariance[np.tril_indices(width)]
    return HazardModel(
        levels=tuple(model["levels"]),
        coefficients=np.array(model["coefficients"]),
        covariance=covariance,
        weights=np.array(model["weights"]),
        pace=float(model["pace"][0]),
        pace_noise=float(model["pace"][1]),
        periods=np.array(model["periods"]),
        exit_hazard=np.array(model["exit_hazard"]),
        client_shape=float(model["client_shape"]),
        client_scale=float(model["client_scale"]),
        n_events=int(model["conversions"]),
        n_leads=int(model["leads"]),
    )


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is expected of the leads open at an instant; arrays by lead of the cohort or by client."""

    cohort: Leads
    is_open: BoolArray  # which of the leads that had arrived the cohort is
    age: FloatArray  # (cohort,) days since first contact
    features: list[Feature]
    codes: Codes  # (cohort, features)
    levels: Levels  # of the owners
    probability: FloatArray  # (cohort,) of converting within the window: they add up to the expected count
    mean: FloatArray  # (clients,) expected count
    centre: FloatArray  # (clients,) the mean rounded, and the range claimed around it
    low: FloatArray
    high: FloatArray
    claim: FloatArray  # (clients,) probability of that range
    interval_low: FloatArray  # (clients,) the count's interval at LEVEL
    interval_high: FloatArray
    new_arrivals: list[dict[str, Json]]  # by client
    winners: list["Winners"]  # by client


def predict(leads: Leads, model: Mapping[str, Json], as_of: datetime, rng: np.random.Generator) -> Prediction:
    """Say of every lead open at as_of, and of every client's count, what the coming window is expected to bring."""
    end = to_microseconds(as_of)
    hazard = _hazard(model)
    arrived = leads.only(leads.arrival < end)
    episodes = conversion_episodes(arrived, end)
    exposure = lay_out_exposure(arrived, model["vocabulary"], episodes, as_of=end, start=int(model["history_from"]))
    is_open = arrived.state_at(end) == OPEN
    deviations = draw_deviations(hazard, DRAWS, rng)
    levels = estimate_levels(hazard, exposure, arrived, rng)
    del exposure  # as large as all that comes after it
    cohort = arrived.only(is_open)
    features = lead_features(cohort, model["vocabulary"], end)
    codes = codes_of(features)
    age = age_days(cohort, end)
    counts = count_draws(hazard, cohort, age, codes=codes, levels=levels, deviations=deviations)
    means, squares = counts.means, counts.squares
    mean = means.mean(axis=1)
    centre, low, high = claim_range(mean)
    interval_low, interval_high = count_interval(means, squares, LEVEL)
    return Prediction(
        cohort=cohort,
        is_open=is_open,
        age=age,
        features=features,
        codes=codes,
        levels=levels,
        probability=counts.probability,
        mean=mean,
        centre=centre,
        low=low,
        high=high,
        claim=np.clip(mixed_cdf(high, means, squares) - mixed_cdf(low - 1, means, squares), 0.0, 1.0),
        interval_low=interval_low,
        interval_high=interval_high,
        new_arrivals=_new_arrivals(arrived, hazard, features, end, levels),
        winners=_winners(arrived, episodes),
    )


@dataclass(slots=True)
class Winners:
    """A client's leads that converted before, and whose each was; their ids are only read where values are recorded."""

    ids: Any  # Leads.id
    lead: IntArray
    whose: IntArray
    _read: dict[str, int] | None = None

    def __len__(self) -> int:
        return len(self.lead)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Winners) and self.owners() == other.owners()

    __hash__ = None  # type: ignore[assignment]

    def owners(self) -> dict[str, int]:
        """Give the owner of each by its id."""
        if self._read is None:
            self._read = dict(zip(self.ids[self.lead].tolist(), self.whose.tolist(), strict=True))
        return self._read

    def owner_of(self, lead_id: str) -> int | None:
        """Tell whose a lead was; None where it is not among them."""
        return self.owners().get(lead_id)


def _winners(leads: Leads, episodes: Episodes) -> list[Winners]:
    lead = episodes.lead[episodes.first]
    whose, bounds = _whose(leads)[lead], np.searchsorted(leads.client[lead], np.arange(len(leads.clients) + 1))
    return [Winners(leads.id, lead[low:high], whose[low:high]) for low, high in pairwise(bounds.tolist())]


def _whose(leads: Leads) -> IntArray:
    """Number the leads' owners in the pool; a client's own leads are all its, whoever else is there."""
    return leads.owner if leads.clients.ids == (None,) else np.zeros(len(leads), dtype=np.int64)


def evaluate(leads: Leads, model: Mapping[str, Json], as_of: datetime) -> Mapping[str, Json]:
    """
    Score a model's predictions at as_of by what the window from as_of on brought.

    leads hold what happened until that window's end. Leads that nobody can tell of are left out. A score is None where
    it is not defined: there is no lead, or (auc, calibration_slope) all or none converted.
    """
    found = predict(leads, model, as_of, generator_at(as_of))
    outcomes = read_outcomes(leads, as_of)
    told = ~outcomes.void[found.is_open]
    converted = outcomes.converted[found.is_open][told]
    scores = score(found.probability[told], converted)
    return {
        "leads": len(converted),
        "conversions": int(converted.sum()),
        **{name: number(value) for name, value in asdict(scores).items()},
    }


def analyse(leads: Leads, model: Mapping[str, Json], as_of: datetime, rng: np.random.Generator) -> list[Finding]:
    """Write one finding for each client with an open lead at as_of."""
    end = to_microseconds(as_of)
    hazard = _hazard(model)
    found = predict(leads, model, as_of, rng)
    cohort = found.cohort
    size = cohort.per_client(np.ones(len(cohort), dtype=bool))
    facts = _facts(cohort, found.age, end)
    said = _recalibrated(found.claim, leads.clients.ids, model)
    as_it_was = [_as_it_was(p, model, i) for p, i in zip(found.claim.tolist(), leads.clients.ids, strict=True)]
    everyone = leads.clients.ids == (None,)
    bounds = np.searchsorted(cohort.client, np.arange(len(leads.clients) + 1))
    best, candidates_of = _most_promising(hazard, found)
    findings = []
    for c in np.flatnonzero(size > 0).tolist():
        mine = np.arange(bounds[c], bounds[c + 1])
        first = best[c]
        facts[c] |= {"candidates": candidates_of[c], "winners": found.winners[c], **facts_of(first)}
        content = {
            "predicted_conversions": int(found.centre[c]),
            "prediction_window": "next_30_days",
            "high_value_leads": [candidate.lead for candidate in first],
            "expected_conversions": float(found.mean[c]),
            "interval": interval_json(found.interval_low[c], found.interval_high[c]),
            "cohort": {"size": int(size[c]), "hash": cohort_hash(cohort.id[mine])},
            "based_on": _based_on(model, None if everyone else len(found.winners[c]))
            + _silenced(model, leads.clients.ids[c]),
            "new_arrivals": found.new_arrivals[c],
        }
        claim = Claim(
            "count_in_range",
            float(said[c]),
            f"Of the {size[c]} leads open at as_of, {found.low[c]:.0f} to {found.high[c]:.0f}"
            " convert in the next 30 days.",
            {"low": int(found.low[c]), "high": int(found.high[c]), **as_it_was[c]},
        )
        check = Check("outcome", as_of.astimezone(UTC) + timedelta(days=WINDOW_DAYS), claim.probability)
        findings.append(Finding(leads.clients.ids[c], EVENT_TYPE, content, claim, check, int(size[c]), facts=facts[c]))
    return findings


def reconcile(findings: list[Finding], past: Sequence[Mapping[str, Any]], as_of: datetime) -> list[Finding]:
    """Estimate what open leads are worth by what the application recorded of earlier conversions."""
    values = recorded_values(past, as_of)
    return [with_values(finding, values, TOP_LEADS) for finding in findings] if values else findings


def _most_promising(hazard: HazardModel, found: Prediction) -> tuple[list[list[Candidate]], list[list[Candidate]]]:
    """
    Give by client its TOP_LEADS likeliest leads, explained, and those of every owner, from which values may choose.

    Of every owner, for in the pool values may differ between them. Ties stay in the order of the ids.
    """
    cohort = found.cohort
    order = np.lexsort((-found.probability, cohort.owner, cohort.client))
    starts = np.flatnonzero(np.diff(cohort.owner[order], prepend=-1))
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    best = order[rank < TOP_LEADS]
    owner, probability = cohort.owner[best], found.probability[best]
    multiplier = found.levels.multiplier[owner]
    leads = Promising(
        found.age[best],
        found.codes[best],
        forecast(hazard, found.age[best], found.codes[best], multiplier).risk_share,
        multiplier,
        found.levels.noise[owner],
    )
    columns = (cohort.id[best], probability, _whose(cohort)[best], worsens(hazard, leads.age))
    candidates = [
        Candidate(
            {
                "lead_id": lead_id,
                "probability": p,
                "estimated_value": None,  # until something recorded says more (reconcile)
                "expected_value": None,
            },
            whose,
            at_best,
            lambda k=k: explain(hazard, found.features, leads.of(slice(k, k + 1)))[0],  # type: ignore[misc]
        )
        for k, (lead_id, p, whose, at_best) in enumerate(zip(*(c.tolist() for c in columns), strict=True))
    ]
    client = cohort.client[best]
    bounds = np.searchsorted(client, np.arange(len(cohort.clients) + 1)).tolist()
    likeliest = np.lexsort((-probability, client))
    of_client = [slice(low, high) for low, high in pairwise(bounds)]
    first = [likeliest[mine][:TOP_LEADS] for mine in of_client]
    together = np.concatenate([likeliest[:0], *first])
    for k, why in zip(together.tolist(), explain(hazard, found.features, leads.of(together)), strict=True):
        candidates[k].lead.update(why)
    return [[candidates[k] for k in places.tolist()] for places in first], [candidates[mine] for mine in of_client]


def _recalibrated(claims: FloatArray, client_ids: Sequence[str | None], model: Mapping[str, Json]) -> FloatArray:
    """Give the claims' probabilities as what became of earlier ones teaches to state them, shape (clients,)."""
    kept = model.get("recalibration")
    return claims if kept is None else apply_map(claims, tuple(client_ids), kept)


def _as_it_was(probability: float, model: Mapping[str, Json], client_id: str | None) -> dict[str, Json]:
    """Keep a claim's own probability beside the stated one, for what is learned from it, and what it was stated by."""
    kept = model.get("recalibration")
    if kept is None:
        return {}
    base_rate = None if client_id is None else kept["base_rate"]
    return {"uncalibrated": probability, "recalibration": kept["version"], "base_rate": base_rate}


def _silenced(model: Mapping[str, Json], client_id: str | None) -> str:
    """Say so where the stated probability is not this claim's own."""
    kept = model.get("recalibration")
    if kept is None or kept["base_rate"] is None or client_id is None:
        return ""
    return "; stated is how often earlier ranges held, since probabilities of single ranges have lately done worse"


def _new_arrivals(
    arrived: Leads, hazard: HazardModel, features: Sequence[Feature], end: int, levels: Levels
) -> list[dict[str, Json]]:
    """
    Forecast conversions, within the window, of leads that have yet to arrive, at the last 60 days' pace.

    The interval knows that the number seen to arrive, everyone's pace of converting and the clients' levels are
    uncertain; not that arrivals come in bursts or may stop.
    """
    recent = arrived.arrived(end - 2 * WINDOW_DAYS * DAY, end)
    pace = arrived.per_client(recent) / 2
    effect = 0.0
    for j, feature in enumerate(features):
        block = slice(hazard.offset(j), hazard.offset(j) + hazard.levels[j])
        # they will be young, and like those who come now: the first level; of all else the average
        first = feature.name == ARRIVAL or feature.name.endswith(OF_OLDER)
        effect += float(hazard.coefficients[block.start]) if first else hazard.centre_of(block)
    share = expected_share_within(hazard, effect, levels.multiplier, WINDOW_DAYS)
    owners, first_of, seen = np.unique(arrived.owner[recent], return_index=True, return_counts=True)
    whose, of_owner = arrived.client[recent][first_of], seen * share[owners] / 2
    expected = np.bincount(whose, weights=of_owner, minlength=len(pace))
    # errors of the owners' levels cancel in the pool, that of everyone's pace does not
    of_levels = np.bincount(whose, weights=(of_owner * levels.noise[owners]) ** 2, minlength=len(pace))
    variance = hazard.pace_noise**2 + of_levels / np.maximum(expected, 1e-9) ** 2
    # a pace seen through n leads is itself uncertain by 1/sqrt(n): draws at normal quantiles, evenly weighted
    deviation = np.sqrt(1 / np.maximum(2 * pace, 1.0) + variance)
    scale = np.exp(np.array([-1.5, -0.7, 0.0, 0.7, 1.5]) * deviation[:, None])
    means = np.maximum(expected[:, None] * scale / scale.mean(axis=1)[:, None], 1e-9)
    low, high = count_interval(means, means * 1e-6, LEVEL)
    return [{"expected": float(expected[c]), "interval": interval_json(low[c], high[c])} for c in range(len(expected))]


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


def _based_on(model: Mapping[str, Json], own: int | None) -> str:
    """Say in words what the numbers rest on; own: a client's leads that converted, None in the row of all clients."""
    conversions, days = int(model["conversions"]), float(model["history_days"])
    if conversions == 0:
        return "no conversion on record yet: the default curve, wide"
    history = f"{conversions} historical conversions among {model['leads']} leads, {days:.0f} days of history"
    if own is not None:  # how much the others sold is not this client's to know
        history = f"{own} historical conversions of its own, and {days:.0f} days of all clients' history"
    return history if days >= WINDOW_DAYS else f"{history}: shorter than the window, so the default curve weighs in"


def cohort_hash(ids: Ids) -> str:
    """Name a set of leads, whatever their order."""
    return hashlib.sha256("\n".join(sorted(ids.tolist())).encode()).hexdigest()[:16]
