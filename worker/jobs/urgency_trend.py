"""
urgency_trend: is a client's share of high-urgency leads rising, falling or stable?

Meaning. The share of High among the leads whose urgency is known, of those that arrived in the 30 days before as_of
and of those in the 30 days before that, each window as it stood at its own end; words of both languages are folded to
High, Medium and Low (worker/vocabulary.py). Beside it the eight weeks before as_of, one point each: what they show is
for the eye, and no part of the claim.

Formula. The claim is the class of the change of the *true* share, within a dead band of 5 percentage points `stable`;
its confidence is the posterior probability of that class. The likelihood of a change d is exact: two binomials with
shares p and p + d, p integrated over a beta distribution of clients' shares. Counts of leads that resemble their
neighbours in time are divided by a design effect first, so that a burst counts as the few leads that it is worth. The
prior of d is learned over all clients, now and in up to six periods before, the more clients the fewer
(worker/sample.py); a client's own part in it is taken out again, so that none is its own witness. `change_interval`
holds 80% of the same posterior.

Check. One half of the leads, by a hash of the id, says which class of change the other half's raw shares show, and how
surely: exactly where there are few leads, by the normal law where there are many.

Source. Beta-binomial level: worker/statistics/shrinkage.py. Prior of changes: Bayesian model averaging (Hoeting et al.
1999), a spike beside a slab (Stephens 2017), worker/statistics/change_prior.py. Likelihood:
worker/statistics/change_likelihood.py. Design effect: worker/statistics/dependence.py, sums of positive lags (Geyer
1992).

Limits. Likeness that does not show between neighbours in time is not seen. Leads of unknown urgency are left out as if
they were like the others. Two months are compared, not a season with the same season of last year. With thirty clients
and no history it is too modest where nobody changed, and too sure where many changed a little.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from worker.jobs import trends
from worker.jobs.finding import Check, Claim, Finding, HalfChecks, Json
from worker.jobs.measures import Measures
from worker.jobs.trends import changes_posterior, learn_beside_half, learn_changes
from worker.jobs.windows import (
    LEVEL,
    Period,
    TwoWindows,
    every_window_once,
    interval_json,
    level_names,
    number,
    numbers,
    periods,
    ratio,
    serial_correlation,
    week_dates,
    weekly_counts,
)
from worker.leads import WINDOW_DAYS, Clients, Leads, to_microseconds
from worker.sample import LEARN_CLIENTS
from worker.statistics import BoolArray, FloatArray, IntArray
from worker.statistics.change import CLASS_NAMES, ChangePosterior, class_of, said_class
from worker.statistics.change_likelihood import share_change_log_likelihood
from worker.statistics.change_prior import candidates, change_grid
from worker.statistics.dependence import design_effect
from worker.statistics.halves import EXACT_UP_TO, probability_other_half_shows, probability_share_class_seen
from worker.statistics.shrinkage import estimate_beta_prior
from worker.vocabulary import URGENCY_HIGH, URGENCY_NAMES, URGENCY_UNKNOWN

NAME = "urgency_trend"
EVENT_TYPE = "urgency_trend"
TITLE = "is the share of urgent leads rising, falling or stable?"
LOOK_BACK_DAYS: int | None = trends.LOOK_BACK_DAYS
READS = ("urgency",)
ANALYSES_DAYS = 2 * WINDOW_DAYS
LEARNS_FROM_SAMPLE = LEARN_CLIENTS
LEARNS_FROM_PERIODS = True

DEAD_BAND = 0.05
GRID = change_grid(DEAD_BAND, limit=1.0)
DEFAULT_RATE = (1.0, 2.0)  # Beta prior of a High share before any lead is seen: a third, worth three leads


def _codes(leads: Leads, two: TwoWindows) -> tuple[IntArray, IntArray]:
    """Urgency of every lead as known at the end of the current and of the previous window."""
    w = two.windows
    current = leads.urgency.latest_before(w.end, len(leads), URGENCY_UNKNOWN).astype(np.int64)
    previous = leads.urgency.latest_before(w.middle, len(leads), URGENCY_UNKNOWN).astype(np.int64)
    return current, previous


def _is_high(found: Sequence[Period]) -> Iterator[tuple[Leads, BoolArray, FloatArray]]:
    """Give each window's leads and whether they are High, for the likeness of neighbours."""
    for period in found:
        codes = _codes(period.leads, period.two)
        for code, mask in zip(codes, (period.two.current, period.two.previous), strict=True):
            yield period.leads, mask, np.where(code >= 0, code == URGENCY_HIGH, np.nan)[:, None]


