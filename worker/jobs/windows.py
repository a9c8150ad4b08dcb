"""What the window analyses share: two windows of leads, weekly points, names by frequency, the pieces of a snapshot."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from worker.leads import DAY, DELETED, Leads, Windows, from_microseconds
from worker.statistics import BoolArray, FloatArray, IntArray

LEVEL = 0.80  # coverage that every interval aims for
N_WEEKS = 8
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
        w = Windows.before(as_of)
        there_now = leads.state_at(w.end) != DELETED
        there_then = leads.state_at(w.middle) != DELETED
        return cls(
            w,
            leads.arrived(w.middle, w.end) & there_now,
            leads.arrived(w.start, w.middle) & there_then,
            leads.arrived(w.start, w.end) & there_now,
        )


def interval_json(low: float, high: float) -> dict[str, float]:
    """Write an interval as every snapshot does."""
    return {"level": LEVEL, "low": float(low), "high": float(high)}


def number(value: float) -> float | None:
    """Turn NaN, "we do not know", into null."""
    return None if not np.isfinite(value) else float(value)


def ratio(part: IntArray | FloatArray, whole: IntArray | FloatArray) -> FloatArray:
    """Divide, NaN where there is nothing to divide by."""
    return np.where(whole > 0, part / np.maximum(whole, 1e-300), np.nan)


def week_of(leads: Leads, end: int) -> IntArray:
    """Number the 7-day weeks counted back from end: N_WEEKS - 1 is the newest, -1 is outside."""
    weeks_ago = (end - 1 - leads.arrival) // (7 * DAY)
    inside = (leads.arrival < end) & (weeks_ago >= 0) & (weeks_ago < N_WEEKS)
    return np.where(inside, N_WEEKS - 1 - weeks_ago, -1)


def week_dates(as_of: datetime, end: int) -> list[str]:
    """Give the last local day of each week, oldest first."""
    last_instants = [from_microseconds(end - 7 * DAY * (N_WEEKS - 1 - week) - 1) for week in range(N_WEEKS)]
    return [instant.astimezone(as_of.tzinfo).date().isoformat() for instant in last_instants]


def weekly_counts(leads: Leads, codes: IntArray, n_codes: int, mask: BoolArray, end: int) -> IntArray:
    """Count codes by client and week, shape (clients, weeks, codes)."""
    week = week_of(leads, end)
    used = mask & (week >= 0) & (codes >= 0)
    n = len(leads.clients)
    flat = (leads.client[used] * N_WEEKS + week[used]) * n_codes + codes[used]
    return np.bincount(flat, minlength=n * N_WEEKS * n_codes).reshape(n, N_WEEKS, n_codes)


def top_names(leads: Leads, codes: IntArray, names: Sequence[str], mask: BoolArray, limit: int) -> list[list[str]]:
    """List each client's most frequent names, most frequent first, ties by name."""
    result: list[list[str]] = [[] for _ in range(len(leads.clients))]
    used = mask & (codes >= 0)
    if not used.any():
        return result
    pairs, counts = np.unique(leads.client[used] * len(names) + codes[used], return_counts=True)
    client, code = pairs // len(names), pairs % len(names)
    # names are sorted, so the code breaks ties by name
    for i in np.lexsort((code, -counts, client)):
        if len(result[client[i]]) < limit:
            result[client[i]].append(names[code[i]])
    return result


def local_day(as_of: datetime) -> str:
    """Give the period: the local day of the last instant before as_of, in as_of's own time zone."""
    return (as_of - timedelta(microseconds=1)).date().isoformat()


def level_name(mean: float) -> str | None:
    """Name the urgency level nearest to a mean of High 3, Medium 2, Low 1; halves go up."""
    return None if not np.isfinite(mean) else {1: "Low", 2: "Medium", 3: "High"}[int(np.floor(mean + 0.5))]
