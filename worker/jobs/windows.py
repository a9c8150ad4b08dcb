"""What the window analyses share: two windows of leads, weekly points, the pieces of a snapshot."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from worker.leads import DAY, Leads, Windows, from_microseconds
from worker.statistics import BoolArray, FloatArray, IntArray
from worker.statistics.dependence import estimate_serial_correlation

LEVEL = 0.80  # coverage that every interval aims for
N_WEEKS = 8
ENOUGH_LEADS = 50_000  # to learn how alike neighbours are to within a hundredth
PERIOD = "last_30_days"


@dataclass(frozen=True, slots=True)
class TwoWindows:
    """The leads of both windows: those that arrived in them and were not deleted when the window ended."""

    windows: Windows
    current: BoolArray
    previous: BoolArray
    both: BoolArray  # arrived in either and not deleted by as_of: the leads of the weekly points

    @classmethod
    def of(cls, leads: Leads, as_of: datetime) -> "TwoWindows":
        """Find the leads of the two windows before as_of."""
        return cls.within(leads, Windows.before(as_of))

    @classmethod
    def within(cls, leads: Leads, w: Windows) -> "TwoWindows":
        """Find the leads of two given windows, each as it stood at its own end."""
        there_now, there_then = ~leads.deleted_at(w.end), ~leads.deleted_at(w.middle)
        return cls(
            w,
            leads.arrived(w.middle, w.end) & there_now,
            leads.arrived(w.start, w.middle) & there_then,
            leads.arrived(w.start, w.end) & there_now,
        )


@dataclass(frozen=True, slots=True)
class Period:
    """Two neighbouring windows and the leads that arrived in them, the others cut off."""

    leads: Leads
    two: TwoWindows
    ago: int  # so many windows before the present one


def every_window_once(found: Sequence[Period]) -> list[Period]:
    """Keep the periods that share no window with another: those an even number of windows ago."""
    return [period for period in found if period.ago % 2 == 0]


def periods(leads: Leads, as_of: datetime, past: int = 0) -> list[Period]:
    """
    Cut out the two windows before as_of, then those as they lay one window ago, two, ... `past`.

    Each window is as it stood at its own end; neighbouring periods share one. Past periods that lack leads in either
    window are left out, the present one never.
    """
    now, result = Windows.before(as_of), []
    for ago in range(past + 1):
        w = now.earlier(ago)
        part = leads.only(leads.arrived(w.start, w.end))
        two = TwoWindows.within(part, w)
        if ago == 0 or (two.current.any() and two.previous.any()):
            result.append(Period(part, two, ago))
    return result


def serial_correlation(windows: Iterable[tuple[Leads, BoolArray, FloatArray]], *, of_half: bool = False) -> FloatArray:
    """
    Learn how alike leads are that follow one another, over all clients (worker/statistics/dependence.py).

    windows : for each window some leads, which of them arrived in it, shape (leads,), and their values as known at its
        end, shape (leads, parts); leads with a value that is not finite are left out. Latest first: once there are
        ENOUGH_LEADS the older ones are not asked for.
    of_half : look at the half of the leads that checks start from, and not at all: neighbours there are seldom
        neighbours in the whole.
    """
    values, cells, n_leads = [], [], 0
    for count, (leads, mask, known) in enumerate(windows):
        looked_at = mask & ~leads.half() if of_half else mask
        used = np.flatnonzero(looked_at & np.isfinite(known).all(axis=1))
        if len(used):
            # client and arrival in one number, which sorts several times as fast as two; a window is less than 2^42 us
            since = leads.arrival[used] - leads.arrival[used].min()
            used = used[np.argsort((leads.client[used] << 42) + since, kind="stable")]
        values.append(known[used])
        cells.append(leads.client[used] + count * len(leads.clients))
        n_leads += len(used)
        if n_leads >= ENOUGH_LEADS:
            break
    return estimate_serial_correlation(np.concatenate(values), np.concatenate(cells))


def interval_json(low: float, high: float) -> dict[str, float]:
    """Write an interval as every snapshot does."""
    return {"level": LEVEL, "low": float(low), "high": float(high)}


def number(value: float) -> float | None:
    """Turn NaN, "we do not know", into null."""
    return None if not np.isfinite(value) else float(value)


def numbers(values: FloatArray) -> list[Any]:
    """Turn an array into lists, NaN into null."""
    plain = values.astype(object)
    plain[~np.isfinite(values)] = None
    result: list[Any] = plain.tolist()
    return result


def ratio(part: IntArray | FloatArray, whole: IntArray | FloatArray) -> FloatArray:
    """Divide, NaN where there is nothing to divide by."""
    return np.where(whole > 0, part / np.maximum(whole, 1e-300), np.nan)


def week_of(leads: Leads, end: int) -> IntArray:
    """Number the 7-day weeks counted back from end: N_WEEKS - 1 is the newest, -1 is outside."""
    weeks_ago = (end - 1 - leads.arrival) // (7 * DAY)
    inside = (leads.arrival < end) & (weeks_ago >= 0) & (weeks_ago < N_WEEKS)
    return np.where(inside, N_WEEKS - 1 - weeks_ago, -1)


def week_dates(as_of: datetime, end: int) -> list[str]:
    """
    Give the last local day of each week, oldest first: seven days apart, also where clocks were changed since.

    A week is seven times 24 hours, so that one before the change ends an hour into the day after, or short of its end.
    """
    last_day = from_microseconds(end - 1).astimezone(as_of.tzinfo).date()
    return [(last_day - timedelta(weeks=ago)).isoformat() for ago in reversed(range(N_WEEKS))]


def weekly_counts(leads: Leads, codes: IntArray, n_codes: int, mask: BoolArray, end: int) -> IntArray:
    """Count codes by client and week, shape (clients, weeks, codes)."""
    week = week_of(leads, end)
    used = mask & (week >= 0) & (codes >= 0)
    n = len(leads.clients)
    flat = (leads.client[used] * N_WEEKS + week[used]) * n_codes + codes[used]
    return np.bincount(flat, minlength=n * N_WEEKS * n_codes).reshape(n, N_WEEKS, n_codes)


def level_names(mean: FloatArray) -> list[Any]:
    """Name the urgency levels nearest to means of High 3, Medium 2, Low 1; halves go up. Lists as the array's."""
    places = np.where(np.isfinite(mean), np.floor(mean + 0.5), 0).astype(np.int64)
    names: list[Any] = np.array([None, "Low", "Medium", "High"], dtype=object)[places].tolist()
    return names
