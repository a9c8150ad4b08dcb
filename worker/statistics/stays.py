"""
How long events last: the probability that a conversion, or a reversion, is not undone within 90 days.

Everything is reckoned by the week: an event is judged by what was known when its week began, whenever it is looked at.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from worker.statistics import BoolArray, FloatArray, IntArray

EDGES_DAYS = (0, 1, 3, 7, 14, 30, 60, 90)  # ages between which the hazard is taken as one; what is undone goes early
N_BINS = len(EDGES_DAYS) - 1
# How far back experience counts. Half a year: where the true rate of leaving triples overnight the calibration error is
# .04 with 26 weeks, .05 with 39 and .08 with 104, and in steady worlds they are alike.
MEMORY_WEEKS = 26

# Before anything is seen: nine events in ten stay, worth ten of them seen to the end, with an equal share of the hazard
# between any two edges. Conversions "placed by accident" are the reason that the product offers first.
PRIOR_STAYS, PRIOR_EVENTS = 0.9, 10.0
# Shape of the gamma distribution of the clients' own factors on everyone's hazard: how alike clients are. 1 is a
# factor of 0.05 here and 3 there, 64 is no difference that could be seen.
SHAPES = 2.0 ** np.arange(-2.0, 7.0)
LIKELY_SHAPE = 4.0  # where nothing tells; the middle of the grid, so that it is the mean of the prior on it
BLOCK = 500  # owners whose weeks are laid out at a time: bounds the memory
PRIOR_SD = 1.0  # of the natural logarithm of the shape around the likely one: 1.5 to 11 are within it


@dataclass(frozen=True, slots=True)
class Passages:
    """
    Passages of events through bins of age, shape (passages,): each event that lasted until a bin began, a row for it.

    week : the first one at whose beginning it was known whether the event lasted until the bin's end, which is not
    before that end. Had leaving been counted when it happens, and lasting at the bin's end, the early weeks would see
    too many leave.
    """

    owner: IntArray
    bin: IntArray
    week: IntArray
    left: BoolArray


def find_passages(owner: IntArray, start: IntArray, end: IntArray, week_zero: int, day: int) -> Passages:
    """
    Cut events into passages through the bins of age.

    Parameters
    ----------
    owner : shape (events,), whose they are.
    start, end : instants of the event and of what undid it, in any unit; a far future where nothing did.
    week_zero, day : the instant at which week 0 began, and the length of a day, in that unit.
    """
    edges = np.array(EDGES_DAYS, dtype=np.int64) * day
    reached = start + edges[:-1, None] <= end  # shape (bins, events)
    known = start + edges[1:, None]
    which, event = np.nonzero(reached)
    week = -((week_zero - known[which, event]) // (7 * day))  # rounded up
    return Passages(owner[event], which, week, end[event] < known[which, event])


@dataclass(frozen=True, slots=True)
class Experience:
    """
    What all clients together teach, by week; shape (weeks, bins) or (weeks,).

    reached, left : events that passed through a bin, and of them those that ended in it, among what became known in
    that week. shape : of the gamma distribution of clients' factors, as estimated when that week began.
    """

    first_week: int
    reached: IntArray
    left: IntArray
    shape: FloatArray

    def hazards(self) -> FloatArray:
        """
        Estimate, from what was known when each week began, the cumulative hazard of each bin, shape (weeks, bins).

        The actuarial estimate (those that left were there half of the time), shrunk to the prior.
        """
        reached, left = _remembered(self.reached), _remembered(self.left)
        return _hazard(reached - left / 2, left)

    def at(self, week: IntArray) -> tuple[FloatArray, FloatArray]:
        """Give the hazards, shape (..., bins), and the shape that were known when some weeks began."""
        place = np.clip(week - self.first_week, -1, len(self.shape) - 1) + 1
        nothing = _hazard(np.zeros((1, N_BINS)), np.zeros((1, N_BINS)))
        return np.concatenate([nothing, self.hazards()])[place], np.append(LIKELY_SHAPE, self.shape)[place]


def _hazard(exposure: FloatArray, left: FloatArray | IntArray) -> FloatArray:
    expected = -np.log(PRIOR_STAYS) / N_BINS
    result: FloatArray = (left + PRIOR_EVENTS * expected) / (exposure + PRIOR_EVENTS)
    return result


def _remembered(by_week: IntArray) -> IntArray:
    """Sum along the first axis over the last weeks up to each; whole numbers, so that no order of summing shows."""
    total = np.cumsum(by_week, axis=0)
    total[MEMORY_WEEKS:] -= total[:-MEMORY_WEEKS].copy()
    return total


def learn_experience(passages: Passages, n_owners: int, last_week: int) -> Experience:
    """
    Learn how long events last, and how much clients differ in it, as it was known when each week up to the last began.

    A client with the factor f has f times the hazard at every age, and factors are gamma-distributed with mean 1: of
    the E_c events that would end at a factor of 1, O_c end, and O_c is negative binomial. The shape of that gamma
    distribution is the mean, on the logarithm, of the posterior on a grid.
    """
    first_week = int(passages.week.min(initial=last_week))
    n_weeks = last_week - first_week + 1
    known = passages.week <= last_week
    week, which = passages.week[known] - first_week, passages.bin[known]
    owner, left = passages.owner[known], passages.left[known]
    size = n_weeks * N_BINS
    reached_count = np.bincount(week * N_BINS + which, minlength=size).reshape(n_weeks, N_BINS)
    left_count = np.bincount((week * N_BINS + which)[left], minlength=size).reshape(n_weeks, N_BINS)
    counts = Experience(first_week, reached_count, left_count, np.full(n_weeks, LIKELY_SHAPE))
    own_hazards = np.stack([_own_hazards(counts.hazards(), np.full(n_weeks, shape)) for shape in SHAPES])
    # the hazard of each that ended depends on the shape as well
    score = (_remembered(left_count) * np.log(own_hazards)).sum(axis=2)
    for block in range(0, n_owners, BLOCK):
        mine = (owner >= block) & (owner < block + BLOCK)
        part = Passages(owner[mine] - block, which[mine], week[mine], left[mine])
        score += _log_likelihoods(own_hazards, part, min(BLOCK, n_owners - block))
    return Experience(first_week, reached_count, left_count, _estimate_shape(score))


def _own_hazards(hazards: FloatArray, shape: FloatArray) -> FloatArray:
    """
    Give the hazards of a client whose factor is 1, shape (..., bins), from those of all clients' events together.

    Those that leave easily are soon gone, so together events seem to last ever better; with gamma-distributed factors
    the cumulative hazard H of all is that of the client with factor 1, L, by exp(-H) = (1 + L / shape) ^ -shape.
    """
    cumulative = shape[..., None] * np.expm1(np.cumsum(hazards, axis=-1) / shape[..., None])
    return np.diff(cumulative, axis=-1, prepend=0.0)


def _log_likelihoods(own_hazards: FloatArray, passages: Passages, n_owners: int) -> FloatArray:
    """Give the log-likelihood of some owners' events, shape (shapes, weeks), but for what no shape changes."""
    size = (own_hazards.shape[1], n_owners)
    seen, expected = np.zeros(size, dtype=np.int64), np.zeros((len(SHAPES), *size))
    for number in range(N_BINS):
        own = passages.bin == number
        place = passages.week[own] * n_owners + passages.owner[own]
        reached = _remembered(np.bincount(place, minlength=size[0] * size[1]).reshape(size))
        ended = _remembered(np.bincount(place[passages.left[own]], minlength=size[0] * size[1]).reshape(size))
        expected += own_hazards[:, :, number, None] * (reached - ended / 2)
        seen += ended
    shape = SHAPES[:, None, None]
    result: FloatArray = (
        gammaln(shape + seen) - gammaln(shape) + shape * np.log(shape) - (shape + seen) * np.log(shape + expected)
    ).sum(axis=2)
    return result


