"""
tone_distribution: in which tones do a client's leads write, and how well is that known?

Counts tones over families (both languages folded, worker/vocabulary.py) among the leads that arrived in the 30 days
before as_of. `distribution` holds the raw shares of the known tones; `estimate` the shares shrunk to the pool's mix by
a Dirichlet-multinomial model whose concentration is learned over clients (worker/statistics/shares.py). The claim:
the true shares lie within a total variation distance of 0.10 of `estimate`; its confidence is the posterior mass of
that ball, by simulation. Limits: tones are what the application stored; a lead counts once, whatever its length.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import numpy as np

from worker.jobs.finding import Check, Claim, Finding, Json
from worker.jobs.windows import LEVEL, TwoWindows, interval_json, number, ratio
from worker.leads import Leads
from worker.statistics import FloatArray, IntArray
from worker.statistics.shares import (
    DirichletPrior,
    estimate_shares,
    fit_dirichlet_prior,
    probability_halves_agree,
    total_variation,
)
from worker.vocabulary import TONE_UNKNOWN, TONES

NAME = "tone_distribution"
EVENT_TYPE = "tone_distribution"
TITLE = "in which tones do leads write?"
LOOK_BACK_DAYS: int | None = 60
SCHEDULE = "03:20"

DISTANCE = 0.10  # radius of the claimed ball, total variation
HALF_DISTANCE = 0.25  # of the check: two halves of a small client's leads differ more than either does from the truth
DEFAULT_CONCENTRATION = 20.0  # how alike clients are before any are seen


def fit(leads: Leads, as_of: datetime) -> Mapping[str, Json]:
    """Learn the pool's mix of tones and how alike clients are."""
    two = TwoWindows.of(leads, as_of)
    tone = leads.tone.latest_before(two.windows.end, len(leads), TONE_UNKNOWN).astype(np.int64)
    prior = fit_dirichlet_prior(leads.counts(tone, len(TONES), two.current), DEFAULT_CONCENTRATION)
    return {"tones": list(TONES), "alpha": prior.alpha.tolist()}


def analyse(leads: Leads, model: Mapping[str, Json], as_of: datetime, rng: np.random.Generator) -> list[Finding]:
    """Write one finding for each client with a lead in the current window."""
    two = TwoWindows.of(leads, as_of)
    k = len(TONES)
    prior = DirichletPrior(np.array(model["alpha"]))
    tone = leads.tone.latest_before(two.windows.end, len(leads), TONE_UNKNOWN).astype(np.int64)
    tone_before = leads.tone.latest_before(two.windows.middle, len(leads), TONE_UNKNOWN).astype(np.int64)
    counts = leads.counts(tone, k, two.current)
    counts_before = leads.counts(tone_before, k, two.previous)
    posterior = estimate_shares(counts, prior, DISTANCE, LEVEL, rng)
    before = (counts_before + prior.alpha) / (counts_before.sum(axis=1) + prior.alpha.sum())[:, None]
    shift = total_variation(posterior.estimate, before)
    other = leads.half()
    half, fresh = leads.counts(tone, k, two.current & ~other), leads.counts(tone, k, two.current & other)
    n_fresh = fresh.sum(axis=1)
    agree = probability_halves_agree(half + prior.alpha, n_fresh, HALF_DISTANCE, rng)
    n, n_previous = leads.per_client(two.current), leads.per_client(two.previous)
    known, known_before = counts.sum(axis=1), counts_before.sum(axis=1)
    raw, raw_before = ratio(counts, known[:, None]), ratio(counts_before, known_before[:, None])
    findings = []
    for c in np.flatnonzero(n > 0).tolist():
        content = {
            "counts": {**_by_tone(counts[c], int), "unknown": int(n[c] - known[c])},
            "distribution": _by_tone(raw[c], number),
            "estimate": _by_tone(posterior.estimate[c], _share),
            "dominant_tone": TONES[posterior.largest[c]] if known[c] else None,
            "dominant_tone_probability": float(posterior.largest_probability[c]) if known[c] else None,
            "intervals": {
                name: interval_json(_share(posterior.low[c, i]), _share(posterior.high[c, i]))
                for i, name in enumerate(TONES)
            },
            "previous": {
                "n": int(known_before[c]),
                "distribution": _by_tone(raw_before[c], number),
                "estimate": _by_tone(before[c], _share) if known_before[c] else dict.fromkeys(TONES),
            },
            "shift": float(shift[c]) if known[c] and known_before[c] else None,
        }
        claim = Claim(
            "within_distance",
            float(posterior.within[c]),
            f"The true shares of tones lie within a total variation distance of {DISTANCE:.2f} of the estimate.",
            {"distance": DISTANCE},
        )
        p = number(agree[c]) if n_fresh[c] else None
        check = Check("split_half", as_of, p, {"distance": HALF_DISTANCE})
        findings.append(Finding(leads.clients.ids[c], EVENT_TYPE, content, claim, check, int(n[c]), int(n_previous[c])))
    return findings


def _by_tone(values: FloatArray | IntArray, plain: Callable[[Any], Json]) -> dict[str, Json]:
    return {name: plain(values[i]) for i, name in enumerate(TONES)}


def _share(value: float) -> float:
    """Round an estimated share where nobody can tell the difference: 1e-300 says no more than 0."""
    return round(float(value), 15)
