"""
engagement_score: how good are a client's leads this month, from 0 to 100, and is that changing?

Meaning. A lead's score is 100 x (0.4 confidence + 0.3 urgency + 0.3 engaged): the lead quality that the application
stored (0 to 1), its urgency (High 1, Medium 0.5, Low 0), and whether it was touched, by an action other than its first
insert or by writing again, within 7 days of arrival. What is unknown of a lead is left out and the weights of the rest
are rescaled; engagement is unknown while a lead is younger than that and untouched, and where a client's actions are
not on record. The client's score is the plain mean over the leads that arrived in the 30 days before as_of, deleted
and test ones left out. `parts` splits the change since the 30 days before by what gave it, and sums to it exactly.

Formula. Both windows are scored by the same rule, each as it stood at its own end. A mean of n leads errs by
s^2 deff / n: s^2 is the variance between the client's leads, drawn to everyone's as if that were known from ten leads
more; deff is the design effect of leads that resemble their neighbours in time. `score.shrunken` is the mean drawn to
all clients' level by inverse variances. The claim is the class of the change of the *true* score, within a dead band of
3 points `stable`; its confidence is the posterior probability of that class: a t likelihood of the observed change on
a grid of true changes, times a prior of changes learned over all clients, now and in up to six periods before: the
more clients, the fewer (worker/sample.py).

Check. One half of the leads, by a hash of the id, says which class of change the other half shows, and how surely.

Source. Shrinkage: DerSimonian & Laird (1986), worker/statistics/shrinkage.py. Prior of changes: Bayesian model
averaging (Hoeting et al. 1999), worker/statistics/change_prior.py. Design effect: worker/statistics/dependence.py.
Likelihood: worker/statistics/change_likelihood.py.

Limits. Likeness of leads that does not show between neighbours in time is not seen. A lead's confidence is what the
application stored, uncalibrated. The weights are a convention, not an estimate. A wave of leads in the last days of a
window moves the score a little by itself, since they count without their engagement. A client whose actions are on
record in one window only has nothing said of its change but what the prior says.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from worker.jobs import trends
from worker.jobs.finding import Check, Claim, Finding, HalfChecks, Json
from worker.jobs.measures import Array, Measures, Tally, count_names, most_frequent
from worker.jobs.trends import changes_posterior, learn_beside_half, learn_changes
from worker.jobs.windows import (
    LEVEL,
    PERIOD,
    Period,
    TwoWindows,
    every_window_once,
    interval_json,
    number,
    periods,
    ratio,
    serial_correlation,
)
from worker.leads import OPEN, WINDOW_DAYS, Clients, Leads
from worker.sample import LEARN_CLIENTS
from worker.statistics import BoolArray, FloatArray, IntArray
from worker.statistics.change import CLASS_NAMES, ChangePosterior, class_of, said_class
from worker.statistics.change_likelihood import mean_change_log_likelihood
from worker.statistics.change_prior import candidates, change_grid
from worker.statistics.dependence import design_effect
from worker.statistics.halves import probability_other_half_shows
from worker.statistics.shrinkage import NormalPrior, estimate_normal_prior, shrink_means
from worker.vocabulary import URGENCY_HIGH, URGENCY_UNKNOWN

NAME = "engagement_score"
EVENT_TYPE = "engagement_score"
TITLE = "how engaged are this month's leads, from 0 to 100, and is that changing?"
LOOK_BACK_DAYS: int | None = trends.LOOK_BACK_DAYS
READS = ("urgency", "confidence", "source")
ANALYSES_DAYS = 2 * WINDOW_DAYS
LEARNS_FROM_SAMPLE = LEARN_CLIENTS
LEARNS_FROM_PERIODS = True

PARTS = ("confidence", "urgency", "engaged")
WEIGHTS = np.array([0.4, 0.3, 0.3])
ENGAGED_WITHIN_DAYS = 7
DEAD_BAND = 3.0  # points
GRID = change_grid(DEAD_BAND, limit=100.0)
DEFAULT_LEVEL = NormalPrior(50.0, 15.0**2)  # before any lead is seen
DEFAULT_SPREAD = 20.0**2  # variance between the leads of one client
MOST_NAMES = 5  # of sources and industries shown
SPREAD_DEGREES = 10.0  # the pool's spread counts as this many leads of every client


@dataclass(frozen=True, slots=True)
class Scores:
    """One window's leads by client: number scored, mean, sum of squared deviations; parts have shape (clients, 3)."""

    n: FloatArray
    mean: FloatArray
    squares: FloatArray
    parts: FloatArray

    @classmethod
    def of(cls, sums: FloatArray) -> "Scores":
        """Take them from sums as _sums gives them."""
        n, total, squares, parts = sums[:, 0], sums[:, 1], sums[:, 2], sums[:, 3:]
        mean = ratio(total, n)
        # about the client's own mean; where all scores are equal, rounding may leave a trifle on either side of nought
        own = np.maximum(squares - np.where(n > 0, n * (mean - DEFAULT_LEVEL.mean) ** 2, 0.0), 0.0)
        return cls(n, mean, own, ratio(parts, n[:, None]))


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
    total = _total(weight)[:, None]
    points = 100 * weight * np.where(known, parts, 0.0)
    return np.where(total > 0, points / np.where(total > 0, total, 1.0), np.nan)


