"""
Has a client's rate changed? Posterior probabilities of down, stable and up, with a prior learned over clients.

Clients are small: a client's own two windows say little, but all clients together say how large changes
usually are. The prior of the change lives on a fixed grid and is learned by maximum penalised likelihood
(Kiefer & Wolfowitz 1956; Koenker & Mizera 2014; Stephens 2017 for the spike at zero), and each client's
posterior follows by Bayes' rule.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.special import betaincinv, ndtr

from worker.statistics import FloatArray, IntArray

DECREASING, STABLE, INCREASING = 0, 1, 2
CLASS_NAMES = ("decreasing", "stable", "increasing")

PRIOR_STRENGTH = 3.0  # the base measure counts as this many clients; more makes a world without changes too modest
SPIKE = 0.5  # the base measure's mass at "nothing changed"
EM_STEPS = 200
EM_TOLERANCE = 1e-7  # change of the mean log likelihood, per client
NODES = 32  # quadrature nodes over the level; against exact integrals no class probability is off by more than .003
LEAST_SQUARED_ERROR = 1e-12  # equal scores have no spread; their mean is still not known without error
BLOCK = 128  # clients at a time, so that memory does not grow with their number


@dataclass(frozen=True, slots=True)
class ChangePrior:
    """The distribution of true changes over clients: `weights[g]` at `grid[g]`, dead band in the grid's unit."""

    grid: FloatArray
    weights: FloatArray
    dead_band: float

    def as_json(self) -> dict[str, Any]:
        """Give the prior as the plain JSON that a model stores."""
        return {"grid": self.grid.tolist(), "weights": self.weights.tolist(), "dead_band": self.dead_band}

    @classmethod
    def from_json(cls, model: Mapping[str, Any]) -> Self:
        """Take the prior out of a stored model."""
        return cls(np.array(model["grid"]), np.array(model["weights"]), float(model["dead_band"]))


@dataclass(frozen=True, slots=True)
class ChangePosterior:
    """What is believed of each client's change: shape (clients, grid) mass, and the classes' probabilities."""

    prior: ChangePrior
    mass: FloatArray

    @property
    def class_probability(self) -> FloatArray:
        """Shape (clients, 3): probability that the true change is decreasing, stable, increasing."""
        grid, band = self.prior.grid, self.prior.dead_band
        down: FloatArray = np.where(grid < -band, self.mass, 0.0).sum(axis=1)
        up: FloatArray = np.where(grid > band, self.mass, 0.0).sum(axis=1)
        # sums of shares may round above 1
        return np.clip(np.stack([down, 1.0 - down - up, up], axis=1), 0.0, 1.0)

    @property
    def mean(self) -> FloatArray:
        """Shape (clients,): the expected true change."""
        mean: FloatArray = (self.mass * self.prior.grid).sum(axis=1)
        return mean

    def interval(self, level: float) -> tuple[FloatArray, FloatArray]:
        """Give the equal-tailed interval of each client's change, mass spread evenly over the grid's cells."""
        grid = self.prior.grid
        middle = (grid[1:] + grid[:-1]) / 2
        edges = np.concatenate([grid[:1], middle, grid[-1:]])
        cumulative = np.concatenate([np.zeros((len(self.mass), 1)), np.cumsum(self.mass, axis=1)], axis=1)
        tails = np.array([(1 - level) / 2, (1 + level) / 2])
        ends = np.array([np.interp(tails, row, edges) for row in cumulative]).reshape(-1, 2)
        return ends[:, 0], ends[:, 1]


def change_grid(dead_band: float, step: float, fine_to: float, coarse_step: float, limit: float) -> FloatArray:
    """
    Lay out possible changes: every `step` up to `fine_to`, then every `coarse_step` up to `limit`, both signs.

    The ends of the dead band are left out, so that each point belongs to one class without a tie.
    """
    fine = np.arange(1, round(fine_to / step) + 1) * step
    coarse = np.arange(1, round((limit - fine_to) / coarse_step) + 1) * coarse_step + fine_to
    positive = np.concatenate([fine, coarse])
    positive = positive[~np.isclose(positive, dead_band, rtol=0, atol=step / 100)]
    grid: FloatArray = np.concatenate([-positive[::-1], [0.0], positive])
    return grid


def base_measure(grid: FloatArray, scale: float) -> FloatArray:
    """Give the prior of a client alone: half at zero, half normal with standard deviation `scale` over the cells."""
    width = np.gradient(grid)
    slab = np.exp(-0.5 * (grid / scale) ** 2) * width
    base: FloatArray = SPIKE * (grid == 0) + (1 - SPIKE) * slab / slab.sum()
    return base


def fit_change_prior(log_likelihood: FloatArray, grid: FloatArray, dead_band: float, base: FloatArray) -> ChangePrior:
    """
    Learn how changes are distributed over clients.

    Parameters
    ----------
    log_likelihood : shape (clients, grid); a row of equal values says nothing and does no harm.
    grid, base : shape (grid,); base is the measure the answer is drawn to, as if by PRIOR_STRENGTH clients.

    Returns
    -------
    The prior. With fewer than two clients it is the base measure: a client cannot tell itself how clients differ.
    """
    weights = base.copy()
    if len(log_likelihood) < 2:
        return ChangePrior(grid, weights, dead_band)
    likelihood = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
    total = len(likelihood) + PRIOR_STRENGTH
    previous = -np.inf
    for _ in range(EM_STEPS):
        marginal = likelihood @ weights
        objective = float(np.log(marginal).mean())
        weights = (weights * (likelihood / marginal[:, None]).sum(axis=0) + PRIOR_STRENGTH * base) / total
        if abs(objective - previous) < EM_TOLERANCE:
            break
        previous = objective
    return ChangePrior(grid, weights / weights.sum(), dead_band)


