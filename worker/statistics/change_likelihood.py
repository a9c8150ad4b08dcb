"""What a client's own two windows say of its change: exact likelihoods for shares, Student's t for means."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from worker.statistics import FloatArray, IntArray
from worker.statistics.distinct import distinct_rows

NODES = 24  # levels looked at for up to LEADS_OF_NODES leads; no posterior is off by .008 in total variation
LEADS_OF_NODES = 75  # those of both windows and those the prior of the level is worth
SINGLE_PRECISION_UP_TO = 48  # nodes; so few leads have logarithms of hundreds at most, right to a ten-thousandth
LEAST_SQUARED_ERROR = 1e-12  # equal scores have no spread; their mean is still not known without error
BLOCK_ELEMENTS = 60_000  # numbers at a time, so that they stay in the processor's cache


def share_change_log_likelihood(
    k_previous: FloatArray | IntArray,
    n_previous: FloatArray | IntArray,
    k_current: FloatArray | IntArray,
    n_current: FloatArray | IntArray,
    grid: FloatArray,
    *,
    level_prior: tuple[float, float],
) -> FloatArray:
    """
    Log likelihood of each change of a share, given two binomial counts per client; the level is integrated out.

    The level is the middle between the two windows' true shares, with a Beta prior that is to be learned from both
    windows' counts together (a prior on one window's share, or one learned from the windows apart, explains changes
    away), cut for each change to where both shares lie in [0, 1] and scaled to 1 there: otherwise large changes would
    count as improbable before any lead is seen, and small clients, who can only say "a lot", would all seem still.

    Parameters
    ----------
    k_previous, n_previous, k_current, n_current : shape (clients,); 0 <= k <= n, n may be 0; need not be whole, since
        leads that are not independent count as fewer (worker/statistics/dependence.py).
    grid : shape (grid,), changes of the share, within (-1, 1).
    level_prior : parameters of the Beta distribution.

    Returns
    -------
    Shape (clients, grid), up to a constant per client. A client's row depends on its own counts alone, to the bit.
    """
    counts = np.stack([k_previous, n_previous - k_previous, k_current, n_current - k_current], axis=1, dtype=np.float64)
    first, which = distinct_rows(counts)
    return _of_counts(counts[first], grid, level_prior)[which]


def _of_counts(counts: FloatArray, grid: FloatArray, level_prior: tuple[float, float]) -> FloatArray:
    """Do so for counts of those with and without, previous and current, shape (clients, 4)."""
    from scipy.special import betainc, betaln  # noqa: PLC0415 - means need none of it, and its import takes a while

    a, b = level_prior
    total = counts.sum(axis=1) + a + b
    # twice the nodes for four times the leads: the likelihood narrows with their root
    steps = np.ceil(np.log2(np.maximum(total / LEADS_OF_NODES, 1)) / 2).astype(int)
    if min(a, b) < 0.5:  # a prior without bound at an end, where the nodes must lie closer
        steps = np.maximum(steps, 1)
    result = np.empty((len(total), len(grid)))
    outside = np.abs(grid) / 2
    # seen from the end where shares are rare: differences of probabilities near 1 would lose all digits
    cut = np.log(betainc(max(a, b), min(a, b), 1 - outside) - betainc(max(a, b), min(a, b), outside))
    still = np.flatnonzero(grid == 0)
    high, other = counts[:, 0] + counts[:, 2], counts[:, 1] + counts[:, 3]
    # no nodes reach the end of a prior with a parameter below a half; without change the integral is known
    unchanged = betaln(a + high, b + other) + np.log(2 / np.pi)
    for step in sorted(set(steps.tolist())):  # np.unique would load numpy.ma
        rows = np.flatnonzero(steps == step)
        nodes = NODES * 2**step
        result[rows] = _integrate(counts[rows], tuple(grid.tolist()), nodes, a, b) - cut
        result[np.ix_(rows, still)] = (unchanged[rows] + np.log(nodes))[:, None]
    return result


@lru_cache(maxsize=8)
def _nodes(grid: tuple[float, ...], nodes: int) -> FloatArray:
    """
    Logarithms of what the integrand needs at each change and node, shape (7, grid, nodes).

    The nodes are even in the angle whose squared sine runs through the levels that a change leaves possible: near
    either end, where counts of none or all are likeliest, they lie closest. Rows: both shares and their complements,
    previous then current, the level and its complement, the node's width.
    """
    change = np.array(grid)[:, None]
    room = 1 - np.abs(change)
    angle = (np.arange(nodes) + 0.5) / nodes * (np.pi / 2)
    level = np.abs(change) / 2 + room * np.sin(angle) ** 2
    previous, current = (np.clip(level + side * change / 2, 1e-15, 1 - 1e-15) for side in (-1, 1))
    logs = [np.log(previous), np.log1p(-previous), np.log(current), np.log1p(-current), np.log(level), np.log1p(-level)]
    width = np.log(room) + np.log(np.sin(2 * angle))
    result: FloatArray = np.stack([*logs, width])
    result.setflags(write=False)
    return result


def _integrate(counts: FloatArray, grid: tuple[float, ...], nodes: int, a: float, b: float) -> FloatArray:
    """Sum the likelihood over the levels; products are added in a fixed order: no row depends on its neighbours."""
    kind = np.float32 if nodes <= SINGLE_PRECISION_UP_TO else np.float64
    table = _nodes(grid, nodes)
    prior = ((a - 1) * table[4] + (b - 1) * table[5] + table[6]).astype(kind)
    table = table[:4].astype(kind)
    own = counts.astype(kind)[:, :, None, None]
    result = np.empty((len(counts), len(grid)))
    block = max(1, BLOCK_ELEMENTS // prior.size)
    term = np.empty((min(block, len(counts)), *prior.shape), dtype=kind)
    for rows in _blocks(len(counts), block):
        log_density = own[rows, 0] * table[0] + prior
        for i in range(1, 4):
            log_density += np.multiply(own[rows, i], table[i], out=term[: len(log_density)])
        highest = log_density.max(axis=2, keepdims=True)
        log_density -= highest
        result[rows] = np.log(np.exp(log_density, out=log_density).sum(axis=2)) + highest[:, :, 0]
    return result


def mean_change_log_likelihood(
    change: FloatArray, squared_error: FloatArray, degrees: FloatArray, grid: FloatArray
) -> FloatArray:
    """
    Log likelihood of each change of a mean, given the observed change and its squared standard error.

    Student's t with `degrees` degrees of freedom, since the spread is itself estimated from few leads. Where
    change or its error is NaN (a window without leads) the row is zero: nothing is known.
    """
    known = np.isfinite(change) & np.isfinite(squared_error)
    deviation = np.where(known, change, 0.0)[:, None] - grid[None, :]
    scale = np.where(known, np.maximum(degrees * squared_error, LEAST_SQUARED_ERROR), 1.0)[:, None]
    log_likelihood = -0.5 * (degrees[:, None] + 1) * np.log1p(deviation**2 / scale)
    return np.where(known[:, None], log_likelihood, 0.0)


def _blocks(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