def _total(points: FloatArray) -> FloatArray:
    """Each lead's score, the sum of its parts' points; column by column, several times as fast as along the rows."""
    score: FloatArray = points[:, 0] + points[:, 1] + points[:, 2]
    return score


def _sums(leads: Leads, points: FloatArray, mask: BoolArray) -> FloatArray:
    """
    Add up by client the marked leads that have a score, shape (clients, 6).

    Their number, their scores, the squares of these about the default level, and the points of each part.
    """
    score = _total(points)
    used = np.flatnonzero(mask & np.isfinite(score))
    client, n_clients, score = leads.client[used], len(leads.clients), score[used]
    weights = [None, score, (score - DEFAULT_LEVEL.mean) ** 2, *points[used].T]
    return np.stack([np.bincount(client, weights=weight, minlength=n_clients) for weight in weights], axis=1)


_Points = tuple[FloatArray, FloatArray, BoolArray]


def _points(leads: Leads, two: TwoWindows) -> _Points:
    """
    Score the leads of both windows, each as it stood at its own end: points of the current one, and of the previous.

    Where a client's actions are on record for one window only, the two are not scored by the same rule: their
    difference would be a change that only the recording made, and nothing is known of the true one. The third array
    marks the leads of the others.
    """
    w = two.windows
    recorded, recorded_before = leads.recorded(w.start, w.end), leads.recorded(w.start, w.middle)
    current = points_by_part(lead_parts(leads, w.end, recorded))
    previous = points_by_part(lead_parts(leads, w.middle, recorded_before))
    return current, previous, recorded == recorded_before


def _scores(period: Period, points: _Points) -> tuple[Scores, Scores]:
    """Score the current window of all clients, and what of the previous one may be compared with it."""
    leads, two = period.leads, period.two
    current, previous, comparable = points
    sums = _sums(leads, current, two.current), _sums(leads, previous, two.previous & comparable)
    return Scores.of(sums[0]), Scores.of(sums[1])


@dataclass(frozen=True, slots=True)
class _Errors:
    """How well a client's means are known: variance between leads, design effects of the windows, (clients,) each."""

    variance: FloatArray
    effect_current: FloatArray
    effect_previous: FloatArray
    degrees: FloatArray

    @classmethod
    def of(cls, current: Scores, previous: Scores, spread: float, correlation: FloatArray) -> "_Errors":
        """Shrink the variance between a client's leads to the pool's, which counts as SPREAD_DEGREES leads."""
        effects = [design_effect(n, correlation) for n in (current.n, previous.n)]
        # a mean takes as much of the squares with it as its leads are alike
        own = np.maximum(current.n - effects[0], 0) + np.maximum(previous.n - effects[1], 0)
        variance = (current.squares + previous.squares + SPREAD_DEGREES * spread) / (own + SPREAD_DEGREES)
        alike = (effects[0] + effects[1]) / 2
        return cls(variance, effects[0], effects[1], own / alike + SPREAD_DEGREES)

    def squared(self, n: FloatArray, effect: FloatArray) -> FloatArray:
        """Squared standard error of a mean of n leads."""
        error: FloatArray = self.variance * effect / np.maximum(n, 1)
        return error

    def of_change(self, current: Scores, previous: Scores) -> FloatArray:
        """Squared standard error of the change."""
        return self.squared(current.n, self.effect_current) + self.squared(previous.n, self.effect_previous)


def _log_likelihood(current: Scores, previous: Scores, errors: _Errors) -> FloatArray:
    change = current.mean - previous.mean
    return mean_change_log_likelihood(change, errors.of_change(current, previous), errors.degrees, GRID)


