"""What one half of the leads foretells of the other: probabilities of what the other half will be seen to do."""

import numpy as np

from worker.statistics import FloatArray, IntArray
from worker.statistics.change import ChangePosterior
from worker.statistics.dependence import whole_design_effect
from worker.statistics.normal import normal_cdf

EXACT_UP_TO = 64  # leads a window of the other half; beyond it the steps of a share are finer than anybody asks for
EDGES = 1e-9  # a change that equals the dead band is stable


def probability_class_seen(
    posterior: ChangePosterior,
    said: IntArray,
    expected: FloatArray,
    standard_error: FloatArray,
) -> FloatArray:
    """
    Predictive probability that a measurement's observed change falls in the class that was said, with normal errors.

    Parameters
    ----------
    said : shape (clients,), class codes.
    expected : shape (clients, grid), the observed change to expect where the true change is the grid's.
    standard_error : shape (clients,), of the observed change about that.
    """
    scale = np.maximum(standard_error, 1e-12)[:, None]
    down = normal_cdf((-posterior.dead_band - expected) / scale)
    not_up = normal_cdf((posterior.dead_band - expected) / scale)
    return _over_posterior(posterior, said, np.stack([down, not_up - down, 1 - not_up]))


def probability_other_half_shows(
    posterior: ChangePosterior,
    said: IntArray,
    change: FloatArray,
    variance: FloatArray,
    *,
    n: tuple[FloatArray, FloatArray],
    effect: tuple[FloatArray, FloatArray],
) -> FloatArray:
    """
    Predictive probability that the other half's observed change falls in the class that was said, with normal errors.

    The two halves err alike where leads come in bursts: where this half lies beside the true change, the other lies
    to the same side.

    Parameters
    ----------
    said, change : shape (clients,), what this half says, and the change seen in it (NaN: none).
    variance : shape (clients,), between a client's leads.
    n, effect : of the current and of the previous window, shape (clients,) each: the other half's leads, above 0, and
        their design effect.
    """
    scatter, alike = np.zeros(len(said)), np.zeros(len(said))
    for size, of_half in zip(n, effect, strict=True):
        own, common = shared_noise(2 * size, whole_design_effect(of_half))
        scatter += own
        alike += common
    seen = np.isfinite(change)
    together = np.where(seen, alike / scatter, 0.0)
    miss = np.where(seen, change, 0.0)[:, None] - posterior.grid
    error = np.sqrt(variance * scatter * (1 - together**2))
    return probability_class_seen(posterior, said, posterior.grid + together[:, None] * miss, error)


