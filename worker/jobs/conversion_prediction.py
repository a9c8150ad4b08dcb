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
distribution is a Poisson-binomial, mixed over DRAWS draws of the parameters; for all clients together draws add up. The
claim: the count lies within k of its rounded mean m, k = max(1, round(m / 4)). Its probability is that of the mixed
distribution, restated by what became of earlier claims where accuracy_review found that this helps
(worker/review/learning.py).

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
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, cast

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
from worker.jobs.conversion_outcomes import read_outcomes, score
from worker.jobs.conversion_reasons import Candidate, Promising, explain, facts_of, worsens
from worker.jobs.conversion_value import rank, recorded_values, with_values
from worker.jobs.finding import Check, Claim, Finding, Json
from worker.jobs.measures import Array, Measures, count_names, most_frequent
from worker.jobs.windows import LEVEL, interval_json, number
from worker.lead_ids import Ids, join_ids, lines_in_order, text_ids
from worker.leads import DAY, EVERYONE, OPEN, WINDOW_DAYS, Leads, from_microseconds, to_microseconds
from worker.lifecycle import age_days
from worker.randomness import generator
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
# All of 10,000 clients with 2,000,000 leads teach no more: the log loss of what follows is the same to a thousandth.
LEARNS_FROM_SAMPLE, LEARNS_FROM_LEADS = 2_000, 200_000
LEARNS_FROM_REVIEW = True  # the model says, as "recalibration", how accuracy_review would have claims stated

MODEL_FORMAT = 1  # of the JSON that fit gives: a model of another format cannot be asked

TOP_LEADS = 10
STALE_DAYS, YOUNG_DAYS = 90, 7
FACTS = ("n_open", "follow_up_open", "high_urgency_open", "young_open", "stale_open")  # counts of open leads


def fit(leads: Leads, as_of: datetime) -> Mapping[str, Json]:
    """Learn the hazard from all pooled clients' leads, open ones censored at as_of."""
    end = to_microseconds(as_of)
    arrived = leads.only(leads.arrival < end)
    episodes = conversion_episodes(arrived, end)
    start = find_history_start(episodes, end)
    vocabulary = choose_vocabulary(arrived, end)
    nobody = arrived.only(np.zeros(len(arrived), dtype=np.bool_))
    features = lead_features(nobody, vocabulary, end)  # their levels are the vocabulary's
    first = int(arrived.arrival.min()) if len(arrived) else end
    n_leads, n_conversions = len(arrived), len(episodes)
    exposures = [lay_out_exposure(arrived, vocabulary, episodes, as_of=end, start=start)]
    del arrived, episodes  # of very many leads they are large, and so is what they are laid out as
    model = fit_hazard(
        exposures.pop(),
        [len(feature.levels) for feature in features],
        month_gaps(start, end),
        arrival_gaps(),
    )
    return {
        "format": MODEL_FORMAT,
        "vocabulary": vocabulary,
        "trained_from": from_microseconds(max(start, first)).isoformat(),
        "history_from": start,
        "history_days": (end - max(start, first)) / DAY,
        "conversions": n_conversions,
        "leads": n_leads,
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
    means: FloatArray  # (clients, DRAWS) expected count
    squares: FloatArray  # (clients, DRAWS) sum of squared probabilities
    arrivals: dict[str, Array]  # as _expect_arrivals gives them
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
    return Prediction(
        cohort=cohort,
        is_open=is_open,
        age=age,
        features=features,
        codes=codes,
        levels=levels,
        probability=counts.probability,
        means=counts.means,
        squares=counts.squares,
        arrivals=_expect_arrivals(arrived, hazard, features, end, levels),
        winners=_winners(arrived, episodes),
    )


@dataclass(frozen=True, slots=True)
class Claimed:
    """What is claimed of counts, shape (clients,) each."""

    mean: FloatArray  # expected
    centre: FloatArray  # the mean rounded, and the range claimed around it
    low: FloatArray
    high: FloatArray
    probability: FloatArray  # of that range
    interval_low: FloatArray  # the count's interval at LEVEL
    interval_high: FloatArray

    @classmethod
    def of(cls, means: FloatArray, squares: FloatArray) -> "Claimed":
        """Claim what draws of the counts suggest: Poisson-binomials of these means and sums of squares."""
        mean = means.mean(axis=1)
        centre, low, high = claim_range(mean)
        probability = np.clip(mixed_cdf(high, means, squares) - mixed_cdf(low - 1, means, squares), 0.0, 1.0)
        return cls(mean, centre, low, high, probability, *count_interval(means, squares, LEVEL))


@dataclass(slots=True)
class Winners:
    """A client's leads that converted before; their ids are only read where values are recorded."""

    all_ids: Ids  # of all leads analysed
    lead: IntArray  # which of these are winners
    _read: frozenset[str] | None = None

    def __len__(self) -> int:
        return len(self.lead)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Winners) and self.ids == other.ids

    __hash__ = None  # type: ignore[assignment]

    @property
    def ids(self) -> frozenset[str]:
        """Give their ids."""
        if self._read is None:
            self._read = frozenset(self.all_ids[self.lead].tolist())
        return self._read


