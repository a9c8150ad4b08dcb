"""
Claims of urgency_trend and engagement_score in array worlds: the jobs' own steps, without a snapshot around them.

What the jobs' `fit` and `analyse` do between the counts and the class probabilities is done here by their own
functions on a world's arrays, ten times as fast; test_change_calibrated.py shows that both give the same.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import betainc, betaincinv

from worker.jobs import engagement_score as score_job
from worker.jobs import urgency_trend as share_job
from worker.sample import past_periods
from worker.simulate import (
    CHANGE_KINDS,
    ScoreWorld,
    ShareWorld,
    SingleLeads,
    draw_window_sizes,
    score_world,
    share_world,
)
from worker.statistics import FloatArray, IntArray
from worker.statistics.change import STABLE, ChangePosterior, posterior_of_change, said_class
from worker.statistics.change_prior import ChangePrior, candidates, default_change_prior, fit_change_prior
from worker.statistics.dependence import LAGS, estimate_serial_correlation

INDEPENDENT = np.zeros(LAGS)


@dataclass(frozen=True, slots=True)
class Learned:
    """What a world's leads teach, and what is believed of each client; `flat` is the posterior of a flat prior."""

    prior: ChangePrior
    pool: float | tuple[float, float]  # the pool's spread of scores, or its distribution of shares
    correlation: FloatArray
    likelihood: FloatArray  # logarithms, shape (clients, grid)
    posterior: ChangePosterior
    flat: ChangePosterior


@dataclass(frozen=True, slots=True)
class Claims:
    """Claims of one or more worlds: classes said, how surely, and whether they were true."""

    said_class: IntArray
    said: FloatArray
    right: IntArray

    @classmethod
    def of(cls, posterior: ChangePosterior, true_class: IntArray) -> "Claims":
        """Say each client's most probable class; true_class is -1, 0 or 1."""
        probability = posterior.class_probability
        said = said_class(probability)
        right = (said - STABLE == true_class).astype(np.int64)
        return cls(said, probability[np.arange(len(said)), said], right)

    @classmethod
    def joined(cls, parts: list["Claims"]) -> "Claims":
        """Put the claims of several worlds together."""
        return cls(
            np.concatenate([part.said_class for part in parts]),
            np.concatenate([part.said for part in parts]),
            np.concatenate([part.right for part in parts]),
        )


def _flat(log_likelihood: FloatArray, grid: FloatArray, dead_band: float) -> ChangePosterior:
    mass = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True)) * np.gradient(grid)
    return ChangePosterior(grid, dead_band, mass / mass.sum(axis=1, keepdims=True))


def _pairs(n: IntArray) -> list[tuple[int, int]]:
    """Places of the current and the previous window in every period learned from, latest first."""
    learned = 1 + past_periods(int(((n[-1] > 0) & (n[-2] > 0)).sum()))
    return [(len(n) - 1 - ago, len(n) - 2 - ago) for ago in range(min(learned, len(n) - 1))]


