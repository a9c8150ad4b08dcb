"""What became of the leads that were open at an instant, and how good a prediction of it was."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from worker.episodes import conversion_episodes
from worker.leads import DAY, UNDATED, WINDOW_DAYS, Leads, to_microseconds
from worker.statistics import BoolArray, FloatArray
from worker.statistics.probability_scores import area_under_curve, calibration_slope, log_loss
from worker.vocabulary import OUTCOME_CLIENT_CLOSED, TAG_CONVERTED

LEAST, MOST = 1e-9, 1 - 1e-9  # keep a log loss, and log odds, finite


@dataclass(frozen=True, slots=True)
class Outcomes:
    """
    What the window from an instant on brought, of the leads that had arrived before it; shape (arrived leads,).

    void: a conversion without a date, of which nobody can tell whether it lies in the window.
    """

    converted: BoolArray
    void: BoolArray


@dataclass(frozen=True, slots=True)
class Scores:
    """How one set of probabilities did; NaN where there is no lead, auc and slope also where all or none converted."""

    expected: float
    brier: float
    log_loss: float
    auc: float
    calibration_slope: float  # of what happened on the log odds of what was said: below 1 is too bold


def read_outcomes(leads: Leads, as_of: datetime, until: datetime | None = None) -> Outcomes:
    """
    Tell which of the leads that had arrived before as_of converted in the WINDOW_DAYS from it on.

    until : what came to be known before this instant counts as well (None: the window's end). A conversion that has no
    date and was known of only after the window may have been in it.
    """
    start = to_microseconds(as_of)
    end = start + WINDOW_DAYS * DAY
    arrived = leads.only(leads.arrival < start)
    converted, void = np.zeros(len(arrived), dtype=np.bool_), np.zeros(len(arrived), dtype=np.bool_)
    found = conversion_episodes(arrived, end)
    dated = found.start != UNDATED
    void[found.lead[~dated & (found.known_by >= start)]] = True
    converted[found.lead[dated & (found.start >= start)]] = True
    if until is not None:
        void |= _undated_later(arrived, end, to_microseconds(until))
    return Outcomes(converted, void & ~converted)


def _undated_later(leads: Leads, end: int, until: int) -> BoolArray:
    """Mark the leads of which it came to be known in [end, until) that they converted, perhaps before `end`."""
    closed = (leads.tag == TAG_CONVERTED) | (leads.outcome == OUTCOME_CLIENT_CLOSED)
    candidates = closed & (leads.last_change >= end)
    a = leads.actions
    if a is not None:
        candidates[a.lead[a.that(a.deeds.excused) & (a.time >= end)]] = True
    result = np.zeros(len(leads), dtype=np.bool_)
    found = conversion_episodes(leads.only(candidates), until)
    perhaps = (found.start == UNDATED) & (found.after < end) & (found.known_by >= end)
    result[np.flatnonzero(candidates)[found.lead[perhaps]]] = True
    return result


def score(probability: FloatArray, happened: BoolArray) -> Scores:
    """Score probabilities against what happened, aligned arrays."""
    nan = float("nan")
    if not len(probability):
        return Scores(0.0, nan, nan, nan, nan)
    p = np.clip(probability, LEAST, MOST)
    both = 0 < happened.sum() < len(happened)
    return Scores(
        expected=float(probability.sum()),
        brier=float(np.mean((probability - happened) ** 2)),
        log_loss=log_loss(p, happened),
        auc=area_under_curve(p, happened) if both else nan,
        calibration_slope=calibration_slope(p, happened) if both else nan,
    )