def _winners(leads: Leads, episodes: Episodes) -> list[Winners]:
    lead = episodes.lead[episodes.first]
    bounds = np.searchsorted(leads.client[lead], np.arange(len(leads.clients) + 1))
    return [Winners(leads.id, lead[low:high]) for low, high in pairwise(bounds.tolist())]


def evaluate(leads: Leads, model: Mapping[str, Json], as_of: datetime) -> Mapping[str, Json]:
    """
    Score a model's predictions at as_of by what the window from as_of on brought.

    leads hold what happened until that window's end. Leads that nobody can tell of are left out. A score is None where
    it is not defined: there is no lead, or (auc, calibration_slope) all or none converted.
    """
    found = predict(leads, model, as_of, generator(NAME, as_of))
    is_open, probability = found.is_open, found.probability
    del found  # of very many leads it is large
    outcomes = read_outcomes(leads, as_of)
    told = ~outcomes.void[is_open]
    converted = outcomes.converted[is_open][told]
    scores = score(probability[told], converted)
    return {
        "leads": len(converted),
        "conversions": int(converted.sum()),
        **{name: number(value) for name, value in asdict(scores).items()},
    }


def measure(leads: Leads, model: Mapping[str, Json], as_of: datetime, rng: np.random.Generator) -> "Outlook":
    """Work out of every client's open leads what adds up to its count, and to everybody's."""
    end = to_microseconds(as_of)
    found = predict(leads, model, as_of, rng)
    cohort = found.cohort
    bounds = np.searchsorted(cohort.client, np.arange(len(leads.clients) + 1))
    every = np.ones(len(cohort), dtype=bool)
    return Outlook(
        leads.clients,
        {"means": found.means, "squares": found.squares, **found.arrivals, **_facts(cohort, found.age, end)},
        {"sources": count_names(cohort, cohort.source, cohort.source_names, every)},
        cohort.id,
        bounds,
        _most_promising(_hazard(model), found),
        found.winners,
    )


@dataclass(frozen=True, slots=True)
class Outlook(Measures):
    """What is expected of each client's open leads; lists have an entry a client."""

    ids: Ids = field(default_factory=lambda: text_ids([]))  # of the open leads, client by client
    bounds: IntArray = field(default_factory=lambda: np.zeros(1, dtype=np.int64))  # (clients + 1,) in ids; no parts'
    best: Sequence[Sequence[Candidate]] = ()  # the most promising leads
    winners: Sequence[Winners] = ()  # none for all clients together, whose leads are listed with their values

    def of_pooled(self, findings: Sequence[Finding] = ()) -> "Outlook":
        """Keep the pooled clients' sums, their leads' ids, and the best of the leads that their findings list."""
        base = Measures.of_pooled(self)
        kept = np.repeat(self.clients.pooled, np.diff(self.bounds))
        listed: dict[str | None, Sequence[Candidate]] = dict(zip(self.clients.ids, self.best, strict=True))
        listed |= {finding.client_id: _listed(finding) for finding in findings}  # with their values
        best = _best_of([listed[i] for i in base.clients.ids], TOP_LEADS)
        return Outlook(base.clients, base.sums, base.names, self.ids[kept], best=best)

    @classmethod
    def together(cls, parts: Sequence[Measures]) -> "Outlook":
        """Add up parts to the outlook of all their clients as one."""
        own = [cast("Outlook", part) for part in parts]
        base = Measures.together(own)
        by_id = sorted(
            ((i or "", leads) for part in own for i, leads in zip(part.clients.ids, part.best, strict=True)),
            key=lambda item: item[0],
        )
        listed = [candidate for _, leads in by_id for candidate in leads]
        best = sorted(listed, key=lambda candidate: rank(candidate.lead))[:TOP_LEADS]
        ids = join_ids([part.ids for part in own])
        return Outlook(base.clients, base.sums, base.names, ids, np.array([0, len(ids)]), [best])


