"""
The figures of a review: how many claims, what was said, what was right, and how good that is, by event type.

All clients are added up at once; a client's bands have intervals as if its claims were independent of each other (they
share no lead), the pool's are widened by how alike one client's claims are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import betaincinv

from worker.jobs.windows import LEVEL, number
from worker.leads import from_microseconds
from worker.review.resolved import CONVERSION, EVERYONE, PENDING, REVIEW, SCORED, TYPES, VOID, Resolved, numbers
from worker.statistics import BoolArray, FloatArray, IntArray
from worker.statistics.calibration import LEVEL as BAND_LEVEL
from worker.statistics.calibration import N_BINS, Reliability, reliability

OVERALL = len(TYPES)  # the number under which all types are added up; reviews are claims about claims, and left out
LEAST_FOR_SKILL = 20  # claims; the skill of fewer is all luck
# Sum of the base rate's squares. Where all claims were right, or all wrong, it is nearly perfect, and beside next
# to nothing every skill is absurd; a single claim that went the rarer way adds about 1.
LEAST_BASE_SQUARES = 0.5


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over claims by group (a client, or all) and event type, the last one OVERALL: shape (groups, types + 1)."""

    resolved: FloatArray
    pending: FloatArray
    void: FloatArray
    altered: FloatArray
    said: FloatArray
    right: FloatArray
    squares: FloatArray  # of said - right
    base_squares: FloatArray  # of the base rate - right
    base: FloatArray
    bins: FloatArray  # (groups, types + 1, N_BINS, 5): claims, said, right, and ends of the interval of right / claims
    counts: FloatArray  # (groups, 6): counts decided, expected, actual, inside the 80% interval, with one, CRPS

    @classmethod
    def of(cls, past: Resolved, group: IntArray, n_groups: int) -> "Totals":
        """Add up the claims whose group is not negative."""
        rows = np.flatnonzero(group >= 0)
        width = OVERALL + 1

        def total(mask: BoolArray, weights: FloatArray | None = None) -> FloatArray:
            at = rows[mask[rows]]
            table = _add(group[at] * width + past.kind[at], None if weights is None else weights[at], n_groups * width)
            table = table.reshape(n_groups, width)
            table[:, OVERALL] = table[:, :REVIEW].sum(axis=1)
            return table

        decided = past.decided
        right = past.right.astype(np.float64)
        some = rows[decided[rows]]
        place = np.minimum((past.said[some] * N_BINS).astype(np.int64), N_BINS - 1)
        flat = (group[some] * width + past.kind[some]) * N_BINS + place
        bins = np.stack(
            [_add(flat, weights, n_groups * width * N_BINS) for weights in (None, past.said[some], right[some])], axis=1
        ).reshape(n_groups, width, N_BINS, 3)
        bins[:, OVERALL] = bins[:, :REVIEW].sum(axis=1)
        return cls(
            resolved=total(decided),
            pending=total(past.state == PENDING),
            void=total(past.state == VOID),
            altered=total(past.altered),
            said=total(decided, past.said),
            right=total(decided, right),
            squares=total(decided, (past.said - right) ** 2),
            base_squares=total(decided, (past.base - right) ** 2),
            base=total(decided, past.base),
            bins=np.concatenate([bins, np.stack(_intervals(bins), axis=-1)], axis=-1),
            counts=_counts(past, group, n_groups),
        )


def _add(place: IntArray, weights: FloatArray | None, size: int) -> FloatArray:
    return np.bincount(place, weights, size).astype(np.float64)


def covered(past: Resolved) -> tuple[BoolArray, BoolArray]:
    """Mark the counts that have an 80% interval, and those that lay in it."""
    low, high = numbers(past.claims, "interval_low"), numbers(past.claims, "interval_high")
    with_one = np.isfinite(past.actual) & np.isfinite(low) & np.isfinite(high)
    return with_one, with_one & (low <= past.actual) & (past.actual <= high)


def _counts(past: Resolved, group: IntArray, n_groups: int) -> FloatArray:
    expected = numbers(past.claims, "expected")
    with_one, inside = covered(past)
    rows = np.flatnonzero((group >= 0) & np.isfinite(past.actual) & np.isfinite(expected))
    columns = (np.ones(len(past)), expected, past.actual, inside, with_one, np.nan_to_num(past.crps))
    return np.stack([_add(group[rows], column[rows].astype(np.float64), n_groups) for column in columns], axis=1)


def as_json(totals: Totals, group: int, pool: Mapping[int, Reliability] | None = None) -> dict[str, Any]:
    """
    Write one group's figures: {"overall": ..., "jobs": {event type: ...}}, types without a claim left out.

    pool : by type, what the pool's reliability says with its clusters; None for a single client.
    """
    kinds = np.flatnonzero((totals.resolved + totals.pending + totals.void)[group, :OVERALL]).tolist()
    return {
        "overall": _figures(totals, group, OVERALL, pool),
        "jobs": {TYPES[kind]: _figures(totals, group, kind, pool) for kind in kinds},
    }


