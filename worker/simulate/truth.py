"""What is true of each client of a company world, whatever its leads happen to show."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np

from worker.simulate.changes import SCORE_DEAD_BAND, SHARE_DEAD_BAND, WINDOW_DAYS, Trend, trend_word
from worker.simulate.habits import (
    CONVERSION_SCALE,
    CONVERSION_SHAPE,
    ENGAGED_DAYS,
    EXIT_RATE,
    EXIT_SCALE,
    EXIT_SHAPE,
    REPEAT_RATE,
    REPEAT_SCALE,
    SCORE_WEIGHTS,
    SOURCE_CONVERSION,
    SOURCES,
    TONE_FAMILIES,
    TOUCH_SCALE,
    UNKNOWN_CONFIDENCE,
    UNKNOWN_URGENCY,
    URGENCY_CONVERSION,
)
from worker.simulate.latent import Latent, Rates
from worker.simulate.plans import PlantedChange
from worker.simulate.rows import ClientRow
from worker.statistics import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Truth:
    """
    What is true of one client at the world's as_of, whatever its leads happen to show.

    Scores are expectations of the engagement score over leads (accurate to about a tenth of a point); conversions
    are those of the leads open at as_of within the next 30 days: expected given what is planted, and as drawn.
    """

    client_id: str
    business_name: str
    as_of: datetime
    planted: str
    urgency_class: Trend
    high_share_previous: float
    high_share_current: float
    tone_shares_previous: Mapping[str, float]
    tone_shares: Mapping[str, float]
    source_shares_previous: Mapping[str, float]
    source_shares: Mapping[str, float]
    score_class: Trend
    score_previous: float
    score_current: float
    leads_expected_previous: float
    leads_expected_current: float
    open_leads: int
    conversions_expected: float
    conversions_drawn: int

    def facts(self) -> dict[str, Any]:
        """Return the truth as plain JSON values, shares rounded to four places."""
        plain = asdict(self)
        plain["as_of"] = self.as_of.isoformat()
        for name, value in plain.items():
            if isinstance(value, float):
                plain[name] = round(value, 4)
            elif isinstance(value, dict):
                plain[name] = {key: round(share, 4) for key, share in value.items()}
        return plain


def truths(
    clients: list[ClientRow], plan: Mapping[int, PlantedChange], rates: Rates, latent: Latent, as_of: datetime
) -> dict[str, Truth]:
    """Gather what is true of each client, by its public id."""
    scores = _expected_scores(rates)
    open_leads, expected, drawn = _next_conversions(latent, len(clients))
    truths: dict[str, Truth] = {}
    for i, client in enumerate(clients):
        high = rates.urgency[i, :, 0]
        truths[client.client_id] = Truth(
            client_id=client.client_id,
            business_name=client.business_name,
            as_of=as_of,
            planted=_as_it_came(plan[i], rates, i).describe() if i in plan else "nothing changes",
            urgency_class=trend_word(high[1] - high[0], SHARE_DEAD_BAND),
            high_share_previous=float(high[0]),
            high_share_current=float(high[1]),
            tone_shares_previous=dict(zip(TONE_FAMILIES, rates.tone[i, 0].tolist(), strict=True)),
            tone_shares=dict(zip(TONE_FAMILIES, rates.tone[i, 1].tolist(), strict=True)),
            source_shares_previous=dict(zip(SOURCES, rates.source[i, 0].tolist(), strict=True)),
            source_shares=dict(zip(SOURCES, rates.source[i, 1].tolist(), strict=True)),
            score_class=trend_word(scores[i, 1] - scores[i, 0], SCORE_DEAD_BAND),
            score_previous=float(scores[i, 0]),
            score_current=float(scores[i, 1]),
            leads_expected_previous=float(rates.leads_per_day[i, 0] * WINDOW_DAYS),
            leads_expected_current=float(rates.leads_per_day[i, 1] * WINDOW_DAYS),
            open_leads=int(open_leads[i]),
            conversions_expected=float(expected[i]),
            conversions_drawn=int(drawn[i]),
        )
    return truths


def _as_it_came(change: PlantedChange, rates: Rates, client: int) -> PlantedChange:
    """Give the change with what its tone really gained: none can lose more than it has."""
    if change.tone is None:
        return change
    family = TONE_FAMILIES.index(change.tone[0])
    gain = float(rates.tone[client, 1, family] - rates.tone[client, 0, family])
    return replace(change, tone=(change.tone[0], gain))


def weibull_cdf(days: FloatArray, shape: float, scale: float) -> FloatArray:
    """Return the share of a Weibull delay that is over after so many days."""
    return np.asarray(-np.expm1(-((np.maximum(days, 0.0) / scale) ** shape)), dtype=np.float64)


def _expected_scores(rates: Rates) -> FloatArray:
    """
    Return the expected engagement score per client and epoch, shape (clients, 2).

    The mean over leads of 100 x (0.4 confidence + 0.3 urgency + 0.3 engaged), unknown parts left out and the weights
    rescaled; at the window's end a lead's age is uniform over 30 days, and one younger than 7 days shows its
    engagement only if already touched.
    """
    age = (np.arange(60) + 0.5) / 60.0 * WINDOW_DAYS
    t = np.minimum(age, ENGAGED_DAYS)
    ever = np.minimum(rates.conversion[:, :, None, None] * URGENCY_CONVERSION[:, None] * SOURCE_CONVERSION, 0.9)
    touched_by = np.expm1(-t / TOUCH_SCALE) / np.expm1(-ENGAGED_DAYS / TOUCH_SCALE)
    # Axes: client, epoch, urgency, source, age.
    untouched = (
        (1.0 - rates.touched[:, :, None, None, None] * touched_by)
        * (1.0 - ever[..., None] * weibull_cdf(t, CONVERSION_SHAPE, CONVERSION_SCALE))
        * (1.0 - EXIT_RATE * weibull_cdf(t, EXIT_SHAPE, EXIT_SCALE))
        * (1.0 + REPEAT_RATE * np.expm1(-t / REPEAT_SCALE))
    )
    weight = rates.urgency[:, :, :, None, None] * rates.source[:, :, None, :, None] * np.ones_like(t)
    level = np.array([1.0, 0.5, 0.0])[:, None, None]
    mean = rates.confidence[:, :, None, None, None]
    w_confidence, w_urgency, w_engaged = SCORE_WEIGHTS
    shown = np.where(age >= ENGAGED_DAYS, 1.0, 1.0 - untouched)  # probability that engagement is known
    value = np.where(age >= ENGAGED_DAYS, 1.0 - untouched, 1.0)  # its mean where known
    total, known = np.zeros_like(untouched), np.zeros_like(untouched)
    for has_confidence, p_confidence in ((1.0, 1.0 - UNKNOWN_CONFIDENCE), (0.0, UNKNOWN_CONFIDENCE)):
        for has_urgency, p_urgency in ((1.0, 1.0 - UNKNOWN_URGENCY), (0.0, UNKNOWN_URGENCY)):
            for has_engaged, p_engaged in ((1.0, shown), (0.0, 1.0 - shown)):
                weights = w_confidence * has_confidence + w_urgency * has_urgency + w_engaged * has_engaged
                if weights == 0.0:
                    continue
                points = (
                    w_confidence * has_confidence * mean
                    + w_urgency * has_urgency * level
                    + w_engaged * has_engaged * value
                ) / weights
                total += p_confidence * p_urgency * p_engaged * points
                known += p_confidence * p_urgency * p_engaged
    sums = [(weight * part).sum(axis=(2, 3, 4)) for part in (total, known)]
    return np.asarray(100.0 * sums[0] / sums[1], dtype=np.float64)


def _next_conversions(latent: Latent, n_clients: int) -> tuple[IntArray, FloatArray, IntArray]:
    """
    Count, per client, the open leads and their conversions in the next 30 days: expected, and as drawn.

    A lead of age a converts then with probability c (G(a + 30) - G(a)) / ((1 - c F(a)) S(a)), where F is the delay's
    distribution, S the survival of the competing exits, and G the integral of S dF.
    """
    age = latent.arrival
    # A reverted lead is open again, but nothing more happens to it: it counts, with probability 0.
    reverted = (latent.conversion + latent.reversion < age) & (latent.conversion < latent.exit)
    waiting = (np.minimum(latent.conversion, latent.exit) >= age) & ~latent.is_test
    grid = np.linspace(0.0, float(age.max(initial=1.0)) + WINDOW_DAYS, 8001)
    f = weibull_cdf(grid, CONVERSION_SHAPE, CONVERSION_SCALE)
    middle = (grid[1:] + grid[:-1]) / 2.0
    steps = np.diff(f) * (1.0 - EXIT_RATE * weibull_cdf(middle, EXIT_SHAPE, EXIT_SCALE))
    g = np.concatenate([[0.0], np.cumsum(steps)])
    c, a = latent.ever[waiting], age[waiting]
    still_there = (1.0 - c * weibull_cdf(a, CONVERSION_SHAPE, CONVERSION_SCALE)) * (
        1.0 - EXIT_RATE * weibull_cdf(a, EXIT_SHAPE, EXIT_SCALE)
    )
    p = c * (np.interp(a + WINDOW_DAYS, grid, g) - np.interp(a, grid, g)) / still_there
    will = (latent.conversion < latent.exit) & (latent.conversion < age + WINDOW_DAYS)
    open_leads = np.bincount(latent.client[waiting | (reverted & ~latent.is_test)], minlength=n_clients)
    expected = np.bincount(latent.client[waiting], p, n_clients)
    drawn = np.bincount(latent.client[waiting & will], minlength=n_clients)
    return open_leads.astype(np.int64), expected.astype(np.float64), drawn.astype(np.int64)