def _listed(finding: Finding) -> list[Candidate]:
    """Give the leads that a finding lists, with their values, as candidates for everybody's list."""
    listed = zip(finding.content["high_value_leads"], finding.facts["candidates"], strict=True)
    return [Candidate(lead, candidate.at_best) for lead, candidate in listed]


def _best_of(listed: Sequence[Sequence[Candidate]], most: int) -> list[list[Candidate]]:
    """Keep the best leads of several lists together, each in its list."""
    all_of_them = [(candidate, place) for place, leads in enumerate(listed) for candidate in leads]
    result: list[list[Candidate]] = [[] for _ in listed]
    for candidate, place in sorted(all_of_them, key=lambda item: rank(item[0].lead))[:most]:
        result[place].append(candidate)
    return result


def analyse(
    leads: Leads | Measures, model: Mapping[str, Json], as_of: datetime, rng: np.random.Generator
) -> list[Finding]:
    """Write one finding for each client with an open lead at as_of; leads: or what measure gives of them."""
    found = leads if isinstance(leads, Outlook) else measure(cast("Leads", leads), model, as_of, rng)
    clients, size = found.clients, found["n_open"]
    claimed = Claimed.of(found["means"], found["squares"])
    said = _recalibrated(claimed.probability, clients.ids, model)
    as_it_was = [_as_it_was(p, model, i) for p, i in zip(claimed.probability.tolist(), clients.ids, strict=True)]
    new_arrivals = _new_arrivals(found, _hazard(model))
    everyone = clients.ids == EVERYONE.ids
    findings = []
    for c in np.flatnonzero(size > 0).tolist():
        first = found.best[c]
        winners = found.winners[c] if found.winners else None
        facts: dict[str, Any] = {name: int(found[name][c]) for name in FACTS}
        facts |= {"top_source": next(iter(most_frequent(found.names["sources"][c], 1)), None), **facts_of(first)}
        if winners is not None:
            facts |= {"candidates": first, "winners": winners}
        content = {
            "predicted_conversions": int(claimed.centre[c]),
            "prediction_window": "next_30_days",
            "high_value_leads": [candidate.lead for candidate in first],
            "expected_conversions": float(claimed.mean[c]),
            "interval": interval_json(claimed.interval_low[c], claimed.interval_high[c]),
            "cohort": {"size": int(size[c]), "hash": cohort_hash(found.ids[found.bounds[c] : found.bounds[c + 1]])},
            "based_on": _based_on(model, None if everyone or winners is None else len(winners))
            + _silenced(model, clients.ids[c]),
            "new_arrivals": new_arrivals[c],
        }
        claim = Claim(
            "count_in_range",
            float(said[c]),
            f"Of the {size[c]} leads open at as_of, {claimed.low[c]:.0f} to {claimed.high[c]:.0f}"
            " convert in the next 30 days.",
            {"low": int(claimed.low[c]), "high": int(claimed.high[c]), **as_it_was[c]},
        )
        check = Check("outcome", as_of.astimezone(UTC) + timedelta(days=WINDOW_DAYS), claim.probability)
        findings.append(Finding(clients.ids[c], EVENT_TYPE, content, claim, check, int(size[c]), facts=facts))
    return findings


def reconcile(findings: list[Finding], past: Sequence[Mapping[str, Any]], as_of: datetime) -> list[Finding]:
    """Estimate what open leads are worth by what the application recorded of earlier conversions."""
    values = recorded_values(past, as_of)
    return [with_values(finding, values) for finding in findings] if values else findings


