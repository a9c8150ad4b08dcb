"""Many questions at once: which differences to report, how sure each is, and how large it really is."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from worker.statistics import BoolArray, FloatArray

SCALES = np.array([1.5, 2.5, 4.0, 6.0, 10.0])  # standard deviations of real effects, in standard errors
NULL_STRENGTH = 20.0  # the prior counts as this many hypotheses, nine in ten of them null
NULL_SHARE = 0.9
EM_STEPS = 300


@dataclass(frozen=True, slots=True)
class TwoGroups:
    """Null hypotheses (weight 0) and real effects of several scales (the other weights); the weights sum to 1."""

    weights: FloatArray


def two_sided_p(z: FloatArray) -> FloatArray:
    """Give the two-sided p-value of each z under the standard normal."""
    p: FloatArray = 2 * ndtr(-np.abs(z))
    return p


def discoveries(p: FloatArray, q: float) -> BoolArray:
    """Mark the hypotheses that may be reported with false discovery rate q (Benjamini & Hochberg 1995)."""
    m = len(p)
    if m == 0:
        return np.zeros(0, dtype=bool)
    order = np.argsort(p, kind="stable")
    passing = np.flatnonzero(p[order] <= q * np.arange(1, m + 1) / m)
    reported = np.zeros(m, dtype=bool)
    if len(passing):
        reported[order[: passing[-1] + 1]] = True
    return reported


def fit_two_groups(z: FloatArray) -> TwoGroups:
    """
    Learn how many of all hypotheses are null and how large real effects are (Efron 2010; Stephens 2017).

    The z of a real effect of scale s has variance 1 + s^2. EM with a Dirichlet prior towards null; with no hypothesis
    the prior itself comes back.
    """
    base = np.concatenate([[NULL_SHARE], np.full(len(SCALES), (1 - NULL_SHARE) / len(SCALES))])
    weights = base.copy()
    if len(z) == 0:
        return TwoGroups(weights)
    density = _densities(z)
    for _ in range(EM_STEPS):
        responsibility = _responsibility(density, weights)
        new = (responsibility.sum(axis=0) + NULL_STRENGTH * base) / (len(z) + NULL_STRENGTH)
        if np.abs(new - weights).max() < 1e-8:
            break
        weights = new
    return TwoGroups(weights)


@dataclass(frozen=True, slots=True)
class EffectPosterior:
    """What is believed of each effect, in standard errors: shape (hypotheses,) each."""

    local_fdr: FloatArray  # probability of being null
    same_sign: FloatArray  # probability of being real and having the sign that was seen
    mean: FloatArray  # expected effect, null included
    second_moment: FloatArray  # of the effect, for the spread


def effect_posterior(z: FloatArray, groups: TwoGroups) -> EffectPosterior:
    """Apply Bayes' rule hypothesis by hypothesis; each answer depends on its own z and the learned groups alone."""
    responsibility = _responsibility(_densities(z), groups.weights)
    shrink = SCALES**2 / (1 + SCALES**2)
    mean = z[:, None] * shrink
    spread = np.sqrt(shrink)
    real = responsibility[:, 1:]
    sign = ndtr(np.abs(mean) / spread)
    return EffectPosterior(
        local_fdr=responsibility[:, 0],
        same_sign=np.minimum((real * sign).sum(axis=1), 1.0),  # a sum of shares may round above 1
        mean=(real * mean).sum(axis=1),
        second_moment=(real * (mean**2 + spread**2)).sum(axis=1),
    )


def probability_half_agrees(z: FloatArray, groups: TwoGroups) -> FloatArray:
    """
    Predictive probability that a fresh half of the leads shows an effect of the sign seen in the other half.

    z : of the half that was looked at; a half's effect has the same mean and the fresh half the same noise.
    """
    responsibility = _responsibility(_densities(z), groups.weights)
    shrink = SCALES**2 / (1 + SCALES**2)
    mean = np.abs(z)[:, None] * shrink
    agree = ndtr(mean / np.sqrt(shrink + 1))
    probability: FloatArray = responsibility[:, 0] * 0.5 + (responsibility[:, 1:] * agree).sum(axis=1)
    return np.minimum(probability, 1.0)


def _densities(z: FloatArray) -> FloatArray:
    """Density of each z in each group, relative to the likeliest group's: far in the tails all others vanish."""
    sd = np.sqrt(1 + np.concatenate([[0.0], SCALES]) ** 2)
    log_density = -0.5 * (z[:, None] / sd) ** 2 - np.log(sd)
    density: FloatArray = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    return density


def _responsibility(density: FloatArray, weights: FloatArray) -> FloatArray:
    """Give each hypothesis's probability of belonging to each group."""
    joint = density * weights
    shares: FloatArray = joint / joint.sum(axis=1, keepdims=True)
    return shares
