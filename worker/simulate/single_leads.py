"""The single leads of array worlds: bursts whose leads tend to agree, leads recorded twice, or one by one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from worker.simulate.changes import ChangeKind
from worker.statistics import BoolArray, FloatArray, IntArray

BURST_LENGTHS = (2, 6)  # leads
MEAN_BURST = 4.0  # leads
BURST_CORRELATION = 0.6  # between two leads of one burst
DUPLICATE_RATE = 0.2  # share of leads recorded a second time in the duplicates world

GAP_DAYS = 3.0 / (24 * 60)  # mean time between a lead and the next of its burst, or its copy: three minutes
CLOSEST_DAYS = 1.0 / (24 * 3600)  # a second

Kept = TypeVar("Kept", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Grouping:
    """Which leads belong together; aligned arrays, a lead an entry, sorted by window, client and group."""

    window: IntArray  # 0 is the oldest
    client: IntArray
    group: IntArray  # leads of one burst, or copies of one lead, stand side by side and share this number


@dataclass(frozen=True, slots=True)
class SingleLeads:
    """Single leads of a world, as `Grouping`, and what each shows: High or not, its score in points, or its tone."""

    window: IntArray
    client: IntArray
    group: IntArray
    value: BoolArray | FloatArray | IntArray

    @property
    def high(self) -> BoolArray:
        """Whether each lead is High, of a share world."""
        return self.value.astype(np.bool_)


def first_of(group: IntArray) -> IntArray:
    """Give the index of the first lead of each lead's group; groups stand in ascending order."""
    return np.searchsorted(group, group)


def draw_burst_lengths(n_bursts: int, mean_burst: float, rng: np.random.Generator) -> IntArray:
    """Draw so many lengths, 2 to 6 leads, of this mean."""
    shortest, longest = BURST_LENGTHS
    if not shortest <= mean_burst <= longest:
        raise ValueError(f"mean_burst must lie in [{shortest}, {longest}], not {mean_burst}")
    steps = longest - shortest
    return shortest + rng.binomial(steps, (mean_burst - shortest) / steps, n_bursts)


def group_leads(kind: ChangeKind, n: IntArray, rng: np.random.Generator, *, mean_burst: float) -> Grouping:
    """
    Say which leads come together, given how many there are by window and client, shape (windows, clients).

    In bursts, each window of a client is made of whole bursts: about n leads, and some wherever n is not 0 in the last
    window. Of duplicates, n are the originals.
    """
    if kind == "bursts":
        # Rounded at random, so that the expected number of leads stays n.
        bursts = (n / mean_burst + rng.random(n.shape)).astype(np.int64)
        bursts[-1] = np.maximum(bursts[-1], n[-1] > 0)
        n = bursts
    cell, group = form_groups(kind, n, rng, mean_burst=mean_burst)
    return Grouping(cell // n.shape[1], cell % n.shape[1], group)


def form_groups(
    kind: ChangeKind, count: IntArray, rng: np.random.Generator, *, mean_burst: float
) -> tuple[IntArray, IntArray]:
    """
    Make leads of so many groups in each cell: bursts, a lead and its copy, or single leads, as the kind has it.

    Gives each lead's cell (an index into count, flattened) and group, both ascending.
    """
    cell = np.repeat(np.arange(count.size), count.ravel())
    lengths: IntArray = np.ones(len(cell), dtype=np.int64)
    if kind == "bursts":
        lengths = draw_burst_lengths(len(cell), mean_burst, rng)
    elif kind == "duplicates":
        lengths = lengths + (rng.random(len(cell)) < DUPLICATE_RATE)
    return np.repeat(cell, lengths), np.repeat(np.arange(len(cell)), lengths)


def draw_days_since_first(first: IntArray, rng: np.random.Generator) -> FloatArray:
    """Draw how many days after the first of its group each lead arrives; `first` is that lead's index, in order."""
    n = len(first)
    gap = np.where(first == np.arange(n), 0.0, CLOSEST_DAYS + rng.exponential(GAP_DAYS, n))
    passed = np.cumsum(gap)
    result: FloatArray = passed - passed[first]
    return result


def draw_together(
    kind: ChangeKind,
    group: IntArray,
    draw: Callable[[], NDArray[Kept]],
    rng: np.random.Generator,
    *,
    correlation: float,
) -> NDArray[Kept]:
    """
    Draw what each lead shows, where it is one of a few levels; `draw` gives one independent value a lead.

    A member of a burst repeats the burst's value with probability sqrt(correlation), so two members correlate as asked
    for and each single lead still has its client's own shares. A duplicate shows what the first copy does.
    """
    own = draw()
    if kind == "bursts":
        repeats = rng.random(len(own)) < np.sqrt(correlation)
        return np.where(repeats, draw()[first_of(group)], own)
    return own[first_of(group)] if kind == "duplicates" else own


def draw_scores(
    kind: ChangeKind,
    group: IntArray,
    mean: FloatArray,
    lead_sd: float,
    rng: np.random.Generator,
    *,
    correlation: float,
) -> FloatArray:
    """
    Draw each lead's score, Beta distributed over 0 to 100 points with its own mean and the spread lead_sd.

    Leads of a burst scatter around the burst's own mean, which is Beta distributed around theirs; the two spreads are
    set so that a lead's variance is the same as without bursts and two members correlate exactly as asked for.
    """
    mu = mean / 100.0
    precision = np.maximum(mu * (1.0 - mu) / (lead_sd / 100.0) ** 2 - 1.0, 0.5)
    if kind != "bursts" or correlation == 0.0:
        score = rng.beta(mu * precision, (1.0 - mu) * precision)
        return 100.0 * (score[first_of(group)] if kind == "duplicates" else score)
    # Var = m(1 - m) / (precision + 1); of it the burst's mean takes `correlation`, its members the rest.
    of_burst = (precision + 1.0) / correlation - 1.0
    common = rng.beta(mu * of_burst, (1.0 - mu) * of_burst)[first_of(group)]
    if correlation == 1.0:
        return 100.0 * common
    within = (precision + 1.0 - correlation) / (1.0 - correlation) - 1.0
    common = np.clip(common, 1e-9, 1.0 - 1e-9)
    return 100.0 * rng.beta(common * within, (1.0 - common) * within)