def _most_promising(hazard: HazardModel, found: Prediction) -> list[list[Candidate]]:
    """Give by client its TOP_LEADS likeliest leads, explained. Ties stay in the order of the ids."""
    cohort = found.cohort
    order = np.lexsort((-found.probability, cohort.client))
    starts = np.flatnonzero(np.diff(cohort.client[order], prepend=-1))
    place = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    best = order[place < TOP_LEADS]
    owner, probability = cohort.owner[best], found.probability[best]
    multiplier = found.levels.multiplier[owner]
    leads = Promising(
        found.age[best],
        found.codes[best],
        forecast(hazard, found.age[best], found.codes[best], multiplier).risk_share,
        multiplier,
        found.levels.noise[owner],
    )
    columns = (column.tolist() for column in (cohort.id[best], probability, worsens(hazard, leads.age)))
    nothing_recorded = {"estimated_value": None, "expected_value": None}  # until reconcile knows more
    candidates = [
        Candidate({"lead_id": lead_id, "probability": p, **nothing_recorded, **why}, at_best)
        for lead_id, p, at_best, why in zip(*columns, explain(hazard, found.features, leads), strict=True)
    ]
    bounds = np.searchsorted(cohort.client[best], np.arange(len(cohort.clients) + 1)).tolist()
    return [candidates[low:high] for low, high in pairwise(bounds)]


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


def _expect_arrivals(
    arrived: Leads, hazard: HazardModel, features: Sequence[Feature], end: int, levels: Levels
) -> dict[str, Array]:
    """
    Add up by client, shape (clients,) each, what forecasts conversions of leads that have yet to arrive.

    They are expected to arrive at the last 60 days' pace. `arrivals` of a window, how many of them convert within it,
    and the squared error of that for not knowing the clients' levels: these errors cancel in the pool.
    """
    recent = arrived.arrived(end - 2 * WINDOW_DAYS * DAY, end)
    pace: FloatArray = arrived.per_client(recent) / 2
    effect = 0.0
    for j, feature in enumerate(features):
        block = slice(hazard.offset(j), hazard.offset(j) + hazard.levels[j])
        # they will be young, and like those who come now: the first level; of all else the average
        first = feature.name == ARRIVAL or feature.name.endswith(OF_OLDER)
        effect += float(hazard.coefficients[block.start]) if first else hazard.centre_of(block)
    share = expected_share_within(hazard, effect, levels.multiplier, WINDOW_DAYS)
    owners, first_of, seen = np.unique(arrived.owner[recent], return_index=True, return_counts=True)
    whose, of_owner = arrived.client[recent][first_of], seen * share[owners] / 2
    squared = (of_owner * levels.noise[owners]) ** 2
    return {
        "arrivals": pace,
        "arriving_conversions": np.bincount(whose, weights=of_owner, minlength=len(pace)),
        "arriving_squared_error": np.bincount(whose, weights=squared, minlength=len(pace)),
    }


def _new_arrivals(found: Measures, hazard: HazardModel) -> list[dict[str, Json]]:
    """
    Forecast conversions, within the window, of leads that have yet to arrive.

    The interval knows that the number seen to arrive, everyone's pace of converting and the clients' levels are
    uncertain; not that arrivals come in bursts or may stop.
    """
    pace, expected = found["arrivals"], found["arriving_conversions"]
    variance = hazard.pace_noise**2 + found["arriving_squared_error"] / np.maximum(expected, 1e-9) ** 2
    # a pace seen through n leads is itself uncertain by 1/sqrt(n): draws at normal quantiles, evenly weighted
    deviation = np.sqrt(1 / np.maximum(2 * pace, 1.0) + variance)
    scale = np.exp(np.array([-1.5, -0.7, 0.0, 0.7, 1.5]) * deviation[:, None])
    means = np.maximum(expected[:, None] * scale / scale.mean(axis=1)[:, None], 1e-9)
    low, high = count_interval(means, means * 1e-6, LEVEL)
    return [{"expected": float(expected[c]), "interval": interval_json(low[c], high[c])} for c in range(len(expected))]


def _facts(cohort: Leads, age: FloatArray, end: int) -> dict[str, IntArray]:
    """Count the open leads by what an owner can act on, for the recommended actions; by FACTS, (clients,) each."""
    urgency = cohort.urgency.latest_before(end, len(cohort), URGENCY_UNKNOWN)
    marked = (
        np.ones(len(cohort), dtype=bool),
        cohort.tag_at(end) == TAG_FOLLOW_UP,
        urgency == URGENCY_HIGH,
        age < YOUNG_DAYS,
        age > STALE_DAYS,
    )
    return {name: cohort.per_client(mask) for name, mask in zip(FACTS, marked, strict=True)}


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
    digest = hashlib.sha256()
    held = b""
    for lines in lines_in_order(ids):
        digest.update(held + lines[:-1])
        held = lines[-1:]  # between two ids, and not behind the last
    return digest.hexdigest()[:16]
