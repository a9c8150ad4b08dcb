"""What became of the leads that were open at an instant, and how good a prediction of it was."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from worker.leads import DAY, WINDOW_DAYS, Leads, to_microseconds
from worker.lifecycle import conversion_episodes
from worker.statistics import BoolArray, FloatArray
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
    for episode in conversion_episodes(arrived, end):
        if episode.start is None:
            void[episode.lead] |= episode.known_by >= start
        elif episode.start >= start:
            converted[episode.lead] = True
    if until is not None:
        void |= _undated_later(arrived, end, to_microseconds(until))
    return Outcomes(converted, void & ~converted)


def _undated_later(leads: Leads, end: int, until: int) -> BoolArray:
    """Mark the leads of which it came to be known in [end, until) that they converted, perhaps before `end`."""
    closed = (leads.tag == TAG_CONVERTED) | (leads.outcome == OUTCOME_CLIENT_CLOSED)
    candidates = closed & (leads.last_change >= end)
    if leads.actions is not None:
        candidates[leads.actions.lead[leads.actions.excused & (leads.actions.time >= end)]] = True
    result = np.zeros(len(leads), dtype=np.bool_)
    where = np.flatnonzero(candidates)
    for episode in conversion_episodes(leads.only(candidates), until):
        if episode.start is None and episode.after < end <= episode.known_by:
            result[where[episode.lead]] = True
    return result


def score(probability: FloatArray, happened: BoolArray) -> Scores:
    """Score probabilities against what happened, aligned arrays."""
    from sklearn import metrics  # noqa: PLC0415 - a second of import

    nan = float("nan")
    if not len(probability):
        return Scores(0.0, nan, nan, nan, nan)
    p = np.clip(probability, LEAST, MOST)
    both = 0 < happened.sum() < len(happened)
    return Scores(
        expected=float(probability.sum()),
        brier=float(np.mean((probability - happened) ** 2)),
        log_loss=float(metrics.log_loss(happened, p, labels=[False, True])),
        auc=float(metrics.roc_auc_score(happened, p)) if both else nan,
        calibration_slope=_slope(np.log(p / (1 - p)), happened) if both else nan,
    )


def _slope(log_odds: FloatArray, happened: BoolArray) -> float:
    """Fit the logistic regression of what happened on the log odds (Cox 1958); NaN where no finite slope fits best."""
    spread = float(log_odds.std())
    yes, no = log_odds[happened], log_odds[~happened]
    if spread < 1e-9 or yes.min() >= no.max() or yes.max() <= no.min():  # one value for all, or perfectly apart
        return float("nan")
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - as above

    scaled = (log_odds - log_odds.mean()) / spread  # converges alike wherever the log odds lie
    fitted = LogisticRegression(C=1e9, tol=1e-8, max_iter=1000).fit(scaled[:, None], happened)
    return float(fitted.coef_[0, 0]) / spread


def generator_at(as_of: datetime) -> np.random.Generator:
    """Seed by the instant alone: the same data give the same figures."""
    digest = hashlib.sha256(f"backtest|{as_of.astimezone(UTC).isoformat()}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))
