"""
tone_distribution: in which tones do a client's leads write, and how well is that known?

Meaning. Tones are counted by family (both languages folded, worker/vocabulary.py) among the leads that arrived in the
30 days before as_of. `distribution` holds the raw shares of the known tones; `estimate` the same drawn to the mix of
all clients by as much as they are uncertain; `shift` how far the estimate lies from that of the window before, in total
variation distance (half the sum of the absolute differences: the part of the leads that would have to write otherwise).

Formula. A client's true shares are Dirichlet around the pool's mix, with a concentration that is itself log-normal over
clients and learned from them; counts are multinomial, so `estimate` is the posterior mean, over concentrations as well.
Leads that resemble their neighbours in time (bursts, one lead sent twice) count for less: counts are divided by a
design effect learned over clients. The claim: the true shares lie within a total variation distance of 0.10 of
`estimate`; its confidence is the posterior mass of that ball, by 512 seeded draws. It is small for small clients, and
is meant to be: fifteen shares are not known from twenty leads. `intervals` hold 80% of each share's posterior.

Check. One half of the leads says how probably the other half's raw shares lie within 0.25 of what it lets expect.

Source. Dirichlet-multinomial shrinkage: worker/statistics/shares.py, where each step has its reference. Design effect:
worker/statistics/dependence.py.

Limits. Tones are what the application stored, in free text; what no rule knows is Other, or unknown. A lead counts
once, whatever its length, with the last tone known at the window's end. The design effect is one for all clients. The
claim speaks of the shares now; that they changed is for pattern_detection to say.
"""

from collections.abc import Mapping
from datetime import datetime

import numpy as np

from worker.jobs.finding import Check, Claim, Finding, HalfChecks, Json
from worker.jobs.measures import Measures
from worker.jobs.windows import LEVEL, TwoWindows, number, ratio
from worker.leads import Leads
from worker.sample import LEARN_CLIENTS
from worker.statistics import BoolArray, FloatArray, IntArray
from worker.statistics.dependence import design_effect, estimate_serial_correlation, sample_of_neighbours
from worker.statistics.shares import (
    SharesPrior,
    estimate_shares,
    expected_shares,
    fit_shares_prior,
    probability_halves_agree,
    total_variation,
)
from worker.vocabulary import TONE_UNKNOWN, TONES

NAME = "tone_distribution"
EVENT_TYPE = "tone_distribution"
TITLE = "in which tones do leads write?"
LOOK_BACK_DAYS: int | None = 60
READS = ("tone",)
LEARNS_FROM_SAMPLE = LEARN_CLIENTS

DISTANCE = 0.10  # radius of the claimed ball, total variation
HALF_DISTANCE = 0.25  # of the check: two halves of a small client's leads differ more than either does from the truth
DEFAULT_CONCENTRATION = 12.0  # how alike clients are before any are seen
KINDS = len(TONES)
ENOUGH_LEADS = 20_000  # tell how neighbours resemble each other, to .005; all would be slow
SHARE_DIGITS, INTERVAL_DIGITS = 15, 7  # beyond them nobody can tell the difference: 1e-300 says no more than 0


def _codes(leads: Leads, instant: int) -> IntArray:
    return leads.tone.latest_before(instant, len(leads), TONE_UNKNOWN).astype(np.int64)


def fit(leads: Leads, as_of: datetime) -> Mapping[str, Json]:
    """
    Learn the pool's mix of tones, how alike clients are, and how much leads resemble their neighbours in time.

    That likeness is learned from all leads, for the claim, and from one half of them alone, for its check: in a half,
    neighbours of the whole are seldom neighbours.
    """
    two = TwoWindows.of(leads, as_of)
    tone, tone_before = _codes(leads, two.windows.end), _codes(leads, two.windows.middle)
    half = ~leads.half()
    correlation = _serial_correlation(leads, two, tone, tone_before, np.ones(len(leads), dtype=np.bool_))
    of_half = _serial_correlation(leads, two, tone, tone_before, half)
    counts = leads.counts(tone, KINDS, two.current)
    prior = fit_shares_prior(_effective(counts, correlation), DEFAULT_CONCENTRATION)
    return {
        "tones": list(TONES),
        **prior.as_json(),
        "serial_correlation": correlation.tolist(),
        "serial_correlation_of_half": of_half.tolist(),
    }


def _serial_correlation(
    leads: Leads, two: TwoWindows, tone: IntArray, tone_before: IntArray, among: BoolArray
) -> FloatArray:
    """Estimate how alike the tones of neighbours are, in both windows, each lead's as known at its window's end."""
    now = np.flatnonzero(two.current & among & (tone >= 0))
    then = np.flatnonzero(two.previous & among & (tone_before >= 0))
    lead, code = np.concatenate([then, now]), np.concatenate([tone_before[then], tone[now]])
    cell = 2 * leads.client[lead] + np.repeat([0, 1], [len(then), len(now)])
    order = np.lexsort((leads.arrival[lead], cell))
    order = order[sample_of_neighbours(cell[order], ENOUGH_LEADS)]
    return estimate_serial_correlation(np.eye(KINDS)[code[order]], cell[order])


