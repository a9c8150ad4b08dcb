"""
Has a client's rate changed? Posterior probabilities of down, stable and up, with a prior learned over clients.

Each client's likelihood (worker/statistics/change_likelihood.py) meets what all clients together say of how much
clients change (worker/statistics/change_prior.py); here is what can be said of the result.
"""

from dataclasses import dataclass

import numpy as np

from worker.statistics import BoolArray, FloatArray, IntArray
from worker.statistics.change_prior import ChangePrior, posterior_mass

DECREASING, STABLE, INCREASING = 0, 1, 2
CLASS_NAMES = ("decreasing", "stable", "increasing")


@dataclass(frozen=True, slots=True)
class ChangePosterior:
    """What is believed of each client's change: shape (clients, grid) mass, and the classes' probabilities."""

    grid: FloatArray
    dead_band: float
    mass: FloatArray

    def only(self, rows: IntArray) -> "ChangePosterior":
        """Keep some of the clients."""
        return ChangePosterior(self.grid, self.dead_band, self.mass[rows])

    @property
    def class_probability(self) -> FloatArray:
        """Shape (clients, 3): probability that the true change is decreasing, stable, increasing."""
        down: FloatArray = np.where(self.grid < -self.dead_band, self.mass, 0.0).sum(axis=1)
        up: FloatArray = np.where(self.grid > self.dead_band, self.mass, 0.0).sum(axis=1)
        # sums of shares may round above 1
        return np.clip(np.stack([down, 1.0 - down - up, up], axis=1), 0.0, 1.0)

    @property
    def mean(self) -> FloatArray:
        """Shape (clients,): the expected true change."""
        mean: FloatArray = (self.mass * self.grid).sum(axis=1)
        return mean

    def interval(self, level: float) -> tuple[FloatArray, FloatArray]:
        """Give the equal-tailed interval of each client's change, mass spread evenly over the grid's cells."""
        grid = self.grid
        middle = (grid[1:] + grid[:-1]) / 2
        edges = np.concatenate([grid[:1], middle, grid[-1:]])
        cumulative = np.concatenate([np.zeros((len(self.mass), 1)), np.cumsum(self.mass, axis=1)], axis=1)
        rows = np.arange(len(cumulative))

        def quantile(tail: float) -> FloatArray:
            above = np.clip((cumulative <= tail).sum(axis=1), 1, len(edges) - 1)
            low, high = cumulative[rows, above - 1], cumulative[rows, above]
            part = np.where(high > low, (tail - low) / np.where(high > low, high - low, 1.0), 0.0)
            result: FloatArray = edges[above - 1] + np.clip(part, 0, 1) * (edges[above] - edges[above - 1])
            return result

        return quantile((1 - level) / 2), quantile((1 + level) / 2)


def posterior_of_change(log_likelihood: FloatArray, prior: ChangePrior, counted: BoolArray) -> ChangePosterior:
    """
    Combine each client's likelihood, shape (clients, grid), with the prior.

    counted : shape (clients,), whether the client was among those that the prior was learned from.
    """
    return ChangePosterior(prior.among.grid, prior.among.dead_band, posterior_mass(log_likelihood, prior, counted))


def said_class(class_probability: FloatArray) -> IntArray:
    """Choose the most probable class of each client; STABLE wins ties."""
    order: IntArray = np.array([STABLE, DECREASING, INCREASING])
    said: IntArray = order[class_probability[:, order].argmax(axis=1)]
    return said


def class_of(change: FloatArray, dead_band: float) -> IntArray:
    """Give the class of an observed change; a change that equals the dead band is stable, and so is NaN."""
    edge = dead_band * (1 + 1e-9)  # .35 - .30 is a hair above .05
    with np.errstate(invalid="ignore"):
        result: IntArray = STABLE + (change > edge).astype(np.int64) - (change < -edge).astype(np.int64)
    return result