@dataclass(frozen=True, slots=True)
class _Counts:
    """High leads and leads of known urgency by client, as many as they are worth: shape (clients,) each."""

    high_previous: FloatArray
    known_previous: FloatArray
    high_current: FloatArray
    known_current: FloatArray

    @classmethod
    def of(cls, current: IntArray, previous: IntArray, correlation: FloatArray) -> "_Counts":
        """Divide the counts of tables, shape (clients, 3), by the design effect of leads so alike."""
        worth = []
        for table in (previous, current):
            known = table.sum(axis=1)
            effect = design_effect(known, correlation)
            worth += [table[:, URGENCY_HIGH] / effect, known / effect]
        return cls(*worth)

    @property
    def informative(self) -> BoolArray:
        """Mark the clients with leads in both windows."""
        return (self.known_previous > 0) & (self.known_current > 0)

    def log_likelihood(self, rate: tuple[float, float], rows: BoolArray | None = None) -> FloatArray:
        """Log likelihood of each change, shape (clients, grid)."""
        chosen = np.ones(len(self.known_current), dtype=bool) if rows is None else rows
        return share_change_log_likelihood(
            self.high_previous[chosen],
            self.known_previous[chosen],
            self.high_current[chosen],
            self.known_current[chosen],
            GRID,
            level_prior=rate,
        )

    def level_prior(self) -> tuple[float, float]:
        """Learn the Beta distribution of clients' shares from both windows together; one client cannot tell it."""
        if self.informative.sum() < 2:
            return DEFAULT_RATE
        # whole counts: the prior needs no more, and equal counts are worked out once
        known = np.rint(self.known_previous + self.known_current).astype(np.int64)
        high = np.minimum(np.rint(self.high_previous + self.high_current).astype(np.int64), known)
        return estimate_beta_prior(high, known, DEFAULT_RATE)


def _tables(leads: Leads, two: TwoWindows, correlation: FloatArray) -> _Counts:
    current, previous = _codes(leads, two)
    return _Counts.of(leads.counts(current, 3, two.current), leads.counts(previous, 3, two.previous), correlation)


def fit(leads: Leads, as_of: datetime, past_periods: int | None = None) -> Mapping[str, Json]:
    """Learn how high shares are, how alike neighbours are, and how much shares change, over clients and periods."""
    return learn_beside_half(_learn, leads, as_of, past_periods)


def _learn(found: Sequence[Period]) -> dict[str, Json]:
    present = found[0]
    correlation = serial_correlation(_is_high(every_window_once(found)))
    likelihoods: list[FloatArray] = []
    rate = DEFAULT_RATE
    for period in found:
        counts = _tables(period.leads, period.two, correlation)
        if not likelihoods:
            rate = counts.level_prior()
        likelihoods.append(counts.log_likelihood(rate, counts.informative))
    return {
        "rate_prior": list(rate),
        "serial_correlation": correlation.tolist(),
        "serial_correlation_of_half": serial_correlation(_is_high([present]), of_half=True).tolist(),
        **learn_changes(likelihoods, candidates(GRID, DEAD_BAND)),
    }


def _posterior(counts: _Counts, clients: Clients, model: Mapping[str, Json]) -> ChangePosterior:
    rate = (float(model["rate_prior"][0]), float(model["rate_prior"][1]))
    return changes_posterior(counts.log_likelihood(rate), counts.informative, clients, model, GRID)


def measure(leads: Leads, model: Mapping[str, Json], as_of: datetime, rng: np.random.Generator) -> Measures:
    """Count the levels of both windows' leads, of each half of them, and of each week's."""
    del model, rng  # sums depend on neither
    present = periods(leads, as_of)[0]
    leads, two = present.leads, present.two
    now, before = _codes(leads, two)
    other = leads.half()
    none = np.zeros(len(leads), dtype=np.int64)
    return Measures(
        leads.clients,
        {
            "n": leads.per_client(two.current),
            "n_previous": leads.per_client(two.previous),
            "current": leads.counts(now, 3, two.current),
            "previous": leads.counts(before, 3, two.previous),
            "other_current": leads.counts(now, 3, two.current & other),
            "other_previous": leads.counts(before, 3, two.previous & other),
            "weekly": weekly_counts(leads, now, 3, two.both, two.windows.end),
            "leads_in_week": weekly_counts(leads, none, 1, two.both, two.windows.end)[:, :, 0],
        },
    )


