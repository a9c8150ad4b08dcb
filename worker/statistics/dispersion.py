"""How much more counts vary from week to week than independent arrivals would, by how many there are."""

from dataclasses import dataclass

import numpy as np

from worker.statistics import FloatArray, IntArray

LEAST_MEAN = 1.0  # leads a week; the spread of fewer tells next to nothing
PRIOR_WINDOWS = 4.0  # windows of Poisson counts that the answer leans on
ROUNDS = 5  # of the reweighting; nothing moves after three
OWN_DEGREES = 6.0  # the pool's dispersion counts as this many weeks beside a client's own


@dataclass(frozen=True, slots=True)
class Dispersion:
    """
    Variance over mean of weekly counts: base + slope x mean, both at their least for Poisson counts (1 and 0).

    Leads in bursts raise the base; weeks that are good or bad for all leads of a client raise the slope, and matter
    most where there are many (the negative binomial's two forms, Cameron & Trivedi 1986). `everyone` is that of all
    clients' counts together.
    """

    base: float
    slope: float
    everyone: float

    def at(self, mean: FloatArray) -> FloatArray:
        """Give the dispersion of counts of this mean."""
        return self.base + self.slope * mean


def fit_dispersion(weekly: IntArray) -> Dispersion:
    """
    Learn the dispersion from counts of shape (clients, windows, weeks), each window about its own mean.

    Weighted least squares of variance over mean on the mean, the weights being those of the answer itself; a slope
    that windows of equal size cannot show is taken for none.
    """
    mean = weekly.mean(axis=2).ravel()
    variance = weekly.var(axis=2, ddof=1).ravel()
    enough = mean >= LEAST_MEAN
    m, y = mean[enough], variance[enough] / mean[enough]
    base, slope = 1.0, 0.0
    for _ in range(ROUNDS):
        weight = 1 / (base + slope * m) ** 2
        total = weight.sum() + PRIOR_WINDOWS
        center = float((weight * m).sum() / total)
        level = float(((weight * y).sum() + PRIOR_WINDOWS) / total)
        # the prior's windows are small and Poisson
        spread = float((weight * (m - center) ** 2).sum() + PRIOR_WINDOWS * center**2)
        along = float((weight * (m - center) * (y - level)).sum() - PRIOR_WINDOWS * center * (1 - level))
        slope = max(0.0, along / spread) if spread > 0 else 0.0
        base = level - slope * center
        if base < 1:
            base, slope = 1.0, max(0.0, level - 1) / center if center > 0 else 0.0
    of_all = mean @ (base + slope * mean) / mean.sum() if mean.sum() > 0 else base
    return Dispersion(base, slope, float(of_all))


def dispersion_of_each(weekly: IntArray, expected: FloatArray) -> FloatArray:
    """
    Give each client's own dispersion, shape (clients,): what is expected, or more where its own weeks show more.

    expected : shape (clients,). A client's own few weeks are drawn to it, and never make an error narrower.
    """
    mean = weekly.mean(axis=2)
    enough = mean >= LEAST_MEAN
    squares = np.where(enough, weekly.var(axis=2) * weekly.shape[2] / np.maximum(mean, LEAST_MEAN), 0.0).sum(axis=1)
    degrees = (weekly.shape[2] - 1.0) * enough.sum(axis=1)
    own = (squares + OWN_DEGREES * expected) / (degrees + OWN_DEGREES)
    wider: FloatArray = np.maximum(own, expected)
    return wider
