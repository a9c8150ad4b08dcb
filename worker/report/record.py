"""What became of past claims, by client: forecast beside outcome of every past window, and said beside right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from worker.jobs.conversion_prediction import EVENT_TYPE as FORECAST
from worker.leads import from_microseconds
from worker.review.figures import Totals, as_json, everyone, pool_reliability, windows_json
from worker.review.report import claim_json
from worker.review.resolved import CONVERSION, PENDING, REVIEW, Resolved
from worker.review.resolvers import MATURES

RIGHT, WRONG, PENDING_WINDOW, VOID = "right", "wrong", "pending", "void"


@dataclass(frozen=True, slots=True)
class Window:
    """One forecast of conversions and what came: state is right, wrong, pending or void."""

    as_of: datetime
    ends: datetime
    expected: float | None
    low: float | None  # the range claimed, ends included
    high: float | None
    said: float | None  # probability of that range
    actual: float | None
    state: str


@dataclass(frozen=True, slots=True)
class Record:
    """
    What one client's claims, or the pool's, came to.

    overall and jobs are the figures of a review: resolved, pending, void, mean_said, mean_right, brier, skill, bands.
    """

    windows: tuple[Window, ...]  # oldest first
    overall: Mapping[str, Any]
    jobs: Mapping[str, Mapping[str, Any]]
    next_due: datetime | None  # when the next pending claim can be decided

    @property
    def decided(self) -> list[Window]:
        """The windows that are over, and of which one can tell."""
        return [window for window in self.windows if window.state in (RIGHT, WRONG)]

    @property
    def hits(self) -> int:
        """How many of these came out as claimed."""
        return sum(window.state == RIGHT for window in self.decided)


def client_records(past: Resolved, client_ids: Sequence[str]) -> dict[str, Record]:
    """Give every client's record, all added up at once; reviews, which are claims about claims, are left out."""
    place = {client_id: number for number, client_id in enumerate(client_ids)}
    group_of = np.array([place.get(client_id or "", -1) for client_id in past.client_ids] + [-1], dtype=np.int64)
    group = np.where(past.kind == REVIEW, -1, group_of[past.client])
    totals = Totals.of(past, group, len(client_ids))
    windows: list[list[Window]] = [[] for _ in client_ids]
    for row in np.flatnonzero((group >= 0) & (past.kind == CONVERSION)).tolist():
        windows[group[row]].append(_window(past, row))
    due = _next_due(past, group, len(client_ids))
    return {
        client_id: _record(windows[number], as_json(totals, number), due[number]) for client_id, number in place.items()
    }


def pool_record(past: Resolved) -> tuple[Record, list[dict[str, Any]]]:
    """
    Give the record over all clients that count, and each past window's sums over them, newest first.

    The windows of the record itself are those of the claims about all clients together.
    """
    group = np.where(past.pooled & (past.kind != REVIEW), 0, -1)
    figures = as_json(Totals.of(past, group, 1), 0, pool_reliability(past))
    rows = np.flatnonzero(everyone(past) & (past.kind == CONVERSION)).tolist()
    return _record([_window(past, row) for row in rows], figures, _next_due(past, group, 1)[0]), windows_json(
        past, past.pooled
    )


def _record(windows: list[Window], figures: Mapping[str, Any], due: datetime | None) -> Record:
    ordered = tuple(sorted(windows, key=lambda window: window.as_of))
    return Record(ordered, figures["overall"], figures["jobs"], due)


def _window(past: Resolved, row: int) -> Window:
    told = claim_json(past, row)
    as_of = datetime.fromisoformat(told["as_of"])
    values = (told[name] for name in ("expected", "low", "high", "said", "actual", "state"))
    return Window(as_of, as_of + timedelta(days=MATURES[FORECAST]), *values)


def _next_due(past: Resolved, group: Any, n_groups: int) -> list[datetime | None]:
    """Tell of each group when its next pending claim can be decided."""
    result: list[datetime | None] = [None] * n_groups
    for row in np.flatnonzero((group >= 0) & (past.state == PENDING)).tolist():
        claim = past.claims[row]
        due = from_microseconds(int(past.time[row])) + timedelta(days=MATURES[claim.event_type])
        known = result[group[row]]
        result[group[row]] = due if known is None else min(known, due)
    return result
