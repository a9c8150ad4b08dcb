"""How good a forecast of a count was: the continuous ranked probability score of what a snapshot says of the count."""

import numpy as np
from scipy.special import ndtri

from worker.statistics import FloatArray, IntArray
from worker.statistics.counts import mixed_cdf

LEVELS = ndtri((np.arange(7) + 0.5) / 7)  # standard normal draws of the level that all leads share, evenly weighted
DEVIATIONS = np.array([0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0])  # of the log level, among which one is chosen


def forecast_draws(
    expected: FloatArray, size: FloatArray, low: FloatArray, high: FloatArray, probability: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """
    Rebuild the distribution of counts from what was published of it, as draws for worker/statistics/counts.py.

    Of `size` leads, alike but for a level that they share (lognormal, mean 1), the distribution has the mean that was
    expected, and of DEVIATIONS the spread under which [low, high] is nearest to as probable as was said.

    Returns
    -------
    means and squares, shape (claims, draws) each.
    """
    size = np.maximum(size, np.maximum(expected, 1.0))[:, None]
    best = np.full(len(expected), np.inf)
    means = np.zeros((len(expected), len(LEVELS)))
    for deviation in DEVIATIONS:
        level = np.exp(deviation * LEVELS)
        tried = np.minimum(expected[:, None] * level / level.mean(), size)
        squares = tried**2 / size
        mass = mixed_cdf(high, tried, squares) - mixed_cdf(low - 1, tried, squares)
        miss = np.abs(mass - probability)
        closer = miss < best - 1e-6  # of equals the narrower
        best = np.where(closer, miss, best)
        means[closer] = tried[closer]
    return means, means**2 / size


def count_crps(actual: FloatArray, means: FloatArray, squares: FloatArray) -> FloatArray:
    """
    Sum over all counts k of (P(count <= k) - [actual <= k])^2 (Matheson & Winkler 1976); in conversions, 0 is best.

    actual : shape (claims,), whole numbers; means, squares : shape (claims, draws), as mixed_cdf takes them.
    """
    result = np.zeros(len(actual))
    centre = means.max(axis=1, initial=0.0)
    last = np.maximum(np.ceil(centre + 4 * np.sqrt(centre) + 6), actual + 1).astype(np.int64)
    order = np.argsort(last, kind="stable")
    for rows in _batches(order, last):
        k = np.arange(int(last[rows[-1]]) + 1)
        cdf = np.stack([mixed_cdf(np.full(len(rows), float(at)), means[rows], squares[rows]) for at in k], axis=1)
        result[rows] = ((cdf - (actual[rows, None] <= k)) ** 2).sum(axis=1)
    return result


def _batches(order: IntArray, last: IntArray) -> list[IntArray]:
    """Cut claims, fewest counts first, where the counts to sum double: the largest alone need many."""
    if not len(order):
        return []
    edges = np.flatnonzero(np.diff(np.ceil(np.log2(last[order] + 1)))) + 1
    return list(np.split(order, edges))
