"""
How much do clients change? Learned over all clients and over past periods, as an average over candidate answers.

Clients are small: a client's own two windows say little, but all clients together say how large changes usually are.
How they are distributed is itself known only roughly, so no single distribution is picked: each candidate (a share of
clients that stand still, and a shape, place and scale for the changes of the others) counts by how well it explains
all clients, its prior weight included (Bayesian model averaging, Hoeting, Madigan, Raftery & Volinsky 1999; a spike
beside a slab as in Stephens 2017). The best single distribution (Kiefer & Wolfowitz 1956; Koenker & Mizera 2014)
takes chance for structure where clients are small, and is then too sure.

A client's own posterior uses the weights without that client (each candidate's weight divided by what the client
itself contributed): with a thousand clients it makes no difference, with three it keeps a client from being its own
witness, and with one that has no history it leaves exactly the prior that is documented here. Its own past periods
stay in: a client that moved in every month before is taken for one that moves. Limit: neighbouring periods share a
window, and count as if they did not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np

from worker.statistics import BoolArray, FloatArray

# The candidates; sizes of changes are in dead bands, the unit in which a change is worth a word.
STILL_SHARES = np.array([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0])
_CENTRES = [0.2, 0.4, 0.6, 0.9, 1.2, 1.4, 1.6, 1.8, 2.0, 2.4, 2.8, 3.4, 4.2, 5.4]
CENTRES = np.array([-x for x in reversed(_CENTRES)] + [0.0, *_CENTRES])
NORMAL_SCALES = np.array([0.2, 0.4, 0.6, 0.8, 1.0, 1.3, 1.7, 2.4, 3.6, 6.0])  # standard deviations
TWO_SIDED = np.array([2.0, 3, 4, 5, 6, 8])  # about so far up or down, equally likely
TWO_SIDED_SCALE = 0.6
STUDENT_SCALES = np.array([0.4, 0.8, 1.4])
STUDENT_DEGREES = 2.5

# Their prior weights: chosen once, on simulated worlds drawn apart from those of the tests, so that no kind of world
# is judged much too surely (tests/calibration). Where few clients change, those change much: scales grow with the
# share of still ones.
ALL_STILL = 0.35  # at most; that not one of n clients changed is less plausible the more there are:
STILL_CLIENTS = 17.0  # if each stays still with an unknown chance ~ Beta(17, 1), all do with 17 / (17 + n)
NONE_STILL = 0.45
STILL_SLOPE = -1.2  # of the shares between, weight ~ share ** slope
SCALE = 0.98  # dead bands, where no client stands still
SCALE_GROWTH = 1.6  # of log scale, over the share of still clients from 0 to 1
SCALE_SPREAD = 0.13  # of log scale, upwards; the tails are wide enough to be overruled
SMALLER_SPREAD = 1.2  # times as much downwards
TWO_SIDED_WEIGHT, STUDENT_WEIGHT = 0.48, 0.09
TWO_SIDED_SHIFT, STUDENT_SHIFT = 0.3, -0.25  # of log scale beside the normal's
CENTRED = 0.2  # weight of "up and down alike"; the rest is spread normally over CENTRES
CENTRE_SPREAD = 2.3
FIXED_CENTRE = 0.5  # prior probability that past periods had the centre of this one, and not each its own

LEAST_WEIGHT = 1e-4  # of a candidate beside the best one; the rest changes no probability by .001
TINY = 1e-30
MULTIPLIED = 8  # of such: their product is far from the smallest double
BLOCK_ROWS = 8


@dataclass(frozen=True, slots=True)
class Candidates:
    """All distributions of changes thought possible: (still shares) x (shapes of the changes of the others)."""

    grid: FloatArray  # shape (grid,), possible changes
    dead_band: float
    shapes: FloatArray  # shape (shapes, grid), each summing to 1; the located normals first, centre by centre
    names: tuple[tuple[str, float, float], ...]  # kind, centre, scale; in dead bands
    shape_weights: FloatArray  # prior weight of each shape given the share of still clients, rows summing to 1

    def log_prior(self, n_clients: int) -> FloatArray:
        """Log prior weight of each candidate, shape (still shares, shapes), where so many clients are to be judged."""
        all_still = min(ALL_STILL, STILL_CLIENTS / (STILL_CLIENTS + n_clients))
        between = STILL_SHARES[1:-1] ** STILL_SLOPE
        between *= (1 - NONE_STILL - all_still) / between.sum()
        of_share = np.concatenate([[NONE_STILL], between, [all_still]])
        result: FloatArray = np.log(of_share[:, None] * self.shape_weights)
        return result

    @property
    def still(self) -> int:
        """Index of "nothing changed" in the grid."""
        return int(np.flatnonzero(self.grid == 0)[0])


def change_grid(dead_band: float, limit: float) -> FloatArray:
    """
    Lay out possible changes up to `limit` on both sides: a fifth of a dead band apart up to six, then a whole one.

    The ends of the dead band are left out, so that each point belongs to one class without a tie.
    """
    fine = np.arange(1, 31) / 5
    coarse = np.arange(7, int(np.ceil(limit / dead_band)))
    positive = np.concatenate([fine[fine != 1], coarse]) * dead_band
    positive = positive[positive < limit * (1 - 1e-9)]
    grid: FloatArray = np.concatenate([-positive[::-1], [0.0], positive])
    return grid


def candidates(grid: FloatArray, dead_band: float) -> Candidates:
    """Build the candidates over a grid; the grid must hold 0."""
    return _candidates(tuple(grid.tolist()), dead_band)


@lru_cache(maxsize=4)
def _candidates(grid: tuple[float, ...], dead_band: float) -> Candidates:
    x = np.array(grid) / dead_band
    width = np.gradient(x)

    def normal(centre: float, scale: float) -> FloatArray:
        density: FloatArray = np.exp(-0.5 * ((x - centre) / scale) ** 2) * width
        return np.asarray(density / density.sum())

    def student(scale: float) -> FloatArray:
        density: FloatArray = (1 + (x / scale) ** 2 / STUDENT_DEGREES) ** (-(STUDENT_DEGREES + 1) / 2) * width
        return np.asarray(density / density.sum())

    located = [("normal", centre, scale) for centre in CENTRES.tolist() for scale in NORMAL_SCALES.tolist()]
    two_sided = [("two_sided", 0.0, far) for far in TWO_SIDED.tolist()]
    heavy = [("student", 0.0, scale) for scale in STUDENT_SCALES.tolist()]
    shapes = [normal(centre, scale) for _, centre, scale in located]
    shapes += [(normal(far, TWO_SIDED_SCALE) + normal(-far, TWO_SIDED_SCALE)) / 2 for _, _, far in two_sided]
    shapes += [student(scale) for _, _, scale in heavy]

    usual = np.log(SCALE) + SCALE_GROWTH * STILL_SHARES[:, None]  # log scale, shape (still shares, 1)
    centre_weight = np.exp(-0.5 * (CENTRES / CENTRE_SPREAD) ** 2) * np.gradient(CENTRES)
    centre_weight *= (1 - CENTRED) / centre_weight.sum()
    centre_weight[CENTRES == 0] += CENTRED
    by_scale = _around(NORMAL_SCALES, usual)
    of_located = (centre_weight[None, :, None] * by_scale[:, None, :]).reshape(len(STILL_SHARES), -1)
    of_shape = np.concatenate(
        [
            (1 - TWO_SIDED_WEIGHT - STUDENT_WEIGHT) * of_located,
            TWO_SIDED_WEIGHT * _around(TWO_SIDED, usual + TWO_SIDED_SHIFT),
            STUDENT_WEIGHT * _around(STUDENT_SCALES, usual + STUDENT_SHIFT),
        ],
        axis=1,
    )
    return Candidates(np.array(grid), dead_band, np.array(shapes), (*located, *two_sided, *heavy), of_shape)


def _around(scales: FloatArray, usual: FloatArray) -> FloatArray:
    """Weigh scales by how near their logarithms are to the usual one; rows sum to 1."""
    away = np.log(scales) - usual
    away = away / np.where(away < 0, SCALE_SPREAD * SMALLER_SPREAD, SCALE_SPREAD)
    weight = (1 + away**2) ** -2
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


@dataclass(frozen=True, slots=True)
class ChangePrior:
    """What was learned: each candidate's weight, shape (still shares, shapes), summing to 1; most are 0."""

    among: Candidates
    weights: FloatArray

    @property
    def mean(self) -> FloatArray:
        """The distribution of true changes over the grid, averaged over candidates: what a new client meets."""
        mass: FloatArray = ((1 - STILL_SHARES) @ self.weights) @ self.among.shapes
        mass[self.among.still] += float((STILL_SHARES @ self.weights).sum())
        return mass

    def as_json(self) -> dict[str, Any]:
        """Give the prior as the plain JSON that a model stores: the candidates that count, sizes in dead bands."""
        share, shape = np.nonzero(self.weights)
        names = [self.among.names[i] for i in shape.tolist()]
        return {
            "dead_band": self.among.dead_band,
            "still_share": STILL_SHARES[share].tolist(),
            "shape": [name for name, _, _ in names],
            "centre": [centre for _, centre, _ in names],
            "scale": [scale for _, _, scale in names],
            "weight": self.weights[share, shape].tolist(),
        }

    @classmethod
    def from_json(cls, model: Mapping[str, Any], grid: FloatArray) -> Self:
        """Take the prior out of a stored model; raises ValueError for a candidate that this version does not know."""
        among = candidates(grid, float(model["dead_band"]))
        place = {name: i for i, name in enumerate(among.names)}
        share_of = {share: i for i, share in enumerate(STILL_SHARES.tolist())}
        weights = np.zeros(among.shape_weights.shape)
        columns = zip(
            model["still_share"], model["shape"], model["centre"], model["scale"], model["weight"], strict=True
        )
        for share, shape, centre, scale, weight in columns:
            try:
                weights[share_of[share], place[shape, centre, scale]] = weight
            except KeyError as exc:
                raise ValueError(f"no candidate {shape} at {centre} of scale {scale}, {share} still") from exc
        return cls(among, weights)


