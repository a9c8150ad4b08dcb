"""Worlds as arrays: counts and means by client and window, and what is true of them; drawn in milliseconds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.simulate.changes import (
    BASE_HIGH_SHARE,
    SCORE_DEAD_BAND,
    SHARE_DEAD_BAND,
    ChangeKind,
    Sizes,
    change_class,
    draw_changes,
    draw_true_shares,
    draw_window_sizes,
    move_share,
    walk_back,
)
from worker.simulate.habits import TONE_BASE
from worker.simulate.latent import draw_level
from worker.simulate.single_leads import (
    BURST_CORRELATION,
    MEAN_BURST,
    Grouping,
    Kept,
    SingleLeads,
    draw_scores,
    draw_together,
    group_leads,
)
from worker.statistics import FloatArray, IntArray

SCORE_UNIT = 60.0  # points a whole share: so the dead bands, 3 points and 5 points of share, cut the same part off
SCORE_BOUNDS = (2.0, 98.0)  # points


@dataclass(frozen=True, slots=True)
class _Windows:
    """
    Leads by window and client, oldest window first, and what is true of them: shape (windows, clients).

    A client that was not there yet (see `walk_back`) has no lead, and its first level as the truth.
    """

    n: IntArray
    true: FloatArray

    @property
    def n_previous(self) -> IntArray:
        """Leads in the last window but one, shape (clients,)."""
        return _window(self.n, -2)

    @property
    def n_current(self) -> IntArray:
        """Leads in the last window, shape (clients,)."""
        return _window(self.n, -1)

    @property
    def true_previous(self) -> FloatArray:
        """What was true in the last window but one."""
        return _window(self.true, -2)

    @property
    def true_current(self) -> FloatArray:
        """What is true in the last window."""
        return _window(self.true, -1)


@dataclass(frozen=True, slots=True)
class ShareWorld(_Windows):
    """
    High leads (k) among the n leads by window and client; `true` are the shares behind them.

    A client may have no lead in any window but the last. `leads` is given only where leads depend on one another
    (bursts, duplicates).
    """

    k: IntArray
    leads: SingleLeads | None = None

    @property
    def k_previous(self) -> IntArray:
        """High leads in the last window but one, shape (clients,)."""
        return _window(self.k, -2)

    @property
    def k_current(self) -> IntArray:
        """High leads in the last window, shape (clients,)."""
        return _window(self.k, -1)

    @property
    def true_class(self) -> IntArray:
        """Direction of the last true change beyond the dead band: -1, 0 or 1."""
        return change_class(self.true[-1] - self.true[-2], SHARE_DEAD_BAND)


@dataclass(frozen=True, slots=True)
class ScoreWorld(_Windows):
    """
    Mean (nan without a lead) and sample variance (nan below two) of lead scores, in points; `true` are the true means.

    Both by window and client; `leads` holds the scores themselves.
    """

    mean: FloatArray
    variance: FloatArray
    leads: SingleLeads

    @property
    def mean_previous(self) -> FloatArray:
        """Mean score in the last window but one, shape (clients,)."""
        return _window(self.mean, -2)

    @property
    def mean_current(self) -> FloatArray:
        """Mean score in the last window, shape (clients,)."""
        return _window(self.mean, -1)

    @property
    def variance_previous(self) -> FloatArray:
        """Variance between leads in the last window but one, shape (clients,)."""
        return _window(self.variance, -2)

    @property
    def variance_current(self) -> FloatArray:
        """Variance between leads in the last window, shape (clients,)."""
        return _window(self.variance, -1)

    @property
    def true_class(self) -> IntArray:
        """Direction of the last true change beyond the dead band: -1, 0 or 1."""
        return change_class(self.true[-1] - self.true[-2], SCORE_DEAD_BAND)


@dataclass(frozen=True, slots=True)
class ToneWorld(_Windows):
    """
    Counts by window, client and tone; `true` are the shares, of the same shape, summing to 1 over tones.

    Tones in the order of TONE_FAMILIES; `leads` only where they depend on one another (bursts, duplicates).
    """

    counts: IntArray
    leads: SingleLeads | None = None

    @property
    def counts_previous(self) -> IntArray:
        """Counts in the last window but one, shape (clients, tones)."""
        return _window(self.counts, -2)

    @property
    def counts_current(self) -> IntArray:
        """Counts in the last window, shape (clients, tones)."""
        return _window(self.counts, -1)


def _window(values: NDArray[Kept], number: int) -> NDArray[Kept]:
    result: NDArray[Kept] = values[number]
    return result


def share_world(
    kind: ChangeKind,
    n_clients: int,
    rng: np.random.Generator,
    *,
    sizes: Sizes = "pareto",
    windows: int = 2,
    base: tuple[float, float] = BASE_HIGH_SHARE,
    burst_correlation: float = BURST_CORRELATION,
    mean_burst: float = MEAN_BURST,
) -> ShareWorld:
    """
    Draw a world of High shares.

    Parameters
    ----------
    kind : how clients change between one window and the next, see `draw_changes`.
    sizes : "pareto" (most clients under 30 leads a window) or "large" (100 leads a window each, about 100 in bursts).
    windows : how many, 2 or more; the last two are alike however many lie before them, see `walk_back`.
    base : Beta parameters of the clients' shares in the last window but one.
    burst_correlation : correlation between two leads of one burst, in [0, 1]; used by the kind bursts only.
    mean_burst : mean number of leads of a burst, in [2, 6]; used by the kind bursts only.
    """
    true, there = draw_true_shares(kind, n_clients, rng, base=base, windows=windows)
    n = there * draw_window_sizes(sizes, n_clients, rng, windows=windows)
    if kind not in ("bursts", "duplicates"):
        return ShareWorld(n, true, rng.binomial(n, true))
    leads = group_leads(kind, n, rng, mean_burst=mean_burst)
    p = true[leads.window, leads.client]
    high = draw_together(kind, leads.group, lambda: rng.random(len(p)) < p, rng, correlation=burst_correlation)
    cell = leads.window * n_clients + leads.client
    n, k = (np.bincount(cell[used], minlength=n.size).reshape(n.shape) for used in (slice(None), high))
    return ShareWorld(n, true, k, SingleLeads(leads.window, leads.client, leads.group, high))


def score_world(
    kind: ChangeKind,
    n_clients: int,
    rng: np.random.Generator,
    *,
    sizes: Sizes = "pareto",
    windows: int = 2,
    lead_sd: float = 18.0,
    burst_correlation: float = BURST_CORRELATION,
    mean_burst: float = MEAN_BURST,
) -> ScoreWorld:
    """
    Draw a world of engagement scores (points, 0-100); changes are those of `draw_changes` times SCORE_UNIT.

    lead_sd is the standard deviation of lead scores around their client's mean, in points; the other parameters are
    those of `share_world`. Lead scores are Beta distributed with that mean and spread, so the true means are exact.
    """
    level = 100.0 * rng.beta(12.0, 10.0, n_clients)
    true, there = walk_back(kind, level, rng, windows=windows, scale=SCORE_UNIT, bounds=SCORE_BOUNDS)
    n = there * draw_window_sizes(sizes, n_clients, rng, windows=windows)
    leads = group_leads(kind, n, rng, mean_burst=mean_burst)
    mean = true[leads.window, leads.client]
    score = draw_scores(kind, leads.group, mean, lead_sd, rng, correlation=burst_correlation)
    n, observed, variance = _moments(leads, score, n.shape)
    return ScoreWorld(n, true, observed, variance, SingleLeads(leads.window, leads.client, leads.group, score))


def _moments(leads: Grouping, score: FloatArray, shape: tuple[int, ...]) -> tuple[IntArray, FloatArray, FloatArray]:
    """Count, mean (nan without a lead) and sample variance (nan below two) by window and client."""
    cell, cells = leads.window * shape[1] + leads.client, shape[0] * shape[1]
    n = np.bincount(cell, minlength=cells)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(cell, score, cells) / n
        variance = np.bincount(cell, (score - mean[cell]) ** 2, cells) / (n - 1)
    variance = np.where(n > 1, variance, np.nan)
    return n.reshape(shape), mean.reshape(shape), variance.reshape(shape)


def tone_world(
    kind: ChangeKind,
    n_clients: int,
    rng: np.random.Generator,
    *,
    sizes: Sizes = "pareto",
    windows: int = 2,
    concentration: float = 12.0,
    burst_correlation: float = BURST_CORRELATION,
    mean_burst: float = MEAN_BURST,
) -> ToneWorld:
    """
    Draw a world of tone shares: Dirichlet over clients around `TONE_BASE` in the last window but one.

    Between two windows one random tone of a client takes `draw_changes` of the whole from the others (or gives it to
    them), in proportion, as far as there is any; the past is walked back as by `walk_back`, but what a tone cannot
    give is left out. The other parameters are those of `share_world`.
    """
    n = draw_window_sizes(sizes, n_clients, rng, windows=windows)
    true = [rng.dirichlet(concentration * TONE_BASE, n_clients)]
    for period in range(windows - 1):
        moved = rng.integers(0, len(TONE_BASE), n_clients)
        change = draw_changes(kind, n_clients, rng)
        if period == 0:
            true.append(move_share(true[0], moved, change))
        else:
            true.insert(0, move_share(true[0], moved, -change))
    shares = np.stack(true)
    if kind not in ("bursts", "duplicates"):
        return ToneWorld(n, shares, rng.multinomial(n, shares))
    leads = group_leads(kind, n, rng, mean_burst=mean_burst)
    p = shares[leads.window, leads.client]
    tone = draw_together(kind, leads.group, lambda: draw_level(rng, p), rng, correlation=burst_correlation)
    cell = (leads.window * n_clients + leads.client) * len(TONE_BASE) + tone
    counts = np.bincount(cell, minlength=shares.size).reshape(shares.shape)
    return ToneWorld(counts.sum(axis=2), shares, counts, SingleLeads(leads.window, leads.client, leads.group, tone))
