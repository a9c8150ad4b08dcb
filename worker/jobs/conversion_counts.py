"""How many of each client's open leads convert within the window: draws of the model, summed by client, in blocks."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import polygamma

from worker.leads import EVERYONE, Leads
from worker.sample import hashes
from worker.statistics import FloatArray, IntArray
from worker.statistics.hazard import Codes, Exposure, HazardModel, client_totals, draw_log_shifts, forecast

DRAWS = 64
BLOCK_LEADS = 4096  # gone through at a time, each with DRAWS numbers


@dataclass(frozen=True, slots=True)
class Levels:
    """Each client's multiplier of everyone's hazard, and draws of it as shares of that; indexed by Leads.owner."""

    multiplier: FloatArray
    ratio: FloatArray  # (owners, DRAWS)
    noise: FloatArray  # (owners,) standard deviation of the multiplier's logarithm


def estimate_levels(hazard: HazardModel, exposure: Exposure, leads: Leads, rng: np.random.Generator) -> Levels:
    """
    Estimate every client's level: gamma posterior, prior of mean 1, with DRAWS draws (Wilson & Hilferty 1931).

    One client's draws use the same normal numbers as any other's, so that they do not depend on who else is there; in
    an order of its own, by its id, so that where many levels meet in one count their errors cancel. Leads of all
    clients taken as one (Leads.pool) do not tell whose id is whose: each level then has numbers of its own.
    """
    n_owners = len(leads.owner_industry)
    observed, expected = client_totals(hazard, exposure, n_owners)
    shape, rate = hazard.client_shape + observed, hazard.client_shape + expected
    if leads.clients.ids == EVERYONE.ids:
        noise = rng.standard_normal((n_owners, DRAWS))
    else:
        noise = rng.standard_normal(DRAWS)[orders(hashes(leads.clients))]
    cube = 1 - 1 / (9 * shape[:, None]) + noise / (3 * np.sqrt(shape[:, None]))
    drawn = shape[:, None] * np.maximum(cube, 1e-3) ** 3 / rate[:, None]
    mean = shape / rate
    return Levels(hazard.client_scale * mean, drawn / mean[:, None], np.sqrt(polygamma(1, shape)))


def orders(seeds: IntArray) -> IntArray:
    """Give a random order of the draws for each seed, the same everywhere, shape (seeds, DRAWS)."""
    mixed: NDArray[np.uint64] = (seeds[:, None] * DRAWS + np.arange(DRAWS)).astype(np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):  # splitmix64 (Steele 2014)
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return np.argsort(mixed, axis=1, kind="stable")


@dataclass(frozen=True, slots=True)
class Counts:
    """What the draws say: each lead's probability, and for each client and draw the sums that make the count."""

    probability: FloatArray  # (leads,), the mean over the draws: they add up to the expected count
    means: FloatArray  # (clients, DRAWS), sum of the leads' probabilities
    squares: FloatArray  # (clients, DRAWS), sum of their squares


def count_draws(
    hazard: HazardModel, cohort: Leads, age: FloatArray, *, codes: Codes, levels: Levels, deviations: FloatArray
) -> Counts:
    """
    Draw every lead's probability, and sum by client.

    age : days since first contact, shape (leads,). codes : of the features, shape (leads, features). deviations : as
    draw_deviations gives them.

    Each lead's draws of its hazard are scaled to mean 1: the fit's estimate on the log scale is that of the mean hazard
    (a Poisson rate's, under its gamma posterior), and the mean of an exponential of normal draws would lie above it.
    """
    n_clients = len(cohort.clients)
    means, squares = np.zeros((n_clients, DRAWS)), np.zeros((n_clients, DRAWS))
    probability = np.zeros(len(cohort))
    for begin, end, pieces in _blocks(cohort.client):
        block = slice(begin, end)
        owner = cohort.owner[block]
        outlook = forecast(hazard, age[block], codes[block], levels.multiplier[owner])
        factor = draw_log_shifts(hazard, outlook, codes[block], deviations)
        np.exp(np.clip(factor, -5, 5, out=factor), out=factor)
        factor *= levels.ratio[owner]
        factor *= (np.log1p(-outlook.probability) / factor.mean(axis=1))[:, None]
        p = -np.expm1(factor, out=factor)
        probability[block] = p.mean(axis=1)
        who = cohort.client[begin + pieces]
        means[who] += np.add.reduceat(p, pieces, axis=0)
        squares[who] += np.add.reduceat(np.square(p, out=p), pieces, axis=0)
    return Counts(probability, means, squares)


def _blocks(client: IntArray) -> Iterator[tuple[int, int, IntArray]]:
    """
    Cut leads, sorted by client, into blocks; gives beginning, end, and where in it each client's piece begins.

    A large client is cut from its own first lead on, so that its sums are rounded alike whoever else is there. No
    client has two pieces in one block.
    """
    starts = np.flatnonzero(np.diff(client, prepend=-1))
    sizes = np.diff(starts, append=len(client))
    cuts = [np.arange(low, low + size, BLOCK_LEADS) for low, size in zip(starts.tolist(), sizes.tolist(), strict=True)]
    edges = np.concatenate([*cuts, [len(client)]]).astype(np.int64)
    begin = 0
    while begin < len(client):
        first = np.searchsorted(edges, begin)
        last = np.searchsorted(edges, begin + BLOCK_LEADS, side="right") - 1
        yield begin, int(edges[last]), edges[first:last] - begin
        begin = int(edges[last])