def _estimate_shape(score: FloatArray) -> FloatArray:
    """Estimate the gamma shape of every week from its log-likelihoods, shape (shapes, weeks); four digits are kept."""
    log_shape = np.log(SHAPES)[:, None]
    posterior = score - 0.5 * ((log_shape - np.log(LIKELY_SHAPE)) / PRIOR_SD) ** 2
    weight = np.exp(posterior - posterior.max(axis=0))
    mean = (weight * log_shape).sum(axis=0) / weight.sum(axis=0)
    return np.array([float(f"{value:.4g}") for value in np.exp(mean)])


def probability_stays(experience: Experience, passages: Passages, owner: IntArray, week: IntArray) -> FloatArray:
    """
    Estimate for events of some owners and weeks the probability that they are not undone within 90 days.

    Everyone's hazard times the owner's factor, whose distribution is updated by the owner's own events: the mean of
    exp(-factor x hazard) over it. Takes nothing into account that was not known when the event's week began.

    Parameters
    ----------
    passages : of the owners' events, in any order; those of others do no harm.
    owner, week : shape (events,).

    References
    ----------
    Clayton, D. G. (1978). A model for association in bivariate life tables. Biometrika 65, 141-151.
    Vaupel, J. W., Manton, K. G. & Stallard, E. (1979). Demography 16, 439-454.
    """
    hazards, shape = experience.at(week)
    own_hazards = _own_hazards(hazards, shape)
    expected, seen = np.zeros(len(owner)), np.zeros(len(owner), dtype=np.int64)
    for number in range(N_BINS):
        own = passages.bin == number
        reached = _count(passages.owner[own], passages.week[own], owner, week)
        gone = own & passages.left
        ended = _count(passages.owner[gone], passages.week[gone], owner, week)
        expected += own_hazards[:, number] * (reached - ended / 2)
        seen += ended
    ahead = shape * np.expm1(hazards.sum(axis=1) / shape)
    result: FloatArray = np.exp(-(shape + seen) * np.log1p(ahead / (shape + expected)))
    return result


def _count(of_owner: IntArray, in_week: IntArray, owner: IntArray, week: IntArray) -> IntArray:
    """Count each owner's entries of the weeks that are remembered up to some week, all owners at once."""
    if not len(of_owner):
        return np.zeros(len(owner), dtype=np.int64)
    low = min(int(in_week.min()), int(week.min(initial=0)) - MEMORY_WEEKS)
    span = max(int(in_week.max()), int(week.max(initial=0))) - low + 2
    keys = np.sort(of_owner * span + (in_week - low))
    until = np.searchsorted(keys, owner * span + (week - low), side="right")
    since = np.searchsorted(keys, owner * span + (week - low - MEMORY_WEEKS), side="right")
    result: IntArray = until - since
    return result