def _lead_scores(
    found: Sequence[Period], points: Mapping[int, _Points]
) -> Iterator[tuple[Leads, BoolArray, FloatArray]]:
    """Give each window's leads and their scores, for the likeness of neighbours."""
    for period in found:
        masks = period.two.current, period.two.previous
        for mask, known in zip(masks, points[period.ago][:2], strict=True):
            yield period.leads, mask, _total(known)[:, None]


def fit(leads: Leads, as_of: datetime, past_periods: int | None = None) -> Mapping[str, Json]:
    """Learn the pool's level, the spread between clients and leads, and how much scores change over periods."""
    return learn_beside_half(_learn, leads, as_of, past_periods)


def _learn(found: Sequence[Period]) -> dict[str, Json]:
    present, *past = found
    points = {period.ago: _points(period.leads, period.two) for period in found}
    correlation = serial_correlation(_lead_scores(every_window_once(found), points))
    current, previous = _scores(present, points[present.ago])
    spread = _pool_spread(current, previous, correlation)
    errors = _Errors.of(current, previous, spread, correlation)
    level = estimate_normal_prior(current.mean, errors.squared(current.n, errors.effect_current), DEFAULT_LEVEL)
    likelihoods = [_log_likelihood(current, previous, errors)[_informative(current, previous)]]
    for period in past:
        now, before = _scores(period, points[period.ago])
        likelihood = _log_likelihood(now, before, _Errors.of(now, before, spread, correlation))
        likelihoods.append(likelihood[_informative(now, before)])
    return {
        "spread": spread,
        "level": {"mean": level.mean, "variance": level.variance},
        "serial_correlation": correlation.tolist(),
        "serial_correlation_of_half": serial_correlation(_lead_scores([present], points), of_half=True).tolist(),
        **learn_changes(likelihoods, candidates(GRID, DEAD_BAND)),
    }


def _informative(current: Scores, previous: Scores) -> BoolArray:
    """Mark the clients with leads in both windows."""
    return (current.n > 0) & (previous.n > 0)


def _pool_spread(current: Scores, previous: Scores, correlation: FloatArray) -> float:
    """Variance between the leads of one client, over all clients."""
    degrees = sum(
        float(np.maximum(scores.n - design_effect(scores.n, correlation), 0).sum()) for scores in (current, previous)
    )
    squares = float(current.squares.sum() + previous.squares.sum())
    return (squares + SPREAD_DEGREES * DEFAULT_SPREAD) / (degrees + SPREAD_DEGREES)


def _posterior(
    current: Scores, previous: Scores, errors: _Errors, clients: Clients, model: Mapping[str, Json]
) -> ChangePosterior:
    likelihood = _log_likelihood(current, previous, errors)
    return changes_posterior(likelihood, _informative(current, previous), clients, model, GRID)


def measure(leads: Leads, model: Mapping[str, Json], as_of: datetime, rng: np.random.Generator) -> Measures:
    """Add up the scores of both windows' leads, and of one half of them, and what else is shown of the current one."""
    del model, rng  # sums depend on neither
    present = periods(leads, as_of)[0]
    leads, two = present.leads, present.two
    current, previous, comparable = _points(leads, two)
    compared, other = two.previous & comparable, leads.half()
    sums = {
        "n": leads.per_client(two.current),
        "n_previous": leads.per_client(two.previous),
        "current": _sums(leads, current, two.current),
        "previous": _sums(leads, previous, compared),
        "shown": _sums(leads, previous, two.previous),
        "current_of_half": _sums(leads, current, two.current & ~other),
        "previous_of_half": _sums(leads, previous, compared & ~other),
        "current_of_other": _sums(leads, current, two.current & other),
        "previous_of_other": _sums(leads, previous, compared & other),
        **_metrics(leads, two),
    }
    sources = count_names(leads, leads.source, leads.source_names, two.current)
    return Measures(leads.clients, sums, {"sources": sources, "industries": _industries(leads, two)})


