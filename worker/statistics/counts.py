"""How many of a group of leads will convert: the distribution of a count when each lead has its own probability."""

import numpy as np
from scipy.special import betainc, ndtri

from worker.statistics import FloatArray

LEAST_SQUARES = 1e-100  # keeps a division finite
MOST_TRIALS = 1e9  # a binomial of so many trials is a Poisson to nine digits


def binomial_cdf(n: FloatArray, mean: FloatArray, squares: FloatArray) -> FloatArray:
    """
    P(count <= n) for independent leads whose probabilities sum to `mean` and whose squares sum to `squares`.

    The Poisson-binomial distribution by the binomial of equal mean and variance (Ehm 1991), whose size need not be
    whole; the error is largest for few, very unequal leads. n below zero gives 0.
    """
    # Between `mean` trials (each certain) and so many that only a Poisson distribution is left.
    trials = np.clip(mean**2 / np.maximum(squares, LEAST_SQUARES), mean, MOST_TRIALS)
    p = np.where(trials > 0, np.minimum(mean / np.where(trials > 0, trials, 1.0), 1.0), 0.0)
    count = np.floor(n)
    inside = (count >= 0) & (count < trials)
    above = betainc(np.where(inside, count + 1, 1.0), np.where(inside, trials - count, 1.0), p)
    return np.where(count < 0, 0.0, np.where(inside, 1 - above, 1.0))


def exact_poisson_binomial(p: FloatArray) -> FloatArray:
    """Probability of each count 0..len(p), by convolution (Hong 2013): exact, quadratic; the twin for tests."""
    mass: FloatArray = np.array([1.0])
    for probability in p:
        mass = np.convolve(mass, [1 - probability, probability])
    return mass


def claim_range(mean: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """
    Give m = mean rounded (halves up) and the claimed range [max(0, m - k), m + k], k = max(1, round(m / 4)).

    k rounds halves to even, as Python's round does.
    """
    m = np.floor(mean + 0.5)
    k = np.maximum(1.0, np.rint(m / 4))
    return m, np.maximum(0.0, m - k), m + k


def mixed_cdf(n: FloatArray, means: FloatArray, squares: FloatArray) -> FloatArray:
    """P(count <= n) for each client, averaged over parameter draws: means, squares of shape (clients, draws)."""
    probability: FloatArray = binomial_cdf(n[:, None], means, squares).mean(axis=1)
    return probability


def count_interval(means: FloatArray, squares: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
    """
    Smallest whole counts at which the mixed distribution reaches the lower and the upper tail.

    Found by bisection on mixed_cdf, all clients at once that are not yet found.
    """
    tail = (1 - level) / 2
    return _quantile(means, squares, tail), _quantile(means, squares, 1 - tail)


def _quantile(means: FloatArray, squares: FloatArray, probability: float) -> FloatArray:
    centre = means.mean(axis=1)
    spread = np.sqrt(np.maximum(means - squares, 0).mean(axis=1) + means.var(axis=1))
    # begun where a normal distribution has it, with steps that grow until it lies between two of them
    middle: FloatArray = np.maximum(np.floor(centre + float(ndtri(probability)) * spread), 0.0)
    low, high, step = np.full(len(means), -1.0), np.full(len(means), np.inf), 1.0
    left = np.arange(len(means))
    while len(left):
        reached = mixed_cdf(middle[left], means[left], squares[left]) >= probability
        high[left[reached]] = middle[left[reached]]
        low[left[~reached]] = middle[left[~reached]]
        left = left[high[left] - low[left] > 1]
        between = np.floor((low[left] + high[left]) / 2)
        below = np.where(low[left] < 0, np.maximum(high[left] - step, between), between)
        middle[left] = np.where(np.isinf(high[left]), low[left] + step, below)
        step *= 2
    return high
