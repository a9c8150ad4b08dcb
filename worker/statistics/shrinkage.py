"""How much of a small client's average is its own, and how much is everyone's: shrinkage towards the pool."""

from dataclasses import dataclass

import numpy as np

from worker.statistics import FloatArray, IntArray
from worker.statistics.normal import normal_quantile

LEAST_SQUARED_ERROR = 1e-12  # equal scores have no spread; their mean is still not known without error


@dataclass(frozen=True, slots=True)
class NormalPrior:
    """Clients' true means spread around `mean` with `variance`, both in the score's unit (squared)."""

    mean: float
    variance: float


def estimate_normal_prior(means: FloatArray, squared_errors: FloatArray, default: NormalPrior) -> NormalPrior:
    """
    Estimate the pool's mean and the true spread between clients (DerSimonian & Laird 1986).

    Clients without a value (NaN) are left out; with fewer than three the default is returned.
    """
    known = np.isfinite(means) & np.isfinite(squared_errors)
    if known.sum() < 3:
        return default
    y, v = means[known], np.maximum(squared_errors[known], LEAST_SQUARED_ERROR)
    w = 1 / v
    pooled = float((w * y).sum() / w.sum())
    q = float((w * (y - pooled) ** 2).sum())
    scale = float(w.sum() - (w**2).sum() / w.sum())  # not above 0 when one client's weight hides all others
    variance = max(0.0, (q - (len(y) - 1)) / scale) if scale > 0 else 0.0
    w = 1 / (v + variance)
    # A spread of exactly zero would deny every client its own level; a hundredth of the default stays possible.
    return NormalPrior(float((w * y).sum() / w.sum()), max(variance, default.variance / 100))


def shrink_means(
    means: FloatArray, squared_errors: FloatArray, prior: NormalPrior, level: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """
    Posterior mean and equal-tailed interval of each client's true mean (Efron & Morris 1975).

    A client without a value (NaN) gets the pool's mean and its full spread.
    """
    known = np.isfinite(means) & np.isfinite(squared_errors)
    precision = np.where(known, 1 / np.where(known, np.maximum(squared_errors, LEAST_SQUARED_ERROR), 1.0), 0.0)
    variance = 1 / (precision + 1 / prior.variance)
    centre = variance * (np.where(known, means, 0.0) * precision + prior.mean / prior.variance)
    half = normal_quantile((1 + level) / 2) * np.sqrt(variance)
    return centre, centre - half, centre + half


def estimate_beta_prior(k: IntArray, n: IntArray, default: tuple[float, float]) -> tuple[float, float]:
    """
    Estimate the Beta distribution of clients' true shares from counts k out of n, by maximum likelihood on a grid.

    The grid is over mean and concentration; the default counts as one more observation of its own size, so that
    few clients lean on it. Source: the beta-binomial likelihood (Skellam 1948).
    """
    from scipy.special import betaln  # noqa: PLC0415 - means need none of it, and its import takes a while

    used = n > 0
    if not used.any():
        return default
    mean = np.linspace(0.02, 0.98, 49)
    concentration = np.exp(np.linspace(np.log(0.5), np.log(500), 24))
    a = np.outer(mean, concentration)
    b = np.outer(1 - mean, concentration)
    log_likelihood = betaln(default[0] + a, default[1] + b) - betaln(a, b)
    # the concentration is weakly known from few clients
    log_likelihood -= 0.5 * np.log(concentration / sum(default)) ** 2
    # B(k + a, n - k + b) / B(a, b) is three ratios of gammas: each needs its own distinct counts only
    log_likelihood += _log_rising(a, k[used]) + _log_rising(b, (n - k)[used]) - _log_rising(concentration, n[used])
    i, j = np.unravel_index(int(np.argmax(log_likelihood)), log_likelihood.shape)
    return float(a[i, j]), float(b[i, j])


def _log_rising(x: FloatArray, counts: IntArray) -> FloatArray:
    """Sum over counts of log(gamma(x + count) / gamma(x))."""
    from scipy.special import gammaln  # noqa: PLC0415 - as above

    values, times = np.unique(counts, return_counts=True)
    total = np.zeros_like(x)
    for value, repeated in zip(values, times, strict=True):
        total += repeated * (gammaln(x + value) - gammaln(x))
    return total
