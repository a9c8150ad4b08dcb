"""What lies behind the rows of a company world: true rates by client, and what happens to each lead and when."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from worker.simulate.changes import BASE_HIGH_SHARE, WINDOW_DAYS, ChangeKind, move_share
from worker.simulate.habits import (
    CONVERSION_SCALE,
    CONVERSION_SHAPE,
    ENGAGED_DAYS,
    EXIT_RATE,
    EXIT_SCALE,
    EXIT_SHAPE,
    EXIT_SHARES,
    EXITS,
    OUTCOME_RATE,
    REPEAT_RATE,
    REPEAT_SCALE,
    REVERSION_RATE,
    REVERSION_SCALE,
    SOURCE_BASE,
    SOURCE_CONVERSION,
    SOURCES,
    TEST_LEAD_RATE,
    TONE_BASE,
    TONE_FAMILIES,
    TOUCH_SCALE,
    URGENCY_CONVERSION,
    WEEKDAY_FACTORS,
)
from worker.simulate.plans import PlantedChange
from worker.simulate.single_leads import (
    DUPLICATE_RATE,
    draw_days_since_first,
    draw_together,
    first_of,
    form_groups,
)
from worker.statistics import BoolArray, FloatArray, IntArray

DAYS_EDGE = 3.0 / 86400.0  # leads of a burst or their copies arrive three seconds or more before their day ends


@dataclass(frozen=True, slots=True)
class Rates:
    """True parameters per client; the axis of length 2 is (until the current window, from it on)."""

    leads_per_day: FloatArray  # (clients, 2)
    urgency: FloatArray  # (clients, 2, 3) shares of High, Medium, Low
    tone: FloatArray  # (clients, 2, tones)
    source: FloatArray  # (clients, 2, sources)
    confidence: FloatArray  # (clients, 2) means
    touched: FloatArray  # (clients, 2)
    conversion: FloatArray  # (clients, 2) share who ever convert, for a Medium lead of organic search
    french: BoolArray  # (clients,)


@dataclass(frozen=True, slots=True)
class Latent:
    """One entry a lead: what it is and when things happen to it, in days after arrival (inf: never)."""

    client: IntArray
    epoch: IntArray
    arrival: FloatArray  # days before as_of, positive
    urgency: IntArray
    tone: IntArray
    source: IntArray
    ever: FloatArray  # the lead's own probability of ever converting
    touch: FloatArray
    repeat: FloatArray
    conversion: FloatArray
    exit: FloatArray
    exit_kind: IntArray
    by_outcome: BoolArray  # a sale or a loss is recorded as outcome_status, not as a tag
    reversion: FloatArray  # days after the conversion
    is_test: BoolArray
    origin: IntArray  # the lead whose content it repeats: itself, or the one recorded first


def draw_rates(
    rng: np.random.Generator, n_clients: int, plan: Mapping[int, PlantedChange], leads_per_window: float
) -> Rates:
    """Draw the clients' rates, and plant in them what the plan says."""
    volume = np.minimum(1.0 + rng.pareto(1.3, n_clients), 15.0)
    volume *= leads_per_window / volume.mean()
    high = np.repeat(rng.beta(*BASE_HIGH_SHARE, n_clients)[:, None], 2, axis=1)
    medium_part = rng.beta(12.0, 8.0, n_clients)
    tone = np.repeat(rng.dirichlet(14.0 * TONE_BASE, n_clients)[:, None, :], 2, axis=1)
    source = np.repeat(rng.dirichlet(12.0 * SOURCE_BASE, n_clients)[:, None, :], 2, axis=1)
    confidence = np.repeat(rng.beta(28.0, 12.0, n_clients)[:, None], 2, axis=1)
    touched = np.repeat(rng.beta(6.0, 4.0, n_clients)[:, None], 2, axis=1)
    conversion = np.repeat(rng.beta(6.0, 22.0, n_clients)[:, None], 2, axis=1)
    factor = np.ones((n_clients, 2))
    for i, change in plan.items():
        if change.leads_per_window is not None:
            volume[i] = change.leads_per_window
        if change.high_share is not None:
            high[i] = change.high_share
        if change.tone is not None:
            tone[i] = _planted_shares(tone[i], TONE_FAMILIES, *change.tone)
        if change.source is not None:
            source[i] = _planted_shares(source[i], SOURCES, *change.source)
        if change.touched is not None:
            touched[i] = change.touched
        confidence[i, 1] = np.clip(confidence[i, 0] + change.confidence, 0.02, 0.98)
        conversion[i, 1] *= change.conversion
        factor[i, 1] = change.volume
    urgency = np.stack([high, (1 - high) * medium_part[:, None], (1 - high) * (1 - medium_part[:, None])], axis=2)
    french = np.arange(n_clients) % 5 % 2 == 1  # two in five, wherever the client stands in the plan
    per_day = volume[:, None] * factor / WINDOW_DAYS
    return Rates(per_day, urgency, tone, source, confidence, touched, np.minimum(conversion, 0.6), french)