def default_change_prior(among: Candidates) -> ChangePrior:
    """Give the prior of a client alone, before anything is learned."""
    return ChangePrior(among, np.exp(among.log_prior(1)))


def fit_change_prior(log_likelihoods: Sequence[FloatArray], among: Candidates) -> ChangePrior:
    """
    Learn how changes are distributed over clients.

    Parameters
    ----------
    log_likelihoods : the current period's, then those of earlier periods, each of shape (clients, grid). Share and
        shape are taken to last over periods. The centre may be this period's own (a shock common to all) or the same
        in all; both are weighed by what the periods show.
    """
    evidence = [_log_evidence(log_likelihood, among) for log_likelihood in log_likelihoods]
    log_prior = among.log_prior(sum(map(len, log_likelihoods)))
    log_weight = log_prior + evidence[0]
    if len(evidence) > 1:
        same = np.log(FIXED_CENTRE) + np.sum(evidence[1:], axis=0)
        own = np.log1p(-FIXED_CENTRE) + np.sum([_over_centres(e, log_prior) for e in evidence[1:]], axis=0)
        log_weight += np.logaddexp(same, own)
    weights = np.exp(log_weight - log_weight.max())
    weights[weights < LEAST_WEIGHT] = 0.0
    return ChangePrior(among, weights / weights.sum())


