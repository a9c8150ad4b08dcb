"""Shares of several kinds at once (tones): shrunken shares, and how near they are to the truth."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.polynomial.chebyshev import chebvander
from numpy.typing import NDArray
from scipy.special import betaincinv, gammainc, gammaln, ndtri, xlogy

from worker.statistics import FloatArray, IntArray
from worker.statistics.distinct import distinct_rows

Float32Array = NDArray[np.float32]  # for simulated draws: twice as many in a register, and far exacter than their noise

DRAWS = 512  # posterior draws a client; the ball's mass moves by .005 between seeds
CHECK_DRAWS = 256  # of the check
SMOOTH_BELOW = 0.3  # relative spread of the distances up to which their distribution is smooth and one-humped
FEW, MOST_OF_FEW = 4.0, 14  # a Poisson mean, and what exceeds it once in ten thousand
SINGLY = 10  # leads of a sample that are drawn one by one
BLOCK = 32  # clients simulated at a time: what fits into a processor's cache
CLIENT_WEIGHT = 30.0  # leads; a client with more counts no more in the pool's mix
MIX_LEADS = 15.0  # leads' worth of an even mix that the pool's is drawn to
# How alike clients are is not one number: a client's own concentration c is log-normal over clients, of unknown centre
# and spread. Before any client is seen the centre is log-normal itself, and every spread equally likely.
LOG_RANGE = (np.log(0.5), np.log(1000.0))
CONCENTRATIONS = np.exp(np.linspace(*LOG_RANGE, 160))  # steps of 5%: the ball's mass feels twice that
LEAST_WEIGHT = 1e-5  # of a concentration that a model keeps
NODES = 16  # concentrations at which likelihoods are worked out; a polynomial in log c tells those between
CENTRE_DEVIATION = 1.0  # of the logarithm of the centre around the default's
SPREADS = np.array([0.1, 0.25, 0.5, 0.75, 1.0, 1.25])  # deviation of log c over clients


@dataclass(frozen=True, slots=True)
class SharesPrior:
    """
    What is known of a client's true shares before its leads: sum over g of weights[g] Dirichlet(concentration[g] mix).

    The mix is that of the *other* clients: a client that is itself part of the pool has its own leads taken out, or
    a few clients would look all too much like a mix that they themselves make up.
    """

    pool: FloatArray  # (kinds,): leads by kind, each client with at most CLIENT_WEIGHT, and the even mix's
    concentrations: FloatArray  # (concentrations,), ascending
    weights: FloatArray  # (concentrations,), summing to 1

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "SharesPrior":
        """Read back what as_json wrote."""
        return cls(*(np.array(plain[name], dtype=np.float64) for name in ("pool", "concentrations", "weights")))

    def as_json(self) -> dict[str, Any]:
        """Give the prior as plain lists."""
        return {name: getattr(self, name).tolist() for name in ("pool", "concentrations", "weights")}

    def mix_of_others(self, counts: FloatArray) -> FloatArray:
        """Give the mix that each client meets, shape (clients, kinds), itself taken out of the pool."""
        least = 1e-6 * MIX_LEADS / counts.shape[1]  # for clients whose leads are not, or no more, in the pool
        others = np.maximum(self.pool - _weighted(counts), least)
        mix: FloatArray = others / others.sum(axis=1, keepdims=True)
        return mix

    def concentration_weights(self, counts: FloatArray, mix: FloatArray) -> FloatArray:
        """Give each client's own weights of the concentrations, its leads seen; shape (clients, concentrations)."""
        odds: FloatArray = self.weights * concentration_likelihood(counts, mix, self.concentrations)
        weights: FloatArray = odds / odds.sum(axis=1, keepdims=True)
        return weights


def concentration_likelihood(counts: FloatArray, mix: FloatArray, concentrations: FloatArray) -> FloatArray:
    """
    Give P(counts | concentration, mix) but for a factor per client, shape (clients, concentrations), largest 1.

    The Dirichlet-multinomial of Mosimann (1962); counts may be fractions, as leads over their design effect. Its
    logarithm is smooth in log c: worked out at NODES Chebyshev points and interpolated (error below .01).
    """
    x = np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)  # Chebyshev's points of [-1, 1]
    low, high = LOG_RANGE
    c = np.exp(low + (high - low) * (x + 1) / 2)
    client, kind = np.nonzero(counts)  # what was not seen adds nothing
    k, share = counts[client, kind], mix[client, kind]
    a = c[:, None] * share
    seen = gammaln(k + a) - gammaln(a)
    n = counts.sum(axis=1)
    at_nodes = gammaln(c) - gammaln(n[:, None] + c)
    for node in range(NODES):
        at_nodes[:, node] += np.bincount(client, seen[node], len(counts))
    wanted = (np.log(concentrations) - low) / (high - low) * 2 - 1
    between = chebvander(wanted, NODES - 1) @ np.linalg.inv(chebvander(x, NODES - 1))
    logarithm = np.einsum("cn,gn->cg", at_nodes, between)  # not @: its last bits depend on who stands beside
    likelihood: FloatArray = np.exp(logarithm - logarithm.max(axis=1, keepdims=True, initial=-np.inf))
    return likelihood