def _planted_shares(shares: FloatArray, names: tuple[str, ...], name: str, gain: float) -> FloatArray:
    if name not in names:
        raise ValueError(f"{name!r} is none of {', '.join(names)}")
    changed = shares.copy()
    changed[1:] = move_share(shares[1:], np.array([names.index(name)]), np.array([gain]))
    return changed


def draw_leads(
    rng: np.random.Generator,
    rates: Rates,
    as_of: datetime,
    days: int,
    kind: ChangeKind,
    *,
    burst_correlation: float,
    mean_burst: float,
) -> Latent:
    """
    Draw the leads of all days, and when each is touched, comes back, converts or leaves.

    In the kind bursts leads come in bursts that mostly share urgency and tone; in the kind duplicates some are recorded
    a second time. As many leads are expected as in other kinds, and what becomes of a lead is its own affair.
    """
    # Day d of the world is the 24 hours that begin (days - d) days before as_of.
    before = np.arange(days, 0, -1)
    weekday = np.array([(as_of - timedelta(days=int(d))).weekday() for d in before], dtype=np.int64)
    epoch_of_day = (before <= WINDOW_DAYS).astype(np.int64)
    expected = rates.leads_per_day[:, epoch_of_day] * WEEKDAY_FACTORS[weekday]
    size = {"bursts": mean_burst, "duplicates": 1.0 + DUPLICATE_RATE}.get(kind, 1.0)
    cell, group = form_groups(kind, rng.poisson(expected / size), rng, mean_burst=mean_burst)
    client, day, n = cell // days, cell % days, len(cell)
    hour = np.where(rng.random(n) < 0.85, rng.normal(13.5, 3.0, n), rng.uniform(0.0, 24.0, n)) % 24.0
    midnight = as_of.replace(hour=0, minute=0, second=0, microsecond=0)
    within_day = (hour / 24.0 - (as_of - midnight) / timedelta(days=1)) % 1.0
    arrival = before[day].astype(np.float64) - np.minimum(within_day, 1.0 - 1e-4)
    epoch = epoch_of_day[day]
    origin: IntArray = np.arange(n)
    if kind in ("bursts", "duplicates"):
        first = first_of(group)
        origin = first if kind == "duplicates" else origin
        # A day keeps its leads, lest the last of a burst arrive after as_of or change sides.
        arrival = np.maximum(arrival[first] - draw_days_since_first(first, rng), before[day] - 1.0 + DAYS_EDGE)

    def draw_said(shares: FloatArray) -> IntArray:
        return draw_together(
            kind, group, lambda: draw_level(rng, shares[client, epoch]), rng, correlation=burst_correlation
        )

    urgency = draw_said(rates.urgency)
    source = draw_level(rng, rates.source[client, epoch])[origin]
    ever = np.minimum(rates.conversion[client, epoch] * URGENCY_CONVERSION[urgency] * SOURCE_CONVERSION[source], 0.9)
    conversion = np.where(rng.random(n) < ever, CONVERSION_SCALE * rng.weibull(CONVERSION_SHAPE, n), np.inf)
    leaving = np.where(rng.random(n) < EXIT_RATE, EXIT_SCALE * rng.weibull(EXIT_SHAPE, n), np.inf)
    soon = -TOUCH_SCALE * np.log1p(-rng.random(n) * -np.expm1(-ENGAGED_DAYS / TOUCH_SCALE))
    by_outcome = rng.random(n) < OUTCOME_RATE
    reverts = (rng.random(n) < REVERSION_RATE) & ~by_outcome
    late = np.where(rng.random(n) < 0.5, ENGAGED_DAYS + rng.exponential(10.0, n), np.inf)
    return Latent(
        client=client,
        epoch=epoch,
        arrival=arrival,
        urgency=urgency,
        tone=draw_said(rates.tone),
        source=source,
        ever=ever,
        touch=np.where(rng.random(n) < rates.touched[client, epoch], soon, late),
        repeat=np.where(rng.random(n) < REPEAT_RATE, rng.exponential(REPEAT_SCALE, n), np.inf),
        conversion=conversion,
        exit=leaving,
        exit_kind=rng.choice(len(EXITS), n, p=EXIT_SHARES),
        by_outcome=by_outcome,
        reversion=np.where(reverts, rng.exponential(REVERSION_SCALE, n), np.inf),
        is_test=(rng.random(n) < TEST_LEAD_RATE)[origin],
        origin=origin,
    )


def draw_level(rng: np.random.Generator, shares: FloatArray) -> IntArray:
    """Draw one level per row of shares, shape (n, levels)."""
    below = np.cumsum(shares, axis=1)[:, :-1]  # the last bound is 1 but for rounding
    return np.asarray((rng.random(len(shares))[:, None] >= below).sum(axis=1), dtype=np.int64)