def _log_evidence(log_likelihood: FloatArray, among: Candidates) -> FloatArray:
    """
    Sum over clients the log probability of their data under each candidate, shape (still shares, shapes).

    One logarithm for the product of several clients' probabilities: none is below TINY.
    """
    if len(log_likelihood) == 0:
        return np.zeros(among.shape_weights.shape)
    changed, stayed = _changed_and_stayed(log_likelihood, among)
    size = -(-len(changed) // MULTIPLIED)
    parts = [slice(start, start + size) for start in range(0, len(changed), size)]
    result = np.empty(among.shape_weights.shape)
    product, factor = np.empty((size, changed.shape[1])), np.empty((size, changed.shape[1]))
    for i, share in enumerate(STILL_SHARES.tolist()):
        product.fill(1.0)
        for rows in parts:
            mixed = np.multiply(changed[rows], 1 - share, out=factor[: len(changed[rows])])
            mixed += share * stayed[rows] + TINY
            product[: len(mixed)] *= mixed
        result[i] = np.log(product, out=product).sum(axis=0)
    return result


def _changed_and_stayed(log_likelihood: FloatArray, among: Candidates) -> tuple[FloatArray, FloatArray]:
    """Probability of each client's data, up to a factor, under each shape of change, and under none: (clients, 1)."""
    likelihood = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
    changed = np.empty((len(likelihood), len(among.shapes)))
    # a few rows at a time: matrix products that large libraries share out over threads round as the threads fall
    for start in range(0, len(likelihood), BLOCK_ROWS):
        changed[start : start + BLOCK_ROWS] = likelihood[start : start + BLOCK_ROWS] @ among.shapes.T
    return changed, likelihood[:, [among.still]]


def _over_centres(evidence: FloatArray, log_prior: FloatArray) -> FloatArray:
    """Average a period's evidence over the centre it may have had; shape (still shares, shapes) again."""
    n = len(CENTRES) * len(NORMAL_SCALES)
    by_centre = (len(STILL_SHARES), len(CENTRES), len(NORMAL_SCALES))
    prior, seen = log_prior[:, :n].reshape(by_centre), evidence[:, :n].reshape(by_centre)
    of_centre = prior - np.logaddexp.reduce(prior, axis=1, keepdims=True)
    mean = np.logaddexp.reduce(of_centre + seen, axis=1, keepdims=True)
    result: FloatArray = evidence.copy()
    result[:, :n] = np.broadcast_to(mean, by_centre).reshape(len(STILL_SHARES), -1)
    return result


def posterior_mass(log_likelihood: FloatArray, prior: ChangePrior, counted: BoolArray) -> FloatArray:
    """
    Give each client's posterior over the grid, shape (clients, grid); each row depends on that row alone, to the bit.

    counted : shape (clients,), whether the client's own row was among those the prior was learned from, and must now
        be taken out of it.
    """
    among = prior.among
    likelihood = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
    used = np.flatnonzero(prior.weights.any(axis=0))
    shapes = among.shapes[used]
    # einsum, not a matrix product: that may sum in another order when there are more rows
    changed = np.einsum("cg,sg->cs", likelihood, shapes)
    stayed = likelihood[:, [among.still]]
    of_shape, of_still = np.zeros_like(changed), np.zeros(len(likelihood))
    for share, weights in zip(STILL_SHARES.tolist(), prior.weights[:, used], strict=True):
        here = np.flatnonzero(weights)
        if len(here):
            # take, not an index: that may lay rows out as columns, which are then summed in another order
            own = share * stayed + (1 - share) * np.take(changed, here, axis=1) + TINY
            left = weights[here] / np.where(counted[:, None], own, 1.0)
            of_still += share * left.sum(axis=1)
            of_shape[:, here] += (1 - share) * left
    mass = np.einsum("cs,gs->cg", of_shape, np.ascontiguousarray(shapes.T))
    mass[:, among.still] += of_still
    mass *= likelihood
    return np.asarray(mass / mass.sum(axis=1, keepdims=True))


def log_score(log_likelihood: FloatArray, prior: ChangePrior) -> float:
    """
    Score the learned prior: each client's data predicted from the others, mean log density above "nothing changes".

    Leave-one-out by the same division as posterior_mass: the mean over candidates of 1 / own is 1 / predicted.
    Zero for no clients.
    """
    if len(log_likelihood) == 0:
        return 0.0
    changed, stayed = _changed_and_stayed(log_likelihood, prior.among)
    inverse = np.zeros(len(stayed))
    for share, weights in zip(STILL_SHARES.tolist(), prior.weights, strict=True):
        here = np.flatnonzero(weights)
        inverse += (weights[here] / (share * stayed + (1 - share) * changed[:, here] + TINY)).sum(axis=1)
    return float(np.mean(-np.log(inverse) - np.log(stayed[:, 0] + TINY)))