def _effective(counts: IntArray, correlation: FloatArray) -> FloatArray:
    """Count as many independent leads as say as much."""
    effective: FloatArray = counts / design_effect(counts.sum(axis=1), correlation)[:, None]
    return effective


def half_checks(leads: Leads, model: Mapping[str, Json], as_of: datetime, rng: np.random.Generator) -> HalfChecks:
    """
    Say from one half of each client's leads how the other half's tones look, and whether they do.

    They agree where the other half's raw shares lie within HALF_DISTANCE of what the first half lets expect.
    """
    measured = measure(leads, model, as_of, rng)
    there = np.flatnonzero(measured["n"] > 0)
    p, agreed = _half_check(measured, there, model, rng)
    return HalfChecks(there, p, agreed, ("",) * len(there))


def _half_check(
    measured: Measures, there: IntArray, model: Mapping[str, Json], rng: np.random.Generator
) -> tuple[FloatArray, BoolArray]:
    """Give of some clients the probability that the halves agree, NaN where the other has no lead, and whether so."""
    fresh = measured["other"][there]
    seen = measured["current"][there] - fresh
    n, n_fresh = seen.sum(axis=1), fresh.sum(axis=1)
    effect = design_effect(n, np.array(model["serial_correlation_of_half"]))
    excess = (effect - 1) / np.maximum(n, 1)
    expected, agree = probability_halves_agree(
        seen, SharesPrior.from_json(model), n_fresh, excess=excess, distance=HALF_DISTANCE, rng=rng
    )
    agreed = total_variation(fresh / np.maximum(n_fresh, 1)[:, None], expected) <= HALF_DISTANCE
    return np.where(n_fresh > 0, agree, np.nan), agreed


def measure(leads: Leads, model: Mapping[str, Json], as_of: datetime, rng: np.random.Generator) -> Measures:
    """Count the tones of both windows' leads, and of one half of the current one's."""
    del model, rng  # sums depend on neither
    two = TwoWindows.of(leads, as_of)
    tone = _codes(leads, two.windows.end)
    return Measures(
        leads.clients,
        {
            "n": leads.per_client(two.current),
            "n_previous": leads.per_client(two.previous),
            "current": leads.counts(tone, KINDS, two.current),
            "previous": leads.counts(_codes(leads, two.windows.middle), KINDS, two.previous),
            "other": leads.counts(tone, KINDS, two.current & leads.half()),
        },
    )


def analyse(
    leads: Leads | Measures, model: Mapping[str, Json], as_of: datetime, rng: np.random.Generator
) -> list[Finding]:
    """Write one finding for each client with a lead in the current window; leads: or what measure gives of them."""
    measured = leads if isinstance(leads, Measures) else measure(leads, model, as_of, rng)
    prior, correlation = SharesPrior.from_json(model), np.array(model["serial_correlation"])
    n, n_previous = measured["n"], measured["n_previous"]
    there = np.flatnonzero(n > 0)
    counts, counts_before = measured["current"][there], measured["previous"][there]
    posterior = estimate_shares(_effective(counts, correlation), prior, DISTANCE, LEVEL, rng)
    before = expected_shares(_effective(counts_before, correlation), prior)
    shift = total_variation(posterior.estimate, before)
    check_p, _ = _half_check(measured, there, model, rng)
    known, known_before = counts.sum(axis=1), counts_before.sum(axis=1)
    raw, raw_before = ratio(counts, known[:, None]).tolist(), ratio(counts_before, known_before[:, None]).tolist()
    estimate, estimate_before = np.round([posterior.estimate, before], SHARE_DIGITS).tolist()
    low, high = np.round([posterior.low, posterior.high], INTERVAL_DIGITS).tolist()
    nothing = dict.fromkeys(TONES)
    by_tone = counts.tolist()
    findings = []
    for i, c in enumerate(there.tolist()):
        some, some_before = bool(known[i]), bool(known_before[i])
        content = {
            "counts": {**dict(zip(TONES, by_tone[i], strict=True)), "unknown": int(n[c] - known[i])},
            "distribution": dict(zip(TONES, raw[i], strict=True)) if some else dict(nothing),
            "estimate": dict(zip(TONES, estimate[i], strict=True)),
            "dominant_tone": TONES[posterior.largest[i]] if some else None,
            "dominant_tone_probability": float(posterior.largest_probability[i]) if some else None,
            "intervals": {
                name: {"level": LEVEL, "low": ends[0], "high": ends[1]}
                for name, *ends in zip(TONES, low[i], high[i], strict=True)
            },
            "previous": {
                "n": int(known_before[i]),
                "distribution": dict(zip(TONES, raw_before[i], strict=True)) if some_before else dict(nothing),
                "estimate": dict(zip(TONES, estimate_before[i], strict=True)) if some_before else dict(nothing),
            },
            "shift": float(shift[i]) if some and some_before else None,
        }
        claim = Claim(
            "within_distance",
            float(posterior.within[i]),
            f"The true shares of tones lie within a total variation distance of {DISTANCE:.2f} of the estimate.",
            {"distance": DISTANCE},
        )
        check = Check("split_half", as_of, number(check_p[i]), {"distance": HALF_DISTANCE})
        findings.append(
            Finding(measured.clients.ids[c], EVENT_TYPE, content, claim, check, int(n[c]), int(n_previous[c]))
        )
    return findings
