"""
urgency_trend: is a client's share of high-urgency leads rising, falling or stable?

Compares the share of High among the leads whose urgency is known, in the 30 days before as_of and in the 30 days
before those, each as it stood at its window's end. The claim is the class of the change of the *true* share, dead
band 5 percentage points; its confidence is the posterior probability of that class, under exact binomial likelihoods
and a prior of changes learned over all clients (worker/statistics/change.py). Limits: leads are taken as independent;
bursts of near-identical leads make it too sure.
"""

from collections.abc import Mapping
from datetime import datetime

import numpy as np

from worker.jobs.finding import Check, Claim, Finding, Json
from worker.jobs.windows import LEVEL, TwoWindows, interval_json, level_name, number, ratio, week_dates, weekly_counts
from worker.leads import Leads
from worker.statistics import FloatArray, IntArray
from worker.statistics.change import (
    CLASS_NAMES,
    ChangePrior,
    base_measure,
    change_grid,
    fit_change_prior,
    normal_cumulative,
    posterior_of_change,
    probability_class_seen,
    said_class,
    share_change_log_likelihood,
)
from worker.statistics.shrinkage import estimate_beta_prior
from worker.vocabulary import URGENCY_HIGH, URGENCY_NAMES, URGENCY_UNKNOWN

NAME = "urgency_trend"
EVENT_TYPE = "urgency_trend"
TITLE = "is the share of urgent leads rising, falling or stable?"
LOOK_BACK_DAYS: int | None = 60
SCHEDULE = "03:10"

DEAD_BAND = 0.05
GRID = change_grid(DEAD_BAND, step=0.01, fine_to=0.30, coarse_step=0.025, limit=1.0)
BASE = base_measure(GRID, scale=0.12)
DEFAULT_RATE = (1.0, 2.0)  # Beta prior of a High share before any lead is seen: a third, worth three leads


def _codes(leads: Leads, two: TwoWindows) -> tuple[IntArray, IntArray]:
    """Urgency of every lead as known at the end of the current and of the previous window."""
    w = two.windows
    current = leads.urgency.latest_before(w.end, len(leads), URGENCY_UNKNOWN).astype(np.int64)
    previous = leads.urgency.latest_before(w.middle, len(leads), URGENCY_UNKNOWN).astype(np.int64)
    return current, previous


def _tables(leads: Leads, two: TwoWindows) -> tuple[IntArray, IntArray]:
    """Counts of Low, Medium, High by client, shape (clients, 3), of the current and the previous window."""
    current, previous = _codes(leads, two)
    return leads.counts(current, 3, two.current), leads.counts(previous, 3, two.previous)


def _log_likelihood(current: IntArray, previous: IntArray, rate: tuple[float, float]) -> FloatArray:
    return share_change_log_likelihood(
        previous[:, URGENCY_HIGH],
        previous.sum(axis=1),
        current[:, URGENCY_HIGH],
        current.sum(axis=1),
        GRID,
        level_prior=rate,
    )


def fit(leads: Leads, as_of: datetime) -> Mapping[str, Json]:
    """Learn how high shares are, and how much they change, over all clients."""
    current, previous = _tables(leads, TwoWindows.of(leads, as_of))
    both = current + previous
    rate = estimate_beta_prior(both[:, URGENCY_HIGH], both.sum(axis=1), DEFAULT_RATE)
    informative = (current.sum(axis=1) > 0) & (previous.sum(axis=1) > 0)
    prior = fit_change_prior(_log_likelihood(current[informative], previous[informative], rate), GRID, DEAD_BAND, BASE)
    return {"rate_prior": list(rate), **prior.as_json()}


def analyse(leads: Leads, model: Mapping[str, Json], as_of: datetime, rng: np.random.Generator) -> list[Finding]:
    """Write one finding for each client with a lead in the current window."""
    del rng  # nothing here is simulated
    two = TwoWindows.of(leads, as_of)
    current_code, previous_code = _codes(leads, two)
    current, previous = leads.counts(current_code, 3, two.current), leads.counts(previous_code, 3, two.previous)
    rate = (float(model["rate_prior"][0]), float(model["rate_prior"][1]))
    posterior = posterior_of_change(_log_likelihood(current, previous, rate), ChangePrior.from_json(model))
    probability = posterior.class_probability
    said = said_class(probability)
    low, high = posterior.interval(LEVEL)
    check_class, check_p = _half_check(leads, two, (current_code, previous_code), model)
    n, n_previous = leads.per_client(two.current), leads.per_client(two.previous)
    known = current.sum(axis=1)
    share, share_before = ratio(current[:, URGENCY_HIGH], known), ratio(previous[:, URGENCY_HIGH], previous.sum(axis=1))
    shares = ratio(current, known[:, None])
    points = _data_points(leads, current_code, as_of, two)
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
        findings.append(Finding(leads.clients.ids[c], EVENT_TYPE, content, claim, check, int(n[c]), int(n_previous[c])))
    return findings


def _half_check(
    leads: Leads, two: TwoWindows, codes: tuple[IntArray, IntArray], model: Mapping[str, Json]
) -> tuple[IntArray, FloatArray]:
    """
    Ask one half of the leads what the other half will show: the class said, and the probability of seeing it.

    The other half's observed change scatters normally around the true one, with the binomial variance of the
    shrunken share; NaN where that half lacks a window.
    """
    other = leads.half()
    tables = [
        (leads.counts(codes[0], 3, two.current & half), leads.counts(codes[1], 3, two.previous & half))
        for half in (~other, other)
    ]
    (current, previous), (other_current, other_previous) = tables
    rate = (float(model["rate_prior"][0]), float(model["rate_prior"][1]))
    posterior = posterior_of_change(_log_likelihood(current, previous, rate), ChangePrior.from_json(model))
    said = said_class(posterior.class_probability)
    n1, n0 = other_current.sum(axis=1), other_previous.sum(axis=1)
    seen = (current + previous)[:, URGENCY_HIGH] + rate[0], (current + previous).sum(axis=1) + sum(rate)
    p = seen[0] / seen[1]
    se = np.sqrt(p * (1 - p) * (1 / np.maximum(n1, 1) + 1 / np.maximum(n0, 1)))
    agree = probability_class_seen(posterior, said, normal_cumulative(posterior.prior.grid, se))
    return said, np.where((n1 > 0) & (n0 > 0), agree, np.nan)


def _data_points(leads: Leads, codes: IntArray, as_of: datetime, two: TwoWindows) -> list[list[dict[str, Json]]]:
    end = two.windows.end
    by_level = weekly_counts(leads, codes, 3, two.both, end)
    leads_in_week = weekly_counts(leads, np.zeros(len(leads), dtype=np.int64), 1, two.both, end)[:, :, 0]
    known = by_level.sum(axis=2)
    mean = ratio((by_level * np.array([1, 2, 3])).sum(axis=2), known)
    share = ratio(by_level[:, :, URGENCY_HIGH], known)
    dates = week_dates(as_of, end)
    return [
        [
            {
                "date": dates[week],
                "avg_urgency": level_name(mean[c, week]),
                "high_urgency_pct": number(share[c, week]),
                "leads": int(leads_in_week[c, week]),
            }
            for week in range(len(dates))
        ]
        for c in range(len(leads.clients))
    ]
