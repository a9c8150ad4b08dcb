"""Reliability: does what was said with probability p hold as often as p? Tables, intervals and scores of claims."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import betaincinv, ndtr, stdtrit

from worker.statistics import BoolArray, FloatArray, IntArray

N_BINS = 10  # of equal width
LEVEL = 0.90  # of the intervals
NOTHING = (float("nan"),) * 10  # every number where there is no claim


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The claims said with a probability in [low, high) (the last bin holds 1 too); at least one of them."""

    low: float
    high: float
    n: int
    mean_said: float
    share_right: float
    interval_low: float  # of the share that is right in the long run, level 90%
    interval_high: float

    @property
    def verdict(self) -> str:
        """Tell whether what was said lies outside the interval: "too sure", "too modest" or ""."""
        if self.mean_said > self.interval_high:
            return "too sure"
        return "too modest" if self.mean_said < self.interval_low else ""


@dataclass(frozen=True, slots=True)
class Reliability:
    """
    How claims' probabilities and what became of them fit together.

    Without any claim n is 0, there are no bins, and every number is NaN (null in JSON): NaN passes no bar.
    """

    n: int
    void: int  # claims that nothing decides (said is NaN); they are in no other number
    mean_said: float
    mean_right: float
    gap: float  # mean_said - mean_right: above 0 is too sure
    gap_low: float  # 90% interval of the gap
    gap_high: float
    ece: float  # sum over bins of share x |mean said - share right| (Naeini, Cooper & Hauskrecht 2015)
    ece_by_chance: float  # what luck alone gives on average where every probability is true
    brier: float
    skill: float  # 1 - Brier / that of always saying mean_right; NaN where all were right or all wrong
    sharpness: float  # standard deviation of what was said: 0 says the same of everyone
    bins: tuple[ReliabilityBin, ...]  # those with claims, from low to high

    def as_json(self) -> dict[str, Any]:
        """Give every number by its name, NaN as null."""
        plain = asdict(self)
        plain["bins"] = [{name: _number(value) for name, value in row.items()} for row in plain["bins"]]
        return {name: value if name == "bins" else _number(value) for name, value in plain.items()}

    def __str__(self) -> str:
        """Write the table, at most 80 columns wide."""
        if not self.n:
            return "no claims" + (f" ({self.void} that nothing decides)" if self.void else "")
        lines = [f"{'said':>9} {'claims':>8} {'mean said':>10} {'right':>6}   90% interval"]
        lines += [
            f"{b.low:.1f} - {b.high:.1f} {b.n:>8d} {b.mean_said:>10.3f} {b.share_right:>6.3f}"
            f"   {b.interval_low:.3f} - {b.interval_high:.3f}   {b.verdict}".rstrip()
            for b in self.bins
        ]
        gap = f"{self.gap:+.3f} ({self.gap_low:+.3f} to {self.gap_high:+.3f})"
        scores = f"ECE {self.ece:.3f} (chance alone {self.ece_by_chance:.3f}), Brier {self.brier:.3f}"
        skill = "-" if np.isnan(self.skill) else f"{self.skill:.3f}"
        lines += [
            f"{'all':>9} {self.n:>8d} {self.mean_said:>10.3f} {self.mean_right:>6.3f}   said - right {gap}",
            f"{scores}, skill {skill}, sharpness {self.sharpness:.3f}",
            *([f"{self.void} more that nothing decides"] if self.void else []),
        ]
        return "\n".join(lines)


def reliability(said: FloatArray, right: BoolArray | IntArray, *, cluster: IntArray | None = None) -> Reliability:
    """
    Compare what was said with what became of it.

    Parameters
    ----------
    said : shape (claims,), probabilities in [0, 1]; NaN where nothing can decide the claim.
    right : shape (claims,), whether the claim held; what stands beside a NaN means nothing.
    cluster : shape (claims,), whose claim it is (a client): claims of one client may hang together. None: all are
        independent.

    Returns
    -------
    A bin's interval is Jeffreys' for a binomial share (Brown, Cai & DasGupta 2001), n divided by the design effect
    1 + rho (m - 1) of its clusters (Kish 1965): m is the claims' mean cluster size in the bin, and rho, the likeness
    of two claims of one cluster and bin, is estimated over all bins, since one bin cannot tell. The gap's interval is
    the cluster-robust one by Student's t.

    Raises
    ------
    ValueError
        Shapes differ, or a probability is outside [0, 1].
    """
    said, held = np.asarray(said, dtype=np.float64), np.asarray(right, dtype=np.float64)
    group = np.arange(len(said)) if cluster is None else np.unique(np.asarray(cluster), return_inverse=True)[1]
    if not said.shape == held.shape == group.shape or said.ndim != 1:
        raise ValueError(f"said {said.shape}, right {held.shape} and cluster {group.shape} must be rows of one length")
    decided = ~np.isnan(said)
    said, held, group = said[decided], held[decided], group[decided]
    void = int((~decided).sum())
    if not len(said):
        return Reliability(0, void, *NOTHING, ())
    if said.min() < 0 or said.max() > 1:
        raise ValueError(f"probabilities lie in [0, 1], not {said.min()} to {said.max()}")
    where = np.minimum((said * N_BINS).astype(np.int64), N_BINS - 1)
    n, sum_said, sum_right, chance = (
        np.bincount(where, weights, N_BINS).astype(np.float64) for weights in (None, said, held, said * (1 - said))
    )
    effect = _design_effects(where, held, group, n, sum_right)
    k = sum_right / effect
    rest = (n - sum_right) / effect
    tail = (1 - LEVEL) / 2
    # Jeffreys' interval reaches to the end where all were wrong, or all right
    low = np.where(sum_right == 0, 0.0, betaincinv(k + 0.5, rest + 0.5, tail))
    high = np.where(sum_right == n, 1.0, betaincinv(k + 0.5, rest + 0.5, 1 - tail))
    bins = tuple(
        ReliabilityBin(
            b / N_BINS,
            (b + 1) / N_BINS,
            int(n[b]),
            float(sum_said[b] / n[b]),
            float(sum_right[b] / n[b]),
            float(low[b]),
            float(high[b]),
        )
        for b in np.flatnonzero(n).tolist()
    )
    base, brier = float(held.mean()), float(((said - held) ** 2).mean())
    gap = float((said - held).mean())
    reach = _robust_reach(said - held, group)
    return Reliability(
        n=len(said),
        void=void,
        mean_said=float(said.mean()),
        mean_right=base,
        gap=gap,
        gap_low=max(gap - reach, -1.0),
        gap_high=min(gap + reach, 1.0),
        ece=float(np.abs(sum_said - sum_right).sum() / len(said)),
        ece_by_chance=float(np.sqrt(2 / np.pi * chance * effect).sum() / len(said)),
        brier=brier,
        skill=1 - brier / (base * (1 - base)) if 0 < base < 1 else float("nan"),
        sharpness=float(said.std()),
        bins=bins,
    )