def _first_window(n: IntArray) -> int:
    """Place of the first window whose leads tell how alike neighbours are: of every other period, both windows."""
    return len(n) - 2 * (1 + (len(_pairs(n)) - 1) // 2)


def learn_shares(world: ShareWorld, rng: np.random.Generator, correlation: FloatArray | None = None) -> Learned:
    """Do what urgency_trend does; correlation is learned, as there, where it is not given."""
    n_clients = world.n.shape[1]
    high, other = world.k, world.n - world.k
    table = np.stack([other, np.zeros_like(high), high], axis=-1)
    if correlation is None:
        if world.leads is None:  # each on its own, so in any order
            values = np.tile([0.0, 1.0], world.n.size).repeat(np.stack([other, high], axis=-1).ravel())
            cell = np.repeat(np.arange(world.n.size), world.n.ravel())
            values = values[np.argsort(cell + rng.random(len(cell)))]
        else:
            values, cell = world.leads.high.astype(np.float64), world.leads.window * n_clients + world.leads.client
        looked_at = cell >= _first_window(world.n) * n_clients
        correlation = estimate_serial_correlation(values[looked_at, None], cell[looked_at])
    counts = [share_job._Counts.of(table[now], table[before], correlation) for now, before in _pairs(world.n)]
    rate = counts[0].level_prior()
    likelihoods = [count.log_likelihood(rate, count.informative) for count in counts]
    prior = fit_change_prior(likelihoods, candidates(share_job.GRID, share_job.DEAD_BAND))
    own = counts[0].log_likelihood(rate)
    posterior = posterior_of_change(own, prior, counts[0].informative)
    naive = share_job._Counts.of(table[-1], table[-2], INDEPENDENT).log_likelihood(rate)
    return Learned(prior, rate, correlation, own, posterior, _flat(naive, share_job.GRID, share_job.DEAD_BAND))


def learn_scores(world: ScoreWorld, rng: np.random.Generator, correlation: FloatArray | None = None) -> Learned:
    """Do what engagement_score does where a lead's confidence alone is known."""
    del rng  # the world's leads stand in the order in which they came
    job = score_job
    windows, n_clients = world.n.shape
    if correlation is None:
        cell = world.leads.window * n_clients + world.leads.client
        looked_at = cell >= _first_window(world.n) * n_clients
        values = np.asarray(world.leads.value, dtype=np.float64)
        correlation = estimate_serial_correlation(values[looked_at, None], cell[looked_at])
    squares = np.nan_to_num(world.variance) * np.maximum(world.n - 1, 0)
    scores = [
        job.Scores(world.n[i].astype(np.float64), world.mean[i], squares[i], np.zeros((n_clients, 3)))
        for i in range(windows)
    ]
    now, before = scores[-1], scores[-2]
    spread = job._pool_spread(now, before, correlation)

    def likelihood(current: Any, previous: Any, alike: FloatArray) -> FloatArray:
        return job._log_likelihood(current, previous, job._Errors.of(current, previous, spread, alike))

    likelihoods = []
    for i, j in _pairs(world.n):
        both = (scores[i].n > 0) & (scores[j].n > 0)
        likelihoods.append(likelihood(scores[i], scores[j], correlation)[both])
    prior = fit_change_prior(likelihoods, candidates(job.GRID, job.DEAD_BAND))
    own = likelihood(now, before, correlation)
    posterior = posterior_of_change(own, prior, (now.n > 0) & (before.n > 0))
    naive = likelihood(now, before, INDEPENDENT)
    return Learned(prior, spread, correlation, own, posterior, _flat(naive, job.GRID, job.DEAD_BAND))


MAKERS: dict[str, Callable[..., Any]] = {"urgency_trend": share_world, "engagement_score": score_world}
LEARNERS: dict[str, Callable[..., Learned]] = {"urgency_trend": learn_shares, "engagement_score": learn_scores}


def generator(kind: str, seed: int, n_clients: int, windows: int) -> np.random.Generator:
    """Give the generator of one world."""
    return np.random.default_rng([2025, seed, CHANGE_KINDS.index(kind), n_clients, windows])


def claims_of(
    job: str, kind: str, seeds: range, n_clients: int, *, windows: int = 2, independent: bool = False, **world: Any
) -> tuple[Claims, Claims]:
    """Draw a world for every seed and give all claims, and those of the flat prior; independent: bursts unseen."""
    learned, flat = [], []
    for seed in seeds:
        rng = generator(kind, seed, n_clients, windows)
        drawn = MAKERS[job](kind, n_clients, rng, windows=windows, **world)
        result = LEARNERS[job](drawn, rng, INDEPENDENT if independent else None)
        learned.append(Claims.of(result.posterior, drawn.true_class))
        flat.append(Claims.of(result.flat, drawn.true_class))
    return Claims.joined(learned), Claims.joined(flat)


def lone_share_worlds(n_clients: int, rng: np.random.Generator) -> ShareWorld:
    """Draw clients of which each is alone in its database: change and level from the documented defaults."""
    job = share_job
    change = _default_changes(job.GRID, job.DEAD_BAND, n_clients, rng)
    # the middle of both shares, as the likelihood has it: cut to where a change leaves room for it
    low, high = betainc(*job.DEFAULT_RATE, np.abs(change) / 2), betainc(*job.DEFAULT_RATE, 1 - np.abs(change) / 2)
    middle = betaincinv(*job.DEFAULT_RATE, rng.uniform(low, high))
    true = np.clip(middle + np.array([[-0.5], [0.5]]) * change, 0.0, 1.0)
    n = draw_window_sizes("pareto", n_clients, rng)
    return ShareWorld(n, true, rng.binomial(n, true))


def lone_score_worlds(n_clients: int, rng: np.random.Generator) -> ScoreWorld:
    """Draw clients of which each is alone: change from the documented default, leads spread as by default."""
    job = score_job
    change = _default_changes(job.GRID, job.DEAD_BAND, n_clients, rng)
    level = rng.normal(job.DEFAULT_LEVEL.mean, np.sqrt(job.DEFAULT_LEVEL.variance), n_clients)
    true = level + np.array([[-0.5], [0.5]]) * change
    n = draw_window_sizes("pareto", n_clients, rng)
    cell = np.repeat(np.arange(n.size), n.ravel())
    value = rng.normal(true.ravel()[cell], np.sqrt(job.DEFAULT_SPREAD))
    leads = SingleLeads(cell // n_clients, cell % n_clients, np.arange(len(cell)), value)
    count, total = np.bincount(cell, minlength=n.size), np.bincount(cell, value, n.size)
    mean = np.divide(total, count, out=np.full(n.size, np.nan), where=count > 0)
    squares = np.bincount(cell, (value - mean[cell]) ** 2, n.size)
    variance = np.divide(squares, count - 1, out=np.full(n.size, np.nan), where=count > 1)
    return ScoreWorld(n, true, mean.reshape(n.shape), variance.reshape(n.shape), leads)


def _default_changes(grid: FloatArray, dead_band: float, n: int, rng: np.random.Generator) -> FloatArray:
    prior = default_change_prior(candidates(grid, dead_band)).mean
    return np.asarray(rng.choice(grid, n, p=prior / prior.sum()))


def one_client(world: Any, client: int) -> Any:
    """Cut out the world of one client."""
    part = {name: getattr(world, name)[:, [client]] for name in ("n", "true")}
    if isinstance(world, ShareWorld):
        return ShareWorld(**part, k=world.k[:, [client]])
    own = np.flatnonzero(world.leads.client == client)
    leads = SingleLeads(
        world.leads.window[own], np.zeros_like(own), world.leads.group[own], np.asarray(world.leads.value)[own]
    )
    return ScoreWorld(**part, mean=world.mean[:, [client]], variance=world.variance[:, [client]], leads=leads)


LONE: dict[str, Callable[[int, np.random.Generator], Any]] = {
    "urgency_trend": lone_share_worlds,
    "engagement_score": lone_score_worlds,
}


def lone_claims(job: str, n_clients: int) -> tuple[Claims, Claims]:
    """Let every client be a database of its own, and give all claims, and those of the flat prior."""
    rng = np.random.default_rng([2025, 1])
    drawn = LONE[job](n_clients, rng)
    alone = [LEARNERS[job](one_client(drawn, client), rng) for client in range(n_clients)]
    posterior, flat = (
        replace(alone[0].posterior, mass=np.concatenate([getattr(result, name).mass for result in alone]))
        for name in ("posterior", "flat")
    )
    return Claims.of(posterior, drawn.true_class), Claims.of(flat, drawn.true_class)