def fit_shares_prior(counts: FloatArray | IntArray, default_concentration: float) -> SharesPrior:
    """
    Learn the pool's mix and how alike clients are from (effective) counts of shape (clients, kinds).

    The mix is the mean over clients of their shares, each client with up to CLIENT_WEIGHT leads, so that one large
    client is not everyone. Concentrations are log-normal over clients with a centre and a spread that are not known:
    each pair counts by how well it explains all clients, and the weights are averaged over the pairs. Where clients
    are few this keeps the doubt about their likeness; where they are of several sorts it finds them.
    """
    seen = np.asarray(counts, dtype=np.float64)
    pool = _weighted(seen).sum(axis=0) + MIX_LEADS / seen.shape[1]
    seen = seen[seen.sum(axis=1) > 0]
    mix = SharesPrior(pool, CONCENTRATIONS, np.ones(len(CONCENTRATIONS))).mix_of_others(seen)
    likelihood = concentration_likelihood(seen, mix, CONCENTRATIONS)
    # all pairs of a spread and a centre, each a distribution over the concentrations
    log_c = np.log(CONCENTRATIONS)
    centre = log_c[::2]
    distributions = np.exp(-0.5 * ((log_c - centre[:, None]) / SPREADS[:, None, None]) ** 2).reshape(-1, len(log_c))
    distributions /= distributions.sum(axis=1, keepdims=True)
    score = np.tile(-0.5 * ((centre - np.log(default_concentration)) / CENTRE_DEVIATION) ** 2, len(SPREADS))
    score += np.log(np.maximum(likelihood @ distributions.T, 1e-300)).sum(axis=0)
    odds = np.exp(score - score.max())
    weights = np.round(odds @ distributions / odds.sum(), 12)  # whatever library multiplied them
    used = weights > LEAST_WEIGHT
    return SharesPrior(pool, CONCENTRATIONS[used], weights[used] / weights[used].sum())


@dataclass(frozen=True, slots=True)
class SharesPosterior:
    """The expected shares and their intervals, shape (clients, kinds) each; then what simulation adds."""

    estimate: FloatArray
    low: FloatArray
    high: FloatArray
    within: FloatArray  # (clients,): P(total variation distance between estimate and truth <= distance)
    largest: IntArray  # (clients,): the kind with the largest expected share
    largest_probability: FloatArray  # (clients,): P(it is the largest)


def estimate_shares(
    counts: FloatArray | IntArray, prior: SharesPrior, distance: float, level: float, rng: np.random.Generator
) -> SharesPosterior:
    """
    Estimate each client's true shares from its (effective) counts, shape (clients, kinds), shrunk to the pool's mix.

    Every client is simulated with the same underlying normal and uniform numbers, drawn once from rng: a client's
    answer does not depend on which other clients are analysed beside it. Intervals are those of the Beta
    distribution with the mixture's mean and variance.
    """
    first, which = distinct_rows(counts)
    seen = np.asarray(counts, dtype=np.float64)[first]
    mix = prior.mix_of_others(seen)
    weights = prior.concentration_weights(seen, mix)
    estimate, variance = _moments(seen, mix, prior.concentrations, weights)
    total = np.maximum(estimate * (1 - estimate) / np.maximum(variance, 1e-300) - 1, 1e-6)
    a, b = estimate * total, (1 - estimate) * total
    tail = (1 - level) / 2
    concentration = _spread_over_draws(prior.concentrations, weights, DRAWS)
    distances, largest = simulate_distances(seen, mix, concentration, estimate, rng)
    within = share_within(distances, distance, _mean_absolute_deviation(a, b).sum(axis=1) / 2)
    low, high = (np.asarray(betaincinv(a, b, p), dtype=np.float64) for p in (tail, 1 - tail))
    leading: IntArray = estimate.argmax(axis=1)
    return SharesPosterior(estimate[which], low[which], high[which], within[which], leading[which], largest[which])