def analyse(
    leads: Leads | Measures, model: Mapping[str, Json], as_of: datetime, rng: np.random.Generator
) -> list[Finding]:
    """Write one finding for each client with a lead in the current window; leads: or what measure gives of them."""
    measured = leads if isinstance(leads, Measures) else measure(leads, model, as_of, rng)  # nothing is simulated
    clients = measured.clients
    current, previous, shown = (Scores.of(measured[name]) for name in ("current", "previous", "shown"))
    correlation = np.array(model["serial_correlation"])
    errors = _Errors.of(current, previous, float(model["spread"]), correlation)
    posterior = _posterior(current, previous, errors, clients, model)
    probability = posterior.class_probability
    said = said_class(probability)
    level = NormalPrior(float(model["level"]["mean"]), float(model["level"]["variance"]))
    now = shrink_means(current.mean, errors.squared(current.n, errors.effect_current), level, LEVEL)
    shown_effect = design_effect(shown.n, correlation)
    before = shrink_means(shown.mean, errors.squared(shown.n, shown_effect), level, LEVEL)
    change_low, change_high = posterior.interval(LEVEL)
    check_class, _, check_p = _half_check(measured, model)
    n, n_previous = measured["n"], measured["n_previous"]
    confidence = ratio(measured["confidence"], measured["confident_leads"])
    high = ratio(measured["levels"][:, URGENCY_HIGH], measured["levels"].sum(axis=1))

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
            "metrics": {
                "total_leads": int(n[c]),
                "active_leads": int(measured["open"][c]),
                "avg_confidence": number(confidence[c]),
                "high_urgency_pct": number(high[c]),
            },
            "top_sources": most_frequent(measured.names["sources"][c], MOST_NAMES),
            "top_industries": most_frequent(measured.names["industries"][c], MOST_NAMES),
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
        findings.append(Finding(clients.ids[c], EVENT_TYPE, content, claim, check, int(n[c]), int(n_previous[c])))
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


def _industries(leads: Leads, two: TwoWindows) -> list[Tally]:
    """Count the current window's leads by their client's industry, of which a client has one and all together many."""
    names = tuple(sorted({name for name in leads.owner_industry if name}))
    code_of = {name: code for code, name in enumerate(names)}
    codes = np.array([code_of.get(name or "", -1) for name in leads.owner_industry], dtype=np.int64)
    return count_names(leads, codes[leads.owner], names, two.current)


def _metrics(leads: Leads, two: TwoWindows) -> dict[str, Array]:
    """Count of the current window's leads by client: open ones, their confidence, their urgency."""
    end, n_clients = two.windows.end, len(leads.clients)
    confidence = leads.confidence.latest_before(end, len(leads), np.nan)
    present = two.current & np.isfinite(confidence)
    urgency = leads.urgency.latest_before(end, len(leads), URGENCY_UNKNOWN).astype(np.int64)
    return {
        "open": leads.per_client(two.current & (leads.state_at(end) == OPEN)),
        "confidence": np.bincount(leads.client[present], weights=confidence[present], minlength=n_clients),
        "confident_leads": leads.per_client(present),
        "levels": leads.counts(urgency, 3, two.current),
    }


def half_checks(leads: Leads, model: Mapping[str, Json], as_of: datetime, rng: np.random.Generator) -> HalfChecks:
    """Ask one half of the leads which class of change the other half will show, and see."""
    measured = measure(leads, model, as_of, rng)  # nothing here is simulated
    said, seen, p = _half_check(measured, model)
    asked = np.flatnonzero(measured["n"] > 0)
    states = tuple(CLASS_NAMES[code] for code in said[asked].tolist())
    return HalfChecks(asked, p[asked], (said == seen)[asked], states)


def _half_check(measured: Measures, model: Mapping[str, Json]) -> tuple[IntArray, IntArray, FloatArray]:
    """
    Give the class that one half says, the class that the other half shows, and the probability that they agree.

    The other half's observed change is normal about the true one, and errs with this half where leads come in bursts.
    NaN where the other half lacks a window.
    """
    current, previous = Scores.of(measured["current_of_half"]), Scores.of(measured["previous_of_half"])
    fresh, fresh_previous = Scores.of(measured["current_of_other"]), Scores.of(measured["previous_of_other"])
    model = model.get("of_half", model)
    correlation = np.array(model["serial_correlation_of_half"])
    errors = _Errors.of(current, previous, float(model["spread"]), correlation)
    posterior = _posterior(current, previous, errors, measured.clients, model)
    said = said_class(posterior.class_probability)
    agree = probability_other_half_shows(
        posterior,
        said,
        current.mean - previous.mean,
        errors.variance,
        n=(fresh.n, fresh_previous.n),
        effect=(design_effect(fresh.n, correlation), design_effect(fresh_previous.n, correlation)),
    )
    seen = class_of(fresh.mean - fresh_previous.mean, DEAD_BAND)
    return said, seen, np.where(_informative(fresh, fresh_previous), agree, np.nan)
