"""
engagement_score: how good are a client's leads this month, from 0 to 100, and is that changing?

A lead's score is 100 x (0.4 confidence + 0.3 urgency + 0.3 engaged), urgency High 1, Medium 0.5, Low 0, engaged =
touched within 7 days of arrival; what is unknown is left out and the weights of the rest are rescaled. The client's
score is the plain mean over the leads that arrived in the 30 days before as_of. Both windows are scored by the same
rule, each as it stood at its own end. The claim is the class of the change of the *true* score, dead band 3 points;
its confidence is the posterior probability of that class (worker/statistics/change.py), with errors from the spread
between leads. Limits: leads are taken as independent; a lead's confidence is what the application stored, uncalibrated.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from worker.jobs.finding import Check, Claim, Finding, Json
from worker.jobs.windows import LEVEL, PERIOD, TwoWindows, interval_json, number, ratio, top_names
from worker.leads import OPEN, Leads
from worker.statistics import BoolArray, FloatArray, IntArray
from worker.statistics.change import (
    CLASS_NAMES,
    ChangePosterior,
    ChangePrior,
    base_measure,
    change_grid,
    fit_change_prior,
    mean_change_log_likelihood,
    normal_cumulative,
    posterior_of_change,
    probability_class_seen,
    said_class,
)
from worker.statistics.shrinkage import NormalPrior, estimate_normal_prior, shrink_means
from worker.vocabulary import URGENCY_HIGH, URGENCY_UNKNOWN

NAME = "engagement_score"
EVENT_TYPE = "engagement_score"
TITLE = "how engaged are this month's leads, from 0 to 100, and is that changing?"
LOOK_BACK_DAYS: int | None = 60
SCHEDULE = "03:00"

PARTS = ("confidence", "urgency", "engaged")
WEIGHTS = np.array([0.4, 0.3, 0.3])
ENGAGED_WITHIN_DAYS = 7
DEAD_BAND = 3.0  # points
GRID = change_grid(DEAD_BAND, step=0.5, fine_to=20.0, coarse_step=2.0, limit=100.0)
BASE = base_measure(GRID, scale=8.0)
DEFAULT_LEVEL = NormalPrior(50.0, 15.0**2)  # before any lead is seen
DEFAULT_SPREAD = 20.0**2  # variance between the leads of one client
SPREAD_DEGREES = 10.0  # the pool's spread counts as this many leads of every client


@dataclass(frozen=True, slots=True)
class Scores:
    """One window's leads by client: number scored, mean, sum of squared deviations; parts have shape (clients, 3)."""

    n: FloatArray
    mean: FloatArray
    squares: FloatArray
    parts: FloatArray


def lead_parts(leads: Leads, end: int, recorded: BoolArray) -> FloatArray:
    """Each lead's confidence, urgency and engagement in [0, 1] as known at end, NaN where unknown: (leads, 3)."""
    urgency = leads.urgency.latest_before(end, len(leads), URGENCY_UNKNOWN)
    return np.stack(
        [
            leads.confidence.latest_before(end, len(leads), np.nan),
            np.where(urgency >= 0, urgency / URGENCY_HIGH, np.nan),
            leads.engaged(end, ENGAGED_WITHIN_DAYS, recorded),
        ],
        axis=1,
    )


def points_by_part(parts: FloatArray) -> FloatArray:
    """Points that each part gives each lead, shape (leads, 3), summing to its score; all NaN where nothing is known."""
    known = np.isfinite(parts)
    weight = np.where(known, WEIGHTS, 0.0)
    total = weight.sum(axis=1, keepdims=True)
    points = 100 * weight * np.where(known, parts, 0.0)
    return np.where(total > 0, points / np.where(total > 0, total, 1.0), np.nan)


def _scores(leads: Leads, points: FloatArray, mask: BoolArray) -> Scores:
    score = points.sum(axis=1)
    used = mask & np.isfinite(score)
    client, n_clients = leads.client[used], len(leads.clients)
    n: FloatArray = np.bincount(client, minlength=n_clients).astype(np.float64)
    parts = np.stack(
        [ratio(np.bincount(client, weights=points[used, j], minlength=n_clients), n) for j in range(len(PARTS))], axis=1
    )
    mean = ratio(np.bincount(client, weights=score[used], minlength=n_clients), n)
    deviation = score[used] - mean[client]
    squares: FloatArray = np.bincount(client, weights=deviation**2, minlength=n_clients).astype(np.float64)
    return Scores(n, mean, squares, parts)