def expected_shares(counts: FloatArray, prior: SharesPrior) -> FloatArray:
    """Give each client's expected shares alone, shape (clients, kinds): what estimate_shares finds, unsimulated."""
    mix = prior.mix_of_others(counts)
    return _moments(counts, mix, prior.concentrations, prior.concentration_weights(counts, mix))[0]


def probability_halves_agree(
    counts: FloatArray | IntArray,
    prior: SharesPrior,
    n_other: IntArray,
    *,
    excess: FloatArray,
    distance: float,
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray]:
    """
    Say from one random half of the leads how the other half's raw shares will look.

    Both halves were drawn at random from the same leads: a burst is in both, so what it adds by luck they share, and
    among themselves they differ as independent leads do. What both scatter around is therefore not the true shares
    but those of the leads that came; these vary between clients by `excess` more than the true shares.

    Parameters
    ----------
    counts : shape (clients, kinds), the first half's leads, as counted.
    n_other : shape (clients,), the other half's number of leads; taken as 1 where 0.
    excess : shape (clients,), (design effect - 1) / n of the first half: variance of the shares of the leads that
        came around the true ones, in units of p (1 - p).

    Returns
    -------
    expected : shape (clients, kinds), the shares to be seen.
    agree : shape (clients,), the probability that the other half's raw shares lie within `distance` of `expected`.
    """
    first, which = distinct_rows(counts, n_other, excess)
    seen, n_other, excess = np.asarray(counts, dtype=np.float64)[first], n_other[first], excess[first]
    effective = seen / (1 + excess * seen.sum(axis=1))[:, None]
    mix = prior.mix_of_others(effective)  # the pool is made of effective counts too
    weights = prior.concentration_weights(effective, mix)
    grid = 1 / (1 / (1 + prior.concentrations[None, :]) + excess[:, None] * (1 - 1 / (1 + prior.concentrations))) - 1
    grid = np.maximum(grid, 1e-3)
    expected, _ = _moments(seen, mix, grid, weights)
    concentration = _spread_over_draws(grid, weights, CHECK_DRAWS)
    distances, _ = simulate_distances(seen, mix, concentration, expected, rng, sample=n_other)
    return expected[which], share_within(distances, distance)[which]


