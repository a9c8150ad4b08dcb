"""How good probabilities of things that happened or not were: log loss, ranking and boldness (calibration slope)."""

import numpy as np

from worker.statistics import BoolArray, FloatArray

NEWTON_STEPS = 100
NEWTON_TOLERANCE = 1e-12  # of the last step, on the scale of the standardized log odds


def log_loss(p: FloatArray, happened: BoolArray) -> float:
    """Give the mean of -log of what was said of what came; p lies strictly between 0 and 1."""
    return float(-np.mean(np.where(happened, np.log(p), np.log1p(-p))))


def area_under_curve(p: FloatArray, happened: BoolArray) -> float:
    """
    Give the chance that one that happened was said to be likelier than one that did not, ties counting half.

    By ranks (Mann & Whitney 1947). Some must have happened, and some not.
    """
    _, place, count = np.unique(p, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]  # from 1 on; those alike share their mean
    yes = int(happened.sum())
    return float((rank[happened].sum() - yes * (yes + 1) / 2) / (yes * (len(p) - yes)))


def calibration_slope(p: FloatArray, happened: BoolArray) -> float:
    """
    Fit the logistic regression of what happened on the log odds of what was said (Cox 1958), and give its slope.

    By Newton's method, its steps halved while they lead downhill. NaN where no finite slope fits best: one value was
    said of all, or those that happened and those that did not lie apart. Some must have happened, and some not.
    """
    log_odds = np.log(p / (1 - p))
    spread = float(log_odds.std())
    yes, no = log_odds[happened], log_odds[~happened]
    if spread < 1e-9 or yes.min() >= no.max() or yes.max() <= no.min():
        return float("nan")
    x = np.stack([np.ones(len(p)), (log_odds - log_odds.mean()) / spread])
    beta = np.zeros(2)
    for _ in range(NEWTON_STEPS):
        fitted = 1 / (1 + np.exp(-(beta @ x)))
        information = (x * (fitted * (1 - fitted))) @ x.T
        step = np.linalg.solve(information, x @ (happened - fitted))
        while _log_likelihood(beta + step, x, happened) < _log_likelihood(beta, x, happened) - 1e-9:
            step /= 2
        beta = beta + step
        if np.abs(step).max() < NEWTON_TOLERANCE:
            break
    return float(beta[1]) / spread


def _log_likelihood(beta: FloatArray, x: FloatArray, happened: BoolArray) -> float:
    log_odds = beta @ x
    return float((happened * log_odds - np.logaddexp(0.0, log_odds)).sum())