def _measure(leads: Leads, two: TwoWindows, half: BoolArray | None = None) -> tuple[Scores, Scores, Scores]:
    """
    Score both windows, of the leads marked by `half` (None: all), each as it stood at its own end.

    Gives the current window, what of the previous one may be compared with it, and the previous one as it is shown.
    Where a client's actions are on record for one window only, the two are not scored by the same rule: their
    difference would be a change that only the recording made, and nothing is known of the true one.
    """
    w = two.windows
    chosen = np.ones(len(leads), dtype=bool) if half is None else half
    recorded, recorded_before = leads.recorded(w.start, w.end), leads.recorded(w.start, w.middle)
    current = points_by_part(lead_parts(leads, w.end, recorded))
    previous = points_by_part(lead_parts(leads, w.middle, recorded_before))
    comparable = recorded == recorded_before
    before = two.previous & chosen
    return (
        _scores(leads, current, two.current & chosen),
        _scores(leads, previous, before & comparable),
        _scores(leads, previous, before),
    )


def _spread(current: Scores, previous: Scores, pool_spread: float) -> tuple[FloatArray, FloatArray]:
    """Variance between a client's leads, shrunk to the pool's, and its degrees of freedom."""
    own = np.maximum(current.n - 1, 0) + np.maximum(previous.n - 1, 0)
    degrees = own + SPREAD_DEGREES
    return (current.squares + previous.squares + SPREAD_DEGREES * pool_spread) / degrees, degrees


def _log_likelihood(current: Scores, previous: Scores, pool_spread: float) -> FloatArray:
    variance, degrees = _spread(current, previous, pool_spread)
    squared_error = variance * (1 / np.maximum(current.n, 1) + 1 / np.maximum(previous.n, 1))
    return mean_change_log_likelihood(current.mean - previous.mean, squared_error, degrees, GRID)


def fit(leads: Leads, as_of: datetime) -> Mapping[str, Json]:
    """Learn the pool's level, the spread between clients and between leads, and how much scores change."""
    current, previous, _ = _measure(leads, TwoWindows.of(leads, as_of))
    degrees = float((np.maximum(current.n - 1, 0) + np.maximum(previous.n - 1, 0)).sum())
    squares = float(current.squares.sum() + previous.squares.sum())
    spread = (squares + SPREAD_DEGREES * DEFAULT_SPREAD) / (degrees + SPREAD_DEGREES)
    variance, _ = _spread(current, previous, spread)
    level = estimate_normal_prior(current.mean, variance / np.maximum(current.n, 1), DEFAULT_LEVEL)
    informative = (current.n > 0) & (previous.n > 0)
    prior = fit_change_prior(_log_likelihood(current, previous, spread)[informative], GRID, DEAD_BAND, BASE)
    return {
        "spread": spread,
        "level": {"mean": level.mean, "variance": level.variance},
        **prior.as_json(),
    }


def _posterior(current: Scores, previous: Scores, model: Mapping[str, Json]) -> ChangePosterior:
    return posterior_of_change(_log_likelihood(current, previous, float(model["spread"])), ChangePrior.from_json(model))