def probability_share_class_seen(
    posterior: ChangePosterior, said: IntArray, n_previous: IntArray, n_current: IntArray, level: FloatArray
) -> FloatArray:
    """
    Predictive probability that two fresh binomial shares' difference falls in the class that was said, exactly.

    Shares of few leads move in steps: of ten leads a side a difference is 0 or at least .1, and a normal curve would
    misjudge how often it is "stable".

    Parameters
    ----------
    said, n_previous, n_current : shape (clients,); n from 1 to EXACT_UP_TO.
    level : shape (clients,), the middle between the two true shares, as far as it is known.
    """
    result = np.empty(len(said))
    coarse = _coarse(posterior.grid)
    mass = _onto(posterior, coarse)
    size = np.maximum(n_previous, n_current)
    for low, high in ((1, 4), (5, 8), (9, 16), (17, 32), (33, EXACT_UP_TO)):
        for rows in _chunks(np.flatnonzero((size >= low) & (size <= high)), 8192 // high):
            n = n_previous[rows], n_current[rows]
            by_class = _classes(coarse, level[rows], *n, size=high, dead_band=posterior.dead_band)
            chosen = by_class[said[rows], np.arange(len(rows))]
            result[rows] = (mass[rows] * chosen).sum(axis=1)
    return np.clip(result, 0.0, 1.0)


def _coarse(grid: FloatArray) -> FloatArray:
    """Take every third change: the probability of a class is smooth in the true change."""
    chosen: FloatArray = grid[len(grid) // 2 % 3 :: 3]
    return chosen


def _onto(posterior: ChangePosterior, coarse: FloatArray) -> FloatArray:
    """Share each grid point's mass between its two coarse neighbours, as linear interpolation does."""
    grid = np.clip(posterior.grid, coarse[0], coarse[-1])
    right = np.clip(np.searchsorted(coarse, grid, side="left"), 1, len(coarse) - 1)
    part = (grid - coarse[right - 1]) / (coarse[right] - coarse[right - 1])
    share = np.zeros((len(coarse), len(grid)))
    share[right - 1, np.arange(len(grid))] += 1 - part
    share[right, np.arange(len(grid))] += part
    onto: FloatArray = np.einsum("cg,kg->ck", posterior.mass, share)
    return onto


def _classes(
    change: FloatArray, level: FloatArray, n_previous: IntArray, n_current: IntArray, *, size: int, dead_band: float
) -> FloatArray:
    """
    Probability of each observed class, shape (3, clients, changes).

    size : counts go up to here, whatever the n of the other clients: sums of other lengths round otherwise.
    """
    k = np.arange(size + 1)
    previous = _binomial(k, n_previous, np.clip(level[:, None] - change / 2, 1e-9, 1 - 1e-9))
    current = _binomial(k, n_current, np.clip(level[:, None] + change / 2, 1e-9, 1 - 1e-9))
    below = np.concatenate([np.zeros((*current.shape[:2], 1)), np.cumsum(current, axis=2)], axis=2)
    share = k / n_previous[:, None]  # of High, previous window, shape (clients, k)
    # how many counts of the current window lie below each edge; the edges themselves are stable
    n = n_current[:, None]
    lower = np.clip(np.ceil(n * (share - dead_band) - EDGES * n), 0, size + 1).astype(np.int64)
    upper = np.clip(np.floor(n * (share + dead_band) + EDGES * n) + 1, 0, size + 1).astype(np.int64)
    at = np.broadcast_to(lower[:, None, :], previous.shape)
    down = (previous * np.take_along_axis(below, at, axis=2)).sum(axis=2)
    at = np.broadcast_to(upper[:, None, :], previous.shape)
    not_up = (previous * np.take_along_axis(below, at, axis=2)).sum(axis=2)
    return np.stack([down, not_up - down, 1 - not_up])


def _binomial(k: IntArray, n: IntArray, p: FloatArray) -> FloatArray:
    """Binomial probabilities of k out of n, shape (clients, changes, k); 0 where k > n."""
    from scipy.special import gammaln  # noqa: PLC0415 - only where shares are asked of; its import takes a while

    rest = n[:, None] - k
    ways = gammaln(n + 1)[:, None] - gammaln(k + 1) - gammaln(np.maximum(rest, 0) + 1)
    ways = np.where(rest >= 0, ways, -np.inf)
    logs = k * np.log(p)[:, :, None] + np.maximum(rest, 0)[:, None, :] * np.log1p(-p)[:, :, None]
    result: FloatArray = np.exp(logs + ways[:, None, :])
    return result


def _over_posterior(posterior: ChangePosterior, said: IntArray, by_class: FloatArray) -> FloatArray:
    """Average the probability of the class said, given each change, over the posterior."""
    given_change = by_class[said, np.arange(len(said))]
    probability: FloatArray = (posterior.mass * given_change).sum(axis=1)
    return np.clip(probability, 0.0, 1.0)


def _chunks(rows: IntArray, size: int) -> list[IntArray]:
    return [rows[start : start + size] for start in range(0, len(rows), max(size, 1))]


def shared_noise(n: FloatArray, design_effect: FloatArray) -> tuple[FloatArray, FloatArray]:
    """
    How the means of two random halves of n leads scatter: variance of each, and covariance, over sigma^2.

    Leads of one burst land in both halves: the halves then err alike. Pairs of neighbours fall into the same half as
    often as into different ones; with design effect d each half of n/2 leads has the variance (1 + d)/n and the two
    the covariance (d - 1)/n (their mean then has d/n, as it must).
    """
    size = np.maximum(n, 1)
    return (1 + design_effect) / size, (design_effect - 1) / size