def analyse(
    leads: Leads | Measures, model: Mapping[str, Json], as_of: datetime, rng: np.random.Generator
) -> list[Finding]:
    """Write one finding for each client with a lead in the current window; leads: or what measure gives of them."""
    measured = leads if isinstance(leads, Measures) else measure(leads, model, as_of, rng)  # nothing is simulated
    clients, current, previous = measured.clients, measured["current"], measured["previous"]
    correlation = np.array(model["serial_correlation"])
    posterior = _posterior(_Counts.of(current, previous, correlation), clients, model)
    probability = posterior.class_probability
    said = said_class(probability)
    low, high = posterior.interval(LEVEL)
    check_class, _, check_p = _half_check(measured, model)
    n, n_previous = measured["n"], measured["n_previous"]
    known = current.sum(axis=1)
    share, share_before = ratio(current[:, URGENCY_HIGH], known), ratio(previous[:, URGENCY_HIGH], previous.sum(axis=1))
    shares = ratio(current, known[:, None])
    points = _data_points(measured, as_of)
    findings = []
    for c in np.flatnonzero(n > 0).tolist():
        name = CLASS_NAMES[said[c]]
        counts = {level: int(current[c, code]) for code, level in reversed(list(enumerate(URGENCY_NAMES)))}
        content = {
            "trend": name,
            "high_urgency_pct": number(share[c]),
            "previous_high_urgency_pct": number(share_before[c]),
            "change": number(share[c] - share_before[c]),
            "change_interval": interval_json(low[c], high[c]),
            "counts": {**counts, "unknown": int(n[c] - known[c])},
            "distribution": {
                level: number(shares[c, code]) for code, level in reversed(list(enumerate(URGENCY_NAMES)))
            },
            "data_points": points[c],
        }
        claim = Claim(
            "change_class",
            float(probability[c, said[c]]),
            f"The true share of high-urgency leads is {name} (dead band {DEAD_BAND:.2f}) between the two windows.",
            {"class": name, "dead_band": DEAD_BAND},
        )
        check = Check("split_half", as_of, number(check_p[c]), {"class": CLASS_NAMES[check_class[c]]})
        findings.append(Finding(clients.ids[c], EVENT_TYPE, content, claim, check, int(n[c]), int(n_previous[c])))
    return findings


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

    The other half's two counts are binomial about the true shares, exactly, of as many leads as they are worth; where
    they are many, the observed change is normal about the true one, and errs with this half where leads come in
    bursts. NaN where the other half lacks a window.
    """
    other_current, other_previous = measured["other_current"], measured["other_previous"]
    current, previous = measured["current"] - other_current, measured["previous"] - other_previous
    model = model.get("of_half", model)
    correlation = np.array(model["serial_correlation_of_half"])
    posterior = _posterior(_Counts.of(current, previous, correlation), measured.clients, model)
    said = said_class(posterior.class_probability)
    n1, n0 = other_current.sum(axis=1), other_previous.sum(axis=1)
    known1, known0 = current.sum(axis=1), previous.sum(axis=1)
    a, b = (float(x) for x in model["rate_prior"])
    level = ((current + previous)[:, URGENCY_HIGH] + a) / ((current + previous).sum(axis=1) + a + b)

    effect1, effect0 = design_effect(n1, correlation), design_effect(n0, correlation)  # of a half
    exact = (n1 <= EXACT_UP_TO) & (n0 <= EXACT_UP_TO)
    decidable = (n1 > 0) & (n0 > 0)
    p = np.full(len(said), np.nan)
    rows = np.flatnonzero(decidable & exact)
    worth = [np.maximum(np.rint(n / effect), 1).astype(np.int64)[rows] for n, effect in ((n0, effect0), (n1, effect1))]
    p[rows] = probability_share_class_seen(posterior.only(rows), said[rows], worth[0], worth[1], level[rows])
    rows = np.flatnonzero(decidable & ~exact)
    own = ratio(current[:, URGENCY_HIGH], known1) - ratio(previous[:, URGENCY_HIGH], known0)
    p[rows] = probability_other_half_shows(
        posterior.only(rows),
        said[rows],
        own[rows],
        (level * (1 - level))[rows],
        n=(n1[rows].astype(np.float64), n0[rows].astype(np.float64)),
        effect=(effect1[rows], effect0[rows]),
    )
    change = ratio(other_current[:, URGENCY_HIGH], n1) - ratio(other_previous[:, URGENCY_HIGH], n0)
    return said, class_of(change, DEAD_BAND), p


def _data_points(measured: Measures, as_of: datetime) -> list[list[dict[str, Json]]]:
    by_level = measured["weekly"]
    known = by_level.sum(axis=2)
    mean = ratio((by_level * np.array([1, 2, 3])).sum(axis=2), known)
    share = ratio(by_level[:, :, URGENCY_HIGH], known)
    dates = week_dates(as_of, to_microseconds(as_of))
    columns = (level_names(mean), numbers(share), measured["leads_in_week"].tolist())
    return [
        [
            {"date": date, "avg_urgency": level, "high_urgency_pct": part, "leads": n}
            for date, level, part, n in zip(dates, *of_client, strict=True)
        ]
        for of_client in zip(*columns, strict=True)
    ]