def posterior_of_change(log_likelihood: FloatArray, prior: ChangePrior) -> ChangePosterior:
    """Combine each client's likelihood with the prior; each row depends on that client's row alone."""
    with np.errstate(divide="ignore"):
        joint = log_likelihood + np.log(prior.weights)
    mass = np.exp(joint - joint.max(axis=1, keepdims=True))
    return ChangePosterior(prior, mass / mass.sum(axis=1, keepdims=True))


def _blocks(n: int) -> Iterator[slice]:
    return (slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK))


def share_change_log_likelihood(
    k_previous: IntArray,
    n_previous: IntArray,
    k_current: IntArray,
    n_current: IntArray,
    grid: FloatArray,
    *,
    level_prior: tuple[float, float],
) -> FloatArray:
    """
    Log likelihood of each change of a share, given two binomial counts per client; the level is integrated out.

    The level is the middle between the two windows' true shares, with a Beta prior that is to be learned from both
    windows' counts together (a prior on one window's share, or one learned from the windows apart, explains changes
    away). Both binomial likelihoods are exact. The integral over the level takes NODES equally probable points of the
    posterior under "no change", moved for each change to where the integrand then lies, and weighs them by
    importance; so it is as good for a million leads as for one.

    Parameters
    ----------
    k_previous, n_previous, k_current, n_current : shape (clients,); 0 <= k <= n, n may be 0.
    grid : shape (grid,), changes of the share, within [-1, 1].
    level_prior : parameters of the Beta distribution.

    Returns
    -------
    Shape (clients, grid), up to a constant per client; -inf where a change is impossible.
    """
    result = np.empty((len(k_previous), len(grid)))
    for rows in _blocks(len(k_previous)):
        result[rows] = _two_binomials(
            k_previous[rows, None, None],
            n_previous[rows, None, None],
            k_current[rows, None, None],
            n_current[rows, None, None],
            grid[None, :, None],
            level_prior=level_prior,
        )
    return result


def _two_binomials(
    k0: IntArray, n0: IntArray, k1: IntArray, n1: IntArray, change: FloatArray, *, level_prior: tuple[float, float]
) -> FloatArray:
    """Integrate over the level; the axes are client, change, node."""
    a, b = level_prior
    a_post, b_post = a + k0 + k1, b + n0 - k0 + n1 - k1
    u = (np.arange(NODES) + 0.5) / NODES
    node = np.clip(betaincinv(a_post, b_post, u), 1e-9, 1 - 1e-9)
    level = node + change / 2 * ((n0 - n1) / (n0 + n1 + a + b))
    possible = np.minimum(level, 1 - level) > np.abs(change) / 2 + 1e-12  # so that no rate rounds to 0 or 1
    level = np.where(possible, level, 0.5)
    half = np.where(possible, change / 2, 0.0)
    p0, p1 = level - half, level + half
    log_density = (
        k0 * np.log(p0)
        + (n0 - k0) * np.log1p(-p0)
        + k1 * np.log(p1)
        + (n1 - k1) * np.log1p(-p1)
        + (a - 1) * np.log(level)
        + (b - 1) * np.log1p(-level)
        - ((a_post - 1) * np.log(node) + (b_post - 1) * np.log1p(-node))
    )
    log_density = np.where(possible, log_density, -np.inf)
    highest = log_density.max(axis=2, keepdims=True)
    highest = np.where(np.isfinite(highest), highest, 0.0)  # no node possible: exp(-inf - 0) is 0, as it should be
    with np.errstate(divide="ignore"):  # log 0 is -inf, as promised
        total: FloatArray = np.log(np.exp(log_density - highest).sum(axis=2) / NODES) + highest[:, :, 0]
    return total


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


def said_class(class_probability: FloatArray) -> IntArray:
    """Choose the most probable class of each client; STABLE wins ties."""
    order: IntArray = np.array([STABLE, DECREASING, INCREASING])
    said: IntArray = order[class_probability[:, order].argmax(axis=1)]
    return said


def normal_cumulative(grid: FloatArray, standard_error: FloatArray) -> Callable[[float], FloatArray]:
    """Make P(observed change <= x | true change on the grid) for normal errors, shape (clients, grid)."""
    return lambda x: ndtr((x - grid[None, :]) / standard_error[:, None])


def probability_class_seen(
    posterior: ChangePosterior, said: IntArray, cumulative: Callable[[float], FloatArray]
) -> FloatArray:
    """
    Predictive probability that a new measurement's observed change falls in the class that was said.

    cumulative(x) : shape (clients, grid), P(observed change <= x | true change is the grid's point).
    """
    band = posterior.prior.dead_band
    down, not_up = cumulative(-band), cumulative(band)
    by_class = np.stack([down, not_up - down, 1 - not_up], axis=0)
    given_change = by_class[said, np.arange(len(said))]
    probability: FloatArray = (posterior.mass * given_change).sum(axis=1)
    return np.clip(probability, 0.0, 1.0)