def _figures(totals: Totals, group: int, kind: int, pool: Mapping[int, Reliability] | None) -> dict[str, Any]:
    n = float(totals.resolved[group, kind])

    def mean(table: FloatArray) -> float | None:
        return float(table[group, kind]) / n if n else None

    figures = {
        "scored": "claim_or_check" if kind == OVERALL else SCORED[TYPES[kind]],
        "resolved": int(n),
        "pending": int(totals.pending[group, kind]),
        "void": int(totals.void[group, kind]),
        "mean_said": mean(totals.said),
        "mean_right": mean(totals.right),
        "brier": mean(totals.squares),
        "base_rate": mean(totals.base),
        "skill": number(_skill(n, float(totals.squares[group, kind]), float(totals.base_squares[group, kind]))),
    }
    table = None if pool is None else pool.get(kind)
    if table is not None and table.n:
        figures["gap"] = {
            "estimate": table.gap,
            "level": BAND_LEVEL,
            "low": number(table.gap_low),
            "high": number(table.gap_high),
        }
        figures |= {"ece": number(table.ece), "ece_by_chance": number(table.ece_by_chance)}
        bands = [(b.low, b.high, b.n, b.mean_said, b.share_right, b.interval_low, b.interval_high) for b in table.bins]
    else:
        bands = _bands(totals.bins[group, kind])
    figures["bands"] = [
        {
            "low": low,
            "high": high,
            "n": n_claims,
            "mean_said": said,
            "mean_right": right,
            "interval": {"level": BAND_LEVEL, "low": below, "high": above},
        }
        for low, high, n_claims, said, right, below, above in bands
    ]
    if kind == CONVERSION:
        figures |= _of_counts(totals, group)
    return figures


def skill(said: FloatArray, right: BoolArray, base: FloatArray) -> float:
    """Give 1 - Brier / that of the base rate; NaN for claims too few, or outcomes too much alike, to say."""
    y = right.astype(np.float64)
    return _skill(len(y), float(((said - y) ** 2).sum()), float(((base - y) ** 2).sum()))


def _skill(n: float, squares: float, base_squares: float) -> float:
    return 1 - squares / base_squares if n >= LEAST_FOR_SKILL and base_squares >= LEAST_BASE_SQUARES else float("nan")


def _bands(cells: FloatArray) -> list[tuple[float, float, int, float, float, float, float]]:
    """Give the bands that have claims, with Jeffreys' interval of the share that is right."""
    n, said, right, low, high = cells.T
    return [
        (
            b / N_BINS,
            (b + 1) / N_BINS,
            int(n[b]),
            float(said[b] / n[b]),
            float(right[b] / n[b]),
            float(low[b]),
            float(high[b]),
        )
        for b in np.flatnonzero(n).tolist()
    ]


def _intervals(bins: FloatArray) -> tuple[FloatArray, FloatArray]:
    low, high = np.zeros(bins.shape[:-1]), np.ones(bins.shape[:-1])
    some = bins[..., 0] > 0
    low[some], high[some] = jeffreys(bins[..., 2][some], bins[..., 0][some])
    return low, high


def jeffreys(k: FloatArray, n: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Jeffreys' interval of a share (Brown, Cai & DasGupta 2001), reaching to the end where none or all are."""
    tail = (1 - BAND_LEVEL) / 2
    low = np.where(k == 0, 0.0, betaincinv(k + 0.5, n - k + 0.5, tail))
    high = np.where(k == n, 1.0, betaincinv(k + 0.5, n - k + 0.5, 1 - tail))
    return low, high


def _of_counts(totals: Totals, group: int) -> dict[str, Any]:
    n, expected, actual, inside, with_one, crps = totals.counts[group].tolist()
    if not n:
        return {"expected": None, "actual": None, "coverage": None, "crps": None, "altered": 0}
    low, high = jeffreys(np.array([inside]), np.array([with_one])) if with_one else (np.zeros(1), np.ones(1))
    coverage = {
        "interval_level": LEVEL,
        "n": int(with_one),
        "share_inside": inside / max(with_one, 1.0),
        "interval": {"level": BAND_LEVEL, "low": float(low[0]), "high": float(high[0])},
    }
    return {
        "expected": expected,
        "actual": int(actual),
        "coverage": coverage if with_one else None,
        "crps": crps / n,
        "altered": int(totals.altered[group, CONVERSION]),
    }


def pool_reliability(past: Resolved) -> dict[int, Reliability]:
    """Compare said and right over the pool, by type and over all; claims of one client may hang together."""
    scored = past.pooled & past.decided
    result = {}
    for kind in (*np.unique(past.kind[scored]).tolist(), OVERALL):
        rows = scored & ((past.kind == kind) if kind != OVERALL else (past.kind != REVIEW))
        if rows.any():
            result[kind] = reliability(past.said[rows], past.right[rows], cluster=past.client[rows])
    return result


def windows_json(past: Resolved, group: BoolArray) -> list[dict[str, Any]]:
    """Tell of each past instant what conversion_prediction said and what came, newest first."""
    expected = numbers(past.claims, "expected")
    with_one, inside = covered(past)
    mine = group & (past.kind == CONVERSION)
    windows = []
    for time in np.unique(past.time[mine])[::-1].tolist():
        rows = mine & (past.time == time)
        decided = rows & past.decided
        n = int(decided.sum())
        count = rows & np.isfinite(past.actual) & np.isfinite(expected)
        foretold = count if n else rows & np.isfinite(expected)  # of a window that is not over, all that is expected
        windows.append(
            {
                "as_of": from_microseconds(time).isoformat(),
                "claims": int(rows.sum()),
                "resolved": n,
                "pending": int((rows & (past.state == PENDING)).sum()),
                "void": int((rows & (past.state == VOID)).sum()),
                "expected": float(expected[foretold].sum()) if foretold.any() else None,
                "actual": int(past.actual[count].sum()) if n else None,
                "mean_said": float(past.said[decided].mean()) if n else None,
                "mean_right": float(past.right[decided].mean()) if n else None,
                "coverage": float(inside[rows].sum() / with_one[rows].sum()) if with_one[rows].any() else None,
            }
        )
    return windows


def everyone(past: Resolved) -> BoolArray:
    """Mark the claims about all clients together."""
    mask: BoolArray = past.client == EVERYONE
    return mask
