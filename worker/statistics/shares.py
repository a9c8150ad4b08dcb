"""Shares of several kinds at once (tones): shrunken shares, and how near they are to the truth."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv, gammaln, ndtri

from worker.statistics import FloatArray, IntArray

DRAWS = 512  # posterior draws a client; the probability of the ball moves by about .01 between seeds
BLOCK = 128
CLIENT_WEIGHT = 30  # leads; a client with more counts no more in the pool's mix
CONCENTRATIONS = np.exp(np.linspace(np.log(1.0), np.log(1000.0), 40))


@dataclass(frozen=True, slots=True)
class DirichletPrior:
    """Clients' true shares are Dirichlet(alpha): alpha / sum is the pool's mix, the sum how alike clients are."""

    alpha: FloatArray


def fit_dirichlet_prior(counts: IntArray, default_concentration: float) -> DirichletPrior:
    """
    Learn the pool's mix and the concentration from counts of shape (clients, kinds).

    The mix is the mean over clients of their shares (each client counts up to 30 leads, so that one large client
    is not everyone), with half a lead spread over all kinds. The concentration maximises the Dirichlet-multinomial
    likelihood (Mosimann 1962) on a grid, drawn weakly to the default; there each client meets the mix of the others,
    since few clients would look all too much like a mix that they themselves make up.
    """
    n = counts.sum(axis=1)
    kinds = counts.shape[1]
    weighted = counts * (np.minimum(n, CLIENT_WEIGHT) / np.maximum(n, 1))[:, None]
    mix = weighted.sum(axis=0) + 0.5 / kinds
    others = mix[None, :] - weighted
    others /= others.sum(axis=1, keepdims=True)
    seen = counts > 0  # what was not seen adds nothing to the likelihood
    k, share = counts[seen].astype(float), others[seen]
    score: FloatArray = -0.5 * np.log(CONCENTRATIONS / default_concentration) ** 2
    for i, concentration in enumerate(CONCENTRATIONS):
        score[i] += (gammaln(k + concentration * share) - gammaln(concentration * share)).sum()
        score[i] += (gammaln(concentration) - gammaln(n + concentration)).sum()
    return DirichletPrior(float(CONCENTRATIONS[int(np.argmax(score))]) * mix / mix.sum())


@dataclass(frozen=True, slots=True)
class SharesPosterior:
    """Shape (clients, kinds) each: the expected shares and their interval; then what simulation adds."""

    estimate: FloatArray
    low: FloatArray
    high: FloatArray
    within: FloatArray  # (clients,): P(total variation distance between estimate and truth <= distance)
    largest: IntArray  # (clients,): the kind most likely to be the largest
    largest_probability: FloatArray  # (clients,)


def estimate_shares(
    counts: IntArray, prior: DirichletPrior, distance: float, level: float, rng: np.random.Generator
) -> SharesPosterior:
    """
    Estimate each client's true shares from its counts, shape (clients, kinds), shrunk to the pool's mix.

    Every client is simulated with the same underlying normal and uniform numbers, drawn once from rng: a client's
    answer does not depend on which other clients are analysed beside it.
    """
    alpha = counts + prior.alpha[None, :]
    total = alpha.sum(axis=1, keepdims=True)
    estimate = alpha / total
    tail = (1 - level) / 2
    low = betaincinv(alpha, total - alpha, tail)
    high = betaincinv(alpha, total - alpha, 1 - tail)
    within, wins = simulate_ball(alpha, estimate, distance, rng)
    largest = wins.argmax(axis=1)
    return SharesPosterior(estimate, low, high, within, largest, wins[np.arange(len(wins)), largest])


def simulate_ball(
    alpha: FloatArray, centre: FloatArray, distance: float, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """
    Simulate Dirichlet(alpha) row by row: how often a draw lies within `distance` of centre, and each kind is largest.

    Gamma draws by the cube-root normal approximation (Wilson & Hilferty 1931) for shape + 1, brought back to the
    shape by a power of a uniform number (Marsaglia & Tsang 2000, section 6): exact enough for shapes from 1 on,
    and all clients can share the same normals.
    """
    z = ndtri(_uniform(rng, (DRAWS, alpha.shape[1])))
    log_u = np.log(_uniform(rng, (DRAWS, alpha.shape[1])))
    within = np.empty(len(alpha))
    wins = np.empty(alpha.shape)
    for rows in _blocks(len(alpha)):
        a = np.ascontiguousarray(alpha[rows])[:, None, :]
        b = a + 1
        cube = np.maximum(1 - 1 / (9 * b) + z[None] / (3 * np.sqrt(b)), 1e-2)
        # in logarithms: a power of a uniform number underflows for the smallest shapes
        log_gamma = np.log(b) + 3 * np.log(cube) + log_u[None] / a
        gamma = np.exp(log_gamma - log_gamma.max(axis=2, keepdims=True))
        shares = gamma / gamma.sum(axis=2, keepdims=True)
        distances = 0.5 * np.abs(shares - centre[rows][:, None, :]).sum(axis=2)
        within[rows] = (distances <= distance).mean(axis=1)
        largest = shares.argmax(axis=2)
        for kind in range(alpha.shape[1]):
            wins[rows, kind] = (largest == kind).mean(axis=1)
    # Simulation cannot tell 0 from 1/DRAWS: half a draw on either side keeps the probability inside (0, 1).
    return (within * DRAWS + 0.5) / (DRAWS + 1), wins


def probability_halves_agree(
    alpha: FloatArray, n_other: IntArray, distance: float, rng: np.random.Generator
) -> FloatArray:
    """
    Predictive probability that another n_other leads' raw shares lie within `distance` of this posterior's mean.

    The other half's shares scatter around the truth as a multinomial does; its sampling noise is added to the
    posterior's by the normal approximation of the multinomial.
    """
    total = alpha.sum(axis=1, keepdims=True)
    # A Dirichlet-multinomial share has the Dirichlet's variance plus m(1-m)/n: the Dirichlet with this total has both.
    n = np.maximum(n_other, 1)[:, None]
    variance_ratio = 1 / (total + 1) + (1 - 1 / (total + 1)) / n
    equivalent = np.maximum(1 / variance_ratio - 1, 1e-3)
    mean = alpha / total
    within, _ = simulate_ball(mean * equivalent, mean, distance, rng)
    return within


def total_variation(p: FloatArray, q: FloatArray) -> FloatArray:
    """Half the sum of absolute differences along the last axis: 0 for equal shares, 1 for disjoint ones."""
    distance: FloatArray = 0.5 * np.abs(p - q).sum(axis=-1)
    return distance


def _uniform(rng: np.random.Generator, shape: tuple[int, int]) -> FloatArray:
    # One stratified number per draw and column (Latin hypercube, McKay 1979): a third of plain sampling's noise.
    strata = np.stack([rng.permutation(shape[0]) for _ in range(shape[1])], axis=1)
    return (strata + rng.random(shape)) / shape[0]


def _blocks(n: int) -> Iterator[slice]:
    return (slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK))
