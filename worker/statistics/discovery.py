"""
Many questions at once: which differences to report, how sure each is, and how large it really is.

Within a run: the weighted procedure of Benjamini & Hochberg (Genovese, Roeder & Wasserman 2006), groups of questions
in which more is found getting more of the error rate (Hu, Zhao & Zhou 2010), as found in the other half of the clients
(Ignatiadis, Klaus, Zaugg & Huber 2016): weights that had seen the answers they weigh would find too much. Over days:
the same questions are asked again every day, so a run may spend only what it has earned (`level_of_run`). How sure one
answer is: the local false discovery rate of two groups, null and real (Efron 2010), the real effects being a mixture
of half normals (Stephens 2017), learned over all questions and, each drawn to the one above it, in ever smaller groups
of questions.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit, ndtr, ndtri

from worker.statistics import BoolArray, FloatArray, IntArray

SCALES = np.array([0.05, 0.1, 0.2, 0.4, 0.8, 1.6])  # standard deviations of real effects, in the effects' own unit
NULL_SHARE = 0.9  # before any data, nine questions in ten are about nothing
NULL_STRENGTH = 20.0  # questions that this belief counts as, in the family
GROUP_STRENGTH = 20.0  # questions that the group above counts as, in each group
EM_STEPS = 200
EM_TOLERANCE = 1e-4  # of the weights
# the cells that the weights are learned from: z to the nearest quarter, errors on the log scale
LARGEST_Z, Z_STEP, ERROR_STEP = 7.5, 0.25, 0.3
FINDABLE_Z = 3.0  # a real effect this far out is likely to be found
LEAST_WEIGHT = 0.05  # of a group in which nothing was ever found, beside a mean weight of 1
FARTHEST_Z = 40.0  # beyond it nothing is surer, and squares overflow in the end
NODES = 16  # quantiles that stand for one component of a posterior

MAX_LEVEL = 0.10  # false discovery rate of a single run
# bound on the chance of telling a client anything false in a year in which nothing changes; twice that in the first one
FALSE_A_CLIENT_YEAR = 0.02
EARNED_BY_A_DISCOVERY = 0.10  # false patterns that a true one pays for
EARNING_DAYS = 30.0  # over which it is paid out


def two_sided_p(z: FloatArray) -> FloatArray:
    """Give the two-sided p-value of each z under the standard normal."""
    p: FloatArray = 2 * ndtr(-np.abs(z))
    return p


def level_of_run(n_clients: int, days_since_last: float | None, recent: int) -> float:
    """
    Give the false discovery rate that one of many runs over time may work at.

    Patterns stay in their windows for a month and are asked for every day, so a false discovery rate for each run
    says nothing of a year. Instead a budget of expected false discoveries is paid out day by day: a fixed allowance
    for each client, and a part of every discovery of the last 30 days. The idea is alpha investing (Foster & Stine
    2008; LORD and SAFFRON in Ramdas et al. 2018), with discoveries forgotten after a while (Ramdas et al. 2017), for
    batches of questions: a run of Benjamini-Hochberg at level q in which nothing is real finds anything with
    probability at most q, so the sum of the levels bounds how often quiet times are disturbed (by more than one
    pattern at a time, since what looks changed against the past mostly does so against the pool); in busy times each
    run holds q <= 0.10 by itself. Windows overlap, so far less than the sum comes true. What is not spent is lost: only
    the days without any run are made up for.

    Parameters
    ----------
    days_since_last : since the last run; None for the first one ever, which may spend a year's allowance at once:
        nobody has been told anything yet. The days after it earn theirs on top, so the bound for a client is
        2 FALSE_A_CLIENT_YEAR = 0.04 in the first year, and 0.02 in each later one.
    recent : discoveries of the last 30 days.
    """
    allowance = FALSE_A_CLIENT_YEAR * n_clients
    if days_since_last is None:
        return min(MAX_LEVEL, allowance)
    daily = allowance / 365 + EARNED_BY_A_DISCOVERY * recent / EARNING_DAYS
    return min(MAX_LEVEL, days_since_last * daily)


def discoveries(p: FloatArray, q: float, weight: FloatArray | None = None) -> tuple[BoolArray, float]:
    """
    Mark the hypotheses that may be reported with false discovery rate q (Benjamini & Hochberg 1995).

    weight : shape (hypotheses,), positive, mean 1; p / weight takes the place of p (Genovese et al. 2006).

    Returns the marks, and the largest p / weight among them (0 where there is none).
    """
    m = len(p)
    weighted = p if weight is None else p / weight
    if m == 0:
        return np.zeros(0, dtype=bool), 0.0
    ordered = np.sort(weighted)
    passing = np.flatnonzero(ordered <= q * np.arange(1, m + 1) / m)
    if len(passing) == 0:
        return np.zeros(m, dtype=bool), 0.0
    cut = float(ordered[passing[-1]])
    return weighted <= cut, cut


def carried_probability(before: float, z_before: float, z_now: float, shrink: float, days: float) -> float:
    """
    Carry the probability that an effect is real on to another look at windows that largely overlap.

    Most of today's leads were there at the last look, so today's z counts only as far as it is new: z_now less what
    z_before foretells. If nothing is real that is noise alone; if the effect is and lasts, it leans the effect's way.
    The odds change by the ratio of the two densities: an effect that fades loses its probability day by day.

    Parameters
    ----------
    before : probability at the last look. z_before, z_now : positive in the direction that was claimed.
    shrink : what part of a z is effect rather than luck, in (0, 1].
    days : since the last look, below 30; the same instant changes nothing.
    """
    if days <= 0:
        return before
    if days >= EARNING_DAYS:
        raise ValueError(f"windows of looks {days} days apart overlap too little to carry anything on")
    z_before, z_now = np.clip([z_before, z_now], -FARTHEST_Z, FARTHEST_Z).tolist()
    # two windows of 30 days side by side, one counted negative: their overlap with themselves some days later
    correlation = 1 - 3 * days / (2 * EARNING_DAYS)
    news, noise = z_now - correlation * z_before, 1 - correlation**2
    lean, more = (1 - correlation) * shrink * z_before, (1 - correlation) ** 2 * shrink
    log_ratio = 0.5 * (news**2 / noise - (news - lean) ** 2 / (noise + more) - np.log1p(more / noise))
    odds = np.clip(before, 1e-6, 1 - 1e-6)
    return float(expit(logit(odds) + log_ratio))


@dataclass(frozen=True, slots=True)
class TwoGroups:
    """
    Null effects (column 0) and real ones, upwards (the next columns) and downwards, each a half normal of SCALES.

    weights : shape (groups, 1 + 2 scales), each row summing to 1.
    """

    weights: FloatArray


def fit_two_groups(z: FloatArray, error: FloatArray, group: IntArray, parent: IntArray, n_parents: int) -> TwoGroups:
    """
    Learn for each group of questions how many are null and how large real effects are.

    Parameters
    ----------
    z, error : shape (questions,); the observed effect is z * error, its standard error is `error`.
    group : shape (questions,), 0 to n_groups - 1.
    parent : shape (n_groups,), the larger group that each is a part of, 0 to n_parents - 1.

    Notes
    -----
    Penalised EM on counts in cells of z and log error; first over all questions, drawn to NULL_SHARE, then in every
    larger group, drawn to what all questions said, then in every group, drawn to its parent. A group without questions
    is believed to be like its parent.
    """
    n_groups = len(parent)
    base = np.concatenate([[NULL_SHARE], np.full(2 * len(SCALES), (1 - NULL_SHARE) / (2 * len(SCALES)))])
    if len(z) == 0:
        return TwoGroups(np.tile(base, (n_groups, 1)))
    z_code = np.rint(np.clip(z, -LARGEST_Z, LARGEST_Z) / Z_STEP).astype(np.int64)
    error_code = np.rint(np.log(error) / ERROR_STEP).astype(np.int64)
    n_z, least_z = 2 * round(LARGEST_Z / Z_STEP) + 1, -round(LARGEST_Z / Z_STEP)
    least_error = int(error_code.min())
    n_error = int(error_code.max()) - least_error + 1
    flat = (group * n_error + error_code - least_error) * n_z + z_code - least_z
    table = np.bincount(flat, minlength=n_groups * n_error * n_z).reshape(n_groups, -1).astype(np.float64)
    cells = np.flatnonzero(table.sum(axis=0))
    cell_z = ((cells % n_z + least_z) * Z_STEP).astype(np.float64)
    cell_error = np.exp((cells // n_z + least_error) * ERROR_STEP)
    density = _densities(cell_z, cell_error)
    table = table[:, cells]
    family = _learn(density, table.sum(axis=0, keepdims=True), base[None, :], NULL_STRENGTH)
    of_parent = (parent[None, :] == np.arange(n_parents)[:, None]) @ table
    parents = _learn(density, of_parent, np.tile(family, (n_parents, 1)), GROUP_STRENGTH)
    return TwoGroups(_learn(density, table, parents[parent], GROUP_STRENGTH))


def _learn(density: FloatArray, table: FloatArray, base: FloatArray, strength: float) -> FloatArray:
    """Find the weights of each row of `table` (groups, cells), drawn to the same row of `base` (groups, components)."""
    n = table.sum(axis=1, keepdims=True)
    weights = base
    for _ in range(EM_STEPS):
        marginal = weights @ density.T
        new = (weights * ((table / marginal) @ density) + strength * base) / (n + strength)
        done = np.abs(new - weights).max() < EM_TOLERANCE
        weights = new
        if done:
            break
    return weights


def group_weights(groups: TwoGroups, error: FloatArray, group: IntArray) -> FloatArray:
    """
    Say how much of the error rate each group deserves: in proportion to how much can be found in it.

    groups : learned from other answers than those that will be weighed.

    By the share of its questions expected to be real and more than FINDABLE_Z out, for each question that is not
    (Hu, Zhao & Zhou 2010, with what can be found instead of all that is real). The mean over questions is 1.

    Returns
    -------
    Shape (groups,), positive.
    """
    n_groups = len(groups.weights)
    n = np.bincount(group, minlength=n_groups)
    # a group's typical error: the weights are for the group, not for its large and small clients
    typical = np.exp(np.bincount(group, weights=np.log(error), minlength=n_groups) / np.maximum(n, 1))
    sd = np.sqrt(1 + (np.tile(SCALES, 2)[None, :] / typical[:, None]) ** 2)
    findable = (groups.weights[:, 1:] * 2 * ndtr(-FINDABLE_Z / sd)).sum(axis=1)
    raw = findable / (1 - findable)
    mean = (n * raw).sum() / max(n.sum(), 1)
    weights = np.maximum(raw / mean if mean > 0 else np.ones(n_groups), LEAST_WEIGHT)
    scaled: FloatArray = weights * (n.sum() / np.maximum((n * weights).sum(), 1e-12)) if n.any() else weights
    return scaled


@dataclass(frozen=True, slots=True)
class EffectPosterior:
    """
    What is believed of each effect: null, or a normal around `mean` cut off at zero, by component.

    belief : shape (questions, components), summing to 1 in each row.
    mean, spread : shape (questions, scales), in standard errors: before the cut, the same for both signs.
    z, error : shape (questions,)
    """

    belief: FloatArray
    mean: FloatArray
    spread: FloatArray
    z: FloatArray
    error: FloatArray

    @property
    def local_fdr(self) -> FloatArray:
        """Probability of being null."""
        null: FloatArray = self.belief[:, 0]
        return null

    @property
    def same_sign(self) -> FloatArray:
        """Probability of being real and having the sign that was seen: (1 - local fdr) x P(sign | real)."""
        n = len(SCALES)
        up, down = self.belief[:, 1 : 1 + n].sum(axis=1), self.belief[:, 1 + n :].sum(axis=1)
        sure: FloatArray = np.minimum(np.where(self.z >= 0, up, down), 1.0)  # a sum of shares may round above 1
        return sure

    def quantiles(self, levels: FloatArray) -> FloatArray:
        """Give quantiles of each effect in its own unit, shape (questions, levels), null included, by bisection."""
        low = np.repeat((self.mean.min(axis=1) - 9)[:, None], len(levels), axis=1)
        high = np.repeat((self.mean.max(axis=1) + 9)[:, None], len(levels), axis=1)
        low, high = np.minimum(low, -1.0), np.maximum(high, 1.0)
        for _ in range(40):
            middle = (low + high) / 2
            under = self._cumulative(middle) < levels
            low, high = np.where(under, middle, low), np.where(under, high, middle)
        result: FloatArray = high * self.error[:, None]
        return np.where(np.abs(high) < 1e-6, 0.0, result)

    def expectation(self) -> FloatArray:
        """Expect each effect in its own unit, null included: shrunken, so that being chosen does not inflate it."""
        nodes, weight = self._nodes()
        expected: FloatArray = (nodes * weight).sum(axis=1) * self.error
        return expected

    def half_agrees(self, resemblance: FloatArray) -> FloatArray:
        """
        Predict with which probability another half of the same leads shows an effect of the sign seen in this one.

        resemblance : shape (questions,), correlation of the two halves' noise, for leads of one burst are in both.
        The posterior is that of the first half alone; the other half's noise is as large.
        """
        nodes, weight = self._nodes()
        r = resemblance[:, None]
        expected = nodes + r * (self.z[:, None] - nodes)
        agree = ndtr(np.sign(self.z)[:, None] * expected / np.sqrt(np.maximum(1 - r**2, 1e-6)))
        probability: FloatArray = (agree * weight).sum(axis=1)
        return np.clip(probability, 0.0, 1.0)

    def _cumulative(self, x: FloatArray) -> FloatArray:
        """P(effect <= x) in standard errors, x of shape (questions, levels)."""
        n = len(SCALES)
        m, s = self.mean[:, None, :], self.spread[:, None, :]
        below, zero = ndtr((x[:, :, None] - m) / s), ndtr(-m / s)
        positive = np.where(x[:, :, None] > 0, (below - zero) / np.maximum(1 - zero, 1e-300), 0.0)
        negative = np.minimum(below / np.maximum(zero, 1e-300), 1.0)
        up, down = self.belief[:, None, 1 : 1 + n], self.belief[:, None, 1 + n :]
        total: FloatArray = (up * positive + down * negative).sum(axis=2) + self.belief[:, :1] * (x >= 0)
        return total

    def _nodes(self) -> tuple[FloatArray, FloatArray]:
        """Give points and weights, shape (questions, nodes), that stand for the distribution, in standard errors."""
        u = (np.arange(NODES) + 0.5) / NODES
        m, s = self.mean[:, :, None], self.spread[:, :, None]
        # by the nearer tail, or a cut far out would round to nothing
        up = np.maximum(m - s * ndtri(np.maximum(u * ndtr(m / s), 1e-300)), 0.0)
        down = np.minimum(m + s * ndtri(np.maximum(u * ndtr(-m / s), 1e-300)), 0.0)
        points = np.concatenate([up, down], axis=1)
        weight = np.broadcast_to(self.belief[:, 1:, None] / NODES, points.shape)
        n = len(self.z)
        null = np.zeros((n, 1)), self.belief[:, :1]
        return (
            np.concatenate([null[0], points.reshape(n, points.shape[1] * NODES)], axis=1),
            np.concatenate([null[1], weight.reshape(n, points.shape[1] * NODES)], axis=1),
        )


def effect_posterior(z: FloatArray, error: FloatArray, weights: FloatArray) -> EffectPosterior:
    """
    Apply Bayes' rule question by question.

    weights : shape (questions, components), the row of TwoGroups.weights of each question's group. Each answer depends
    on its own row alone.
    """
    joint = _densities(z, error) * weights
    shrink = 1 / (1 + (error[:, None] / SCALES) ** 2)
    return EffectPosterior(joint / joint.sum(axis=1, keepdims=True), z[:, None] * shrink, np.sqrt(shrink), z, error)


def _densities(z: FloatArray, error: FloatArray) -> FloatArray:
    """Density of each z in each component, relative to the likeliest normal's: far in the tails others vanish."""
    inverse = 1 / (1 + (SCALES / error[:, None]) ** 2)
    exponent = np.concatenate([np.zeros((len(z), 1)), 0.5 * z[:, None] ** 2 * (1 - inverse)], axis=1)
    highest = exponent.max(axis=1, keepdims=True)
    normal = np.exp(exponent - highest)
    width = np.sqrt(inverse)
    side = ndtr(z[:, None] * np.sqrt(1 - inverse))
    wide = 2 * normal[:, 1:] * width
    return np.concatenate([normal[:, :1], wide * side, wide * (1 - side)], axis=1)