def _design_effects(
    where: IntArray, right: FloatArray, group: IntArray, n: FloatArray, sum_right: FloatArray
) -> FloatArray:
    """Give each bin's design effect from clusters, at least 1 and at most its claims by cluster."""
    cell, members = np.unique(where * (int(group.max()) + 1) + group, return_inverse=True)
    if len(cell) == len(right):
        return np.ones(N_BINS)
    share = (sum_right + 0.5) / (n + 1)
    residual = right - share[where]
    size = np.bincount(members).astype(np.float64)
    total = np.bincount(members, residual)
    pairs = float((size * (size - 1)).sum())
    covariance = float((total**2).sum() - (residual**2).sum()) / pairs
    of_cell = cell // (int(group.max()) + 1)
    variance = float((size * (size - 1) * (share * (1 - share))[of_cell]).sum()) / pairs
    rho = min(max(covariance / variance, 0.0), 1.0)
    mean_size = np.bincount(of_cell, size**2, N_BINS) / np.maximum(n, 1)
    return 1 + rho * np.maximum(mean_size - 1, 0.0)


def _robust_reach(excess: FloatArray, group: IntArray) -> float:
    """Half the width of the mean's interval, sums of a cluster taken as one draw; infinite for a single cluster."""
    total = np.bincount(group, excess - excess.mean())
    clusters = len(np.unique(group))
    if clusters < 2:
        return float("inf")
    error = float(np.sqrt((total**2).sum() * clusters / (clusters - 1))) / len(excess)
    return float(stdtrit(clusters - 1, (1 + LEVEL) / 2)) * error


@dataclass(frozen=True, slots=True)
class Gap:
    """What is known of the difference, in the long run, of what is said and how often it is right: a normal law."""

    mean: float
    error: float
    seen_error: float  # of the claims' own difference about the true one; infinite where there is no claim

    def within(self, distance: float) -> float:
        """Probability that the difference is less than so much, to either side."""
        return _within(self.mean, self.error, distance)

    def next_within(self, distance: float, share: float) -> float:
        """Probability that it is less than so much among the next claims, `share` times as many as there were."""
        if not np.isfinite(self.seen_error):
            return _within(self.mean, float(np.hypot(self.error, 0.5)), distance)  # of a single claim, at worst
        return _within(self.mean, float(np.hypot(self.error, self.seen_error / np.sqrt(share))), distance)


PRIOR_GAP = 0.1  # standard deviation of the difference before any claim is decided; ten points off is nothing unusual
FEW_CLUSTERS = 4  # fewer do not tell how much they scatter
ALIKE = 5  # clusters that scatter as independent claims do, as if they had been seen: months are few


def estimate_gap(said: FloatArray, right: BoolArray, clusterings: tuple[IntArray, ...]) -> Gap:
    """
    Estimate how far what is said lies from how often it is right.

    Parameters
    ----------
    said, right : shape (claims,), of decided claims.
    clusterings : each of shape (claims,): claims that hang together (a client's; those of one month).

    Returns
    -------
    The posterior under a normal prior about 0. The error of the difference is the largest of the cluster-robust ones,
    by each clustering, and of that of independent claims, as which some more clusters are thought to scatter before any
    is seen: the largest of several guesses is else too large. Where there are too few clusters to see how they scatter,
    a cluster counts as one claim. A normal law with Student's variance stands for few clusters.
    """
    n = len(said)
    if n == 0:
        return Gap(0.0, PRIOR_GAP, float("inf"))
    excess = said - right
    typical = float((said * (1 - said)).mean())
    variance = independent = max(typical / n, 0.25 / n**2)
    for clustering in clusterings:
        _, group = np.unique(clustering, return_inverse=True)
        size = np.bincount(group)
        clusters = len(size)
        if clusters < FEW_CLUSTERS:
            variance = max(variance, typical * float((size.astype(np.float64) ** 2).sum()) / n**2)
            continue
        total = np.bincount(group, excess - excess.mean())
        robust = float((total**2).sum()) * clusters / n**2  # times clusters - 1
        variance = max(variance, (robust + ALIKE * independent) / (clusters - 1 + ALIKE - 2))
    weight = PRIOR_GAP**2 / (PRIOR_GAP**2 + variance)
    return Gap(weight * float(excess.mean()), float(np.sqrt(weight * variance)), float(np.sqrt(variance)))


def _within(mean: float, error: float, distance: float) -> float:
    return float(ndtr((distance - mean) / error) - ndtr((-distance - mean) / error))


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