def simulate_distances(
    counts: FloatArray,
    mix: FloatArray,
    concentration: FloatArray,
    centre: FloatArray,
    rng: np.random.Generator,
    *,
    sample: IntArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    """
    Simulate shares ~ Dirichlet(counts + concentration mix): how far are they from centre, and which is the largest?

    Gamma draws by the cube-root normal approximation (Wilson & Hilferty 1931) for shape + 1, brought back to the
    shape by a power of a uniform number (Marsaglia & Tsang 2000, section 6): exact enough for shapes from 1 on,
    and all clients can share the same normals.

    Parameters
    ----------
    counts, mix, centre : shape (clients, kinds).
    concentration : shape (clients, draws); each draw may have its own.
    sample : shape (clients,), a number of leads drawn with these shares (0 is taken as 1): the distance is that of
        their raw shares; exact for up to SINGLY leads, beyond by Poisson counts. None: that of the shares themselves.

    Returns
    -------
    Total variation distances, shape (clients, draws), and the share of draws in which the largest kind is centre's.
    """
    clients, kinds = counts.shape
    draws = concentration.shape[1]
    z = ndtri(_uniform(rng, (kinds, draws))).astype(np.float32)
    log_u = np.log(_uniform(rng, (kinds, draws))).astype(np.float32)
    top = centre.argmax(axis=1)
    distances, wins = np.empty((clients, draws)), np.empty(clients)
    size = np.zeros(clients, dtype=np.int64) if sample is None else np.maximum(sample, 1)
    numbers = None if sample is None else _SampleNumbers.draw(rng, kinds, draws)
    order = np.argsort(size, kind="stable")  # small samples together are soon done
    singly = int(np.count_nonzero(size <= SINGLY))
    for start, end in _blocks(singly, clients):
        rows = order[start:end]
        c = concentration[rows].astype(np.float32)
        k, m, middle = (np.asarray(part[rows], dtype=np.float32) for part in (counts, mix, centre))
        shares = np.empty((kinds, *c.shape), dtype=np.float32)
        for kind in range(kinds):
            shares[kind] = _gamma_draws(k[:, kind, None], m[:, kind, None] * c, z[kind], log_u[kind])
        largest = np.take_along_axis(shares, top[rows][None, :, None], axis=0)[0]
        wins[rows] = np.count_nonzero(largest >= shares.max(axis=0), axis=1)
        shares /= np.maximum(shares.sum(axis=0), np.float32(1e-30))
        if numbers is not None:
            shares = numbers.sample(shares, size[rows])
        shares -= middle.T[:, :, None]
        np.abs(shares, out=shares)
        distances[rows] = 0.5 * shares.sum(axis=0)
    return distances, wins / draws


@dataclass(frozen=True, slots=True)
class _SampleNumbers:
    """Random numbers, the same for all clients, with which leads of given shares are drawn."""

    single: Float32Array  # (SINGLY, draws): uniform, for the leads of small samples one by one
    uniform: Float32Array  # (kinds, draws), for the counts of larger ones
    normal: Float32Array  # (kinds, draws): the normal quantiles of `uniform`

    @classmethod
    def draw(cls, rng: np.random.Generator, kinds: int, draws: int) -> "_SampleNumbers":
        single, uniform = _uniform(rng, (SINGLY, draws)), _uniform(rng, (kinds, draws))
        return cls(single.astype(np.float32), uniform.astype(np.float32), ndtri(uniform).astype(np.float32))

    def sample(self, shares: Float32Array, size: IntArray) -> Float32Array:
        """Give the raw shares of `size` leads, (clients,), drawn with shares (kinds, clients, draws)."""
        raw: Float32Array
        if size[0] <= SINGLY:
            upto = np.cumsum(shares, axis=0)
            upto[-1] = 1.5  # rounding must not lose a lead
            below, is_below = np.zeros(shares.shape, dtype=np.uint8), np.empty(shares.shape, dtype=np.bool_)
            for number in range(int(size.max())):
                lead = np.where((number < size)[:, None], self.single[number], np.float32(2))
                np.less(lead, upto, out=is_below)
                below += is_below.view(np.uint8)
            raw = np.diff(below, axis=0, prepend=np.uint8(0)).astype(np.float32)
        else:
            # one more than the leads, or the sums' reciprocals would be 1 / n too large on average
            mean = shares * (size + 1).astype(np.float32)[:, None]
            raw = np.stack([_poisson_draws(m, u, z) for m, u, z in zip(mean, self.uniform, self.normal, strict=True)])
        # Poisson counts over their sum are multinomial, that sum given; nothing drawn is near nothing
        raw /= np.maximum(raw.sum(axis=0), np.float32(1e-30))
        return raw


def share_within(distances: FloatArray, limit: float, expected: FloatArray | None = None) -> FloatArray:
    """
    Estimate P(distance <= limit) row by row from simulated distances, shape (clients, draws).

    All rows share their random numbers, so what the draws' mean has by luck all rows have together; where the
    expected distance is known the draws are scaled to it. A count of 512 draws moves by .015 at worst; where the
    distances have one narrow hump a shifted gamma distribution with their mean, variance and skewness (Pearson's type
    III; half of the skewness is that of the plain gamma, which moves less) stands in for it and moves by .005.
    """
    draws = distances.shape[1]
    mean = distances.mean(axis=1)
    reach = limit if expected is None else limit * mean / expected
    counted = np.count_nonzero(distances <= np.broadcast_to(reach, mean.shape)[:, None], axis=1)
    deviation = distances - mean[:, None]
    square = deviation * deviation
    spread = np.sqrt(np.maximum(square.mean(axis=1), 1e-30))
    skewness = (square * deviation).mean(axis=1) / spread**3
    shape = 4 / np.maximum(0.5 * skewness + spread / mean, 0.02) ** 2
    smooth = gammainc(shape, np.maximum(shape + np.sqrt(shape) * (reach - mean) / spread, 0.0))
    share = np.where(spread < SMOOTH_BELOW * mean, smooth, counted / draws)
    # Simulation cannot tell 0 from 1 / draws: half a draw on either side keeps the probability inside (0, 1).
    within: FloatArray = (share * draws + 0.5) / (draws + 1)
    return within


def _gamma_draws(count: Float32Array, prior: Float32Array, z: Float32Array, log_u: Float32Array) -> Float32Array:
    """Draw gammas with shape count + prior, one for each normal z and uniform; `prior` is overwritten."""
    shape = prior
    shape += count
    np.maximum(shape, np.float32(1e-8), out=shape)
    power = log_u / shape
    np.exp(power, out=power)
    shape += 1
    root = np.sqrt(shape)
    root *= 3
    np.divide(1, root, out=root)  # 1 / (3 sqrt b); its square is 1 / (9 b)
    cube = z - root
    cube *= root
    cube += 1
    np.maximum(cube, np.float32(1e-2), out=cube)
    power *= shape
    power *= cube
    cube *= cube
    power *= cube
    return power


def _poisson_draws(mean: Float32Array, u: Float32Array, z: Float32Array) -> Float32Array:
    """
    Draw Poisson numbers, one for each uniform u and its normal quantile z.

    Exact inversion up to a mean of FEW, from there on the rounded Cornish-Fisher quantile (Fisher & Cornish 1960).
    """
    few = mean <= FEW
    if not few.any():
        return _many_poisson(mean, z)
    term = np.exp(-mean)
    below = term.copy()
    number = (u > below).view(np.uint8)
    for j in range(1, MOST_OF_FEW + 1):
        term *= mean
        term /= j
        below += term
        more = u > below
        if not more.any():
            break
        number += more.view(np.uint8)
    return number.astype(np.float32) if few.all() else np.where(few, number, _many_poisson(mean, z))


def _many_poisson(mean: Float32Array, z: Float32Array) -> Float32Array:
    rounded: Float32Array = np.floor(mean + np.sqrt(mean) * z + ((z * z - 1) / 6 + np.float32(0.5)))
    return rounded


def _mean_absolute_deviation(a: FloatArray, b: FloatArray) -> FloatArray:
    """E|X - E X| of Beta(a, b), in closed form (Johnson, Kotz & Balakrishnan 1995, chapter 25)."""
    t = a + b
    log_deviation = xlogy(a, a / t) + xlogy(b, b / t) - np.log(t) + gammaln(t) - gammaln(a) - gammaln(b)
    deviation: FloatArray = 2 * np.exp(log_deviation)
    return deviation


def _moments(
    counts: FloatArray, mix: FloatArray, concentrations: FloatArray, weights: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Give the mixture's mean and variance by kind; concentrations by client or shared by all."""
    total = counts.sum(axis=1)[:, None] + concentrations
    pull = concentrations / total
    mean = (weights / total).sum(axis=1)[:, None] * counts + (weights * pull).sum(axis=1)[:, None] * mix
    # within a component E p^2 = a (a + 1) / (t (t + 1)) with a = count + c mix, t the sum of a
    w = weights / (total * (total + 1))
    one, c, square = (part.sum(axis=1)[:, None] for part in (w, w * concentrations, w * concentrations**2))
    second = one * counts * (counts + 1) + c * mix * (2 * counts + 1) + square * mix**2
    return mean, np.maximum(second - mean * mean, 0.0)


def _spread_over_draws(concentrations: FloatArray, weights: FloatArray, draws: int) -> FloatArray:
    """Give every client's draws their concentrations, each as often as its weight says; shape (clients, draws)."""
    edges = np.rint(np.cumsum(weights, axis=1) * draws).astype(np.int64)
    edges[:, -1] = draws
    times = np.diff(edges, axis=1, prepend=0)
    return np.repeat(np.broadcast_to(concentrations, weights.shape).ravel(), times.ravel()).reshape(-1, draws)


def total_variation(p: FloatArray, q: FloatArray) -> FloatArray:
    """Half the sum of absolute differences along the last axis: 0 for equal shares, 1 for disjoint ones."""
    distance: FloatArray = 0.5 * np.abs(p - q).sum(axis=-1)
    return distance


def _weighted(counts: FloatArray) -> FloatArray:
    n = counts.sum(axis=1)
    weighted: FloatArray = counts * (np.minimum(n, CLIENT_WEIGHT) / np.maximum(n, 1e-300))[:, None]
    return weighted


def _uniform(rng: np.random.Generator, shape: tuple[int, int]) -> FloatArray:
    # One stratified number per draw and row (Latin hypercube, McKay 1979): a third of plain sampling's noise.
    strata = np.stack([rng.permutation(shape[1]) for _ in range(shape[0])])
    return (strata + rng.random(shape)) / shape[1]


def _blocks(first: int, n: int) -> Iterator[tuple[int, int]]:
    """Cut [0, first) and [first, n) into blocks."""
    for begin, stop in ((0, first), (first, n)):
        for start in range(begin, stop, BLOCK):
            yield start, min(start + BLOCK, stop)