def analyse(leads: Leads, model: Mapping[str, Json], as_of: datetime, rng: np.random.Generator) -> list[Finding]:
    """Write one finding for each client with a lead in the current window."""
    del rng  # nothing here is simulated
    two = TwoWindows.of(leads, as_of)
    current, previous, shown = _measure(leads, two)
    posterior = _posterior(current, previous, model)
    probability = posterior.class_probability
    said = said_class(probability)
    variance, _ = _spread(current, previous, float(model["spread"]))
    level = NormalPrior(float(model["level"]["mean"]), float(model["level"]["variance"]))
    now = shrink_means(current.mean, variance / np.maximum(current.n, 1), level, LEVEL)
    before = shrink_means(shown.mean, variance / np.maximum(shown.n, 1), level, LEVEL)
    change_low, change_high = posterior.interval(LEVEL)
    check_class, check_p = _half_check(leads, two, model)
    n, n_previous = leads.per_client(two.current), leads.per_client(two.previous)
    metrics = _metrics(leads, two)
    sources = top_names(leads, leads.source, leads.source_names, two.current, 5)
    industries = _industries(leads, two)

    def score_json(c: int, raw: FloatArray, shrunk: tuple[FloatArray, FloatArray, FloatArray]) -> Json:
        if not np.isfinite(raw[c]):
            return {"raw": None, "shrunken": None, "interval": None}
        low, high = max(0.0, float(shrunk[1][c])), min(100.0, float(shrunk[2][c]))
        return {"raw": float(raw[c]), "shrunken": float(shrunk[0][c]), "interval": interval_json(low, high)}

    findings = []
    for c in np.flatnonzero(n > 0).tolist():
        name = CLASS_NAMES[said[c]]
        content = {
            "overall_score": None if not np.isfinite(current.mean[c]) else int(np.floor(current.mean[c] + 0.5)),
            "trend": name,
            "period": PERIOD,
            "metrics": metrics[c],
            "top_sources": sources[c],
            "top_industries": industries[c],
            "score": score_json(c, current.mean, now),
            "previous": score_json(c, shown.mean, before),
            "change_interval": interval_json(change_low[c], change_high[c]),
            "parts": change_by_part(current.parts[c], shown.parts[c], current.mean[c] - shown.mean[c]),
        }
        claim = Claim(
            "change_class",
            float(probability[c, said[c]]),
            f"The true engagement score is {name} (dead band {DEAD_BAND:g} points) between the two windows.",
            {"class": name, "dead_band": DEAD_BAND},
        )
        check = Check("split_half", as_of, number(check_p[c]), {"class": CLASS_NAMES[check_class[c]]})
        findings.append(Finding(leads.clients.ids[c], EVENT_TYPE, content, claim, check, int(n[c]), int(n_previous[c])))
    return findings


def change_by_part(current: FloatArray, previous: FloatArray, change: float) -> list[dict[str, Json]]:
    """Split the raw change into what each part gave; the last part takes the rounding, so that they sum to it."""
    if not np.isfinite(change):
        return []
    points = [float(now - before) for now, before in zip(current[:-1], previous[:-1], strict=True)]
    points.append(float(change) - sum(points))
    for _ in range(8):  # a sum of floats may lose the last bit
        missing = float(change) - sum(points)
        points[-1] = float(np.nextafter(points[-1], np.copysign(np.inf, missing))) if missing else points[-1]
    return [{"part": part, "points": value} for part, value in zip(PARTS, points, strict=True)]


def _metrics(leads: Leads, two: TwoWindows) -> list[dict[str, Json]]:
    end = two.windows.end
    n_clients = len(leads.clients)
    total = leads.per_client(two.current)
    active = leads.per_client(two.current & (leads.state_at(end) == OPEN))
    confidence = leads.confidence.latest_before(end, len(leads), np.nan)
    present = two.current & np.isfinite(confidence)
    sums = np.bincount(leads.client[present], weights=confidence[present], minlength=n_clients)
    mean_confidence = ratio(sums, leads.per_client(present))
    urgency = leads.urgency.latest_before(end, len(leads), URGENCY_UNKNOWN).astype(np.int64)
    levels = leads.counts(urgency, 3, two.current)
    high = ratio(levels[:, URGENCY_HIGH], levels.sum(axis=1))
    return [
        {
            "total_leads": int(total[c]),
            "active_leads": int(active[c]),
            "avg_confidence": number(mean_confidence[c]),
            "high_urgency_pct": number(high[c]),
        }
        for c in range(n_clients)
    ]


def _industries(leads: Leads, two: TwoWindows) -> list[list[str]]:
    """Of a client, its industry; of the pool (whose leads keep their client's industry), the most frequent by leads."""
    names = tuple(sorted({name for name in leads.owner_industry if name}))
    code_of = {name: code for code, name in enumerate(names)}
    codes = np.array([code_of.get(name or "", -1) for name in leads.owner_industry], dtype=np.int64)
    return top_names(leads, codes[leads.owner], names, two.current, 5)


def _half_check(leads: Leads, two: TwoWindows, model: Mapping[str, Json]) -> tuple[IntArray, FloatArray]:
    """Ask one half of the leads what the other half will show: the class said, and the probability of seeing it."""
    other = leads.half()
    current, previous, _ = _measure(leads, two, ~other)
    fresh, fresh_previous, _ = _measure(leads, two, other)
    posterior = _posterior(current, previous, model)
    said = said_class(posterior.class_probability)
    variance, _ = _spread(current, previous, float(model["spread"]))
    se = np.sqrt(variance * (1 / np.maximum(fresh.n, 1) + 1 / np.maximum(fresh_previous.n, 1)))
    agree = probability_class_seen(posterior, said, normal_cumulative(posterior.prior.grid, se))
    return said, np.where((fresh.n > 0) & (fresh_previous.n > 0), agree, np.nan)
