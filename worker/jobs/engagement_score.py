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
    top_names,
)
from worker.leads import OPEN, WINDOW_DAYS, Leads
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
    total = _total(weight)[:, None]
    points = 100 * weight * np.where(known, parts, 0.0)
    return np.where(total > 0, points / np.where(total > 0, total, 1.0), np.nan)


def _total(points: FloatArray) -> FloatArray:
    """Each lead's score, the sum of its parts' points; column by column, several times as fast as along the rows."""
    score: FloatArray = points[:, 0] + points[:, 1] + points[:, 2]
    return score


def _scores(leads: Leads, points: FloatArray, mask: BoolArray) -> Scores:
    score = _total(points)
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
    shown = _scores(leads, previous, before)
    compared = shown if comparable.all() else _scores(leads, previous, before & comparable)
    return _scores(leads, current, two.current & chosen), compared, shown


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


def _lead_scores(found: Sequence[Period]) -> Iterator[tuple[Leads, BoolArray, FloatArray]]:
    """Give each window's leads and their scores, for the likeness of neighbours."""
    for period in found:
        w = period.two.windows
        for mask, end in ((period.two.current, w.end), (period.two.previous, w.middle)):
            recorded = period.leads.recorded(w.start, end)
            score = _total(points_by_part(lead_parts(period.leads, end, recorded)))
            yield period.leads, mask, score[:, None]


def fit(leads: Leads, as_of: datetime, past_periods: int | None = None) -> Mapping[str, Json]:
    """Learn the pool's level, the spread between clients and leads, and how much scores change over periods."""
    return learn_beside_half(_learn, leads, as_of, past_periods)


def _learn(found: Sequence[Period]) -> dict[str, Json]:
    present, *past = found
    correlation = serial_correlation(_lead_scores(every_window_once(found)))
    current, previous, _ = _measure(present.leads, present.two)
    spread = _pool_spread(current, previous, correlation)
    errors = _Errors.of(current, previous, spread, correlation)
    level = estimate_normal_prior(current.mean, errors.squared(current.n, errors.effect_current), DEFAULT_LEVEL)
    likelihoods = [_log_likelihood(current, previous, errors)[_informative(current, previous)]]
    for period in past:
        now, before, _ = _measure(period.leads, period.two)
        likelihood = _log_likelihood(now, before, _Errors.of(now, before, spread, correlation))
        likelihoods.append(likelihood[_informative(now, before)])
    return {
        "spread": spread,
        "level": {"mean": level.mean, "variance": level.variance},
        "serial_correlation": correlation.tolist(),
        "serial_correlation_of_half": serial_correlation(_lead_scores([present]), of_half=True).tolist(),
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
    current: Scores, previous: Scores, errors: _Errors, leads: Leads, model: Mapping[str, Json]
) -> ChangePosterior:
    likelihood = _log_likelihood(current, previous, errors)
    return changes_posterior(likelihood, _informative(current, previous), leads, model, GRID)


def analyse(leads: Leads, model: Mapping[str, Json], as_of: datetime, rng: np.random.Generator) -> list[Finding]:
    """Write one finding for each client with a lead in the current window."""
    del rng  # nothing here is simulated
    present = periods(leads, as_of)[0]
    leads, two = present.leads, present.two
    current, previous, shown = _measure(leads, two)
    correlation = np.array(model["serial_correlation"])
    errors = _Errors.of(current, previous, float(model["spread"]), correlation)
    posterior = _posterior(current, previous, errors, leads, model)
    probability = posterior.class_probability
    said = said_class(probability)
    level = NormalPrior(float(model["level"]["mean"]), float(model["level"]["variance"]))
    now = shrink_means(current.mean, errors.squared(current.n, errors.effect_current), level, LEVEL)
    shown_effect = design_effect(shown.n, correlation)
    before = shrink_means(shown.mean, errors.squared(shown.n, shown_effect), level, LEVEL)
    change_low, change_high = posterior.interval(LEVEL)
    check_class, _, check_p = _half_check(leads, two, model)
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


def half_checks(leads: Leads, model: Mapping[str, Json], as_of: datetime, rng: np.random.Generator) -> HalfChecks:
    """Ask one half of the leads which class of change the other half will show, and see."""
    del rng  # nothing here is simulated
    present = periods(leads, as_of)[0]
    said, seen, p = _half_check(present.leads, present.two, model)
    asked = np.flatnonzero(present.leads.per_client(present.two.current) > 0)
    states = tuple(CLASS_NAMES[code] for code in said[asked].tolist())
    return HalfChecks(asked, p[asked], (said == seen)[asked], states)


def _half_check(leads: Leads, two: TwoWindows, model: Mapping[str, Json]) -> tuple[IntArray, IntArray, FloatArray]:
    """
    Give the class that one half says, the class that the other half shows, and the probability that they agree.

    The other half's observed change is normal about the true one, and errs with this half where leads come in bursts.
    NaN where the other half lacks a window.
    """
    other = leads.half()
    current, previous, _ = _measure(leads, two, ~other)
    fresh, fresh_previous, _ = _measure(leads, two, other)
    model = model.get("of_half", model)
    correlation = np.array(model["serial_correlation_of_half"])
    errors = _Errors.of(current, previous, float(model["spread"]), correlation)
    posterior = _posterior(current, previous, errors, leads, model)
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
