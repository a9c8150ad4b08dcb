"""
Mending stated probabilities by what became of earlier ones: a logistic map, shrunk to the identity, on trial first.

    p -> expit(a + o_client + b logit p)      (Cox 1958; Platt 1999)

a ~ N(0, .5^2) and b ~ N(1, .5^2) are centred on "leave it as it is"; o_client ~ N(0, t^2), with t^2 learned by the
Laplace approximation of the marginal likelihood, so that a client's own offset stays near the pool's until its claims
say otherwise. A map is worth publishing only if maps fitted on earlier windows improved the claims of later ones, by
the Brier score and by the log loss (see `trial`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, log_expit, logit, stdtr

from worker.statistics import BoolArray, FloatArray, IntArray

PRIOR_DEVIATIONS = np.array([0.5, 0.5])  # of a and of b about 0 and 1: a map that halves the log odds is two away
CLIENT_DEVIATIONS = (0.0, 0.1, 0.2, 0.4, 0.8)  # among which t is chosen
LEAST, MOST = 0.001, 0.999  # what is said beyond is taken for this: no claim's log odds count as endless
LEAST_CLAIMS = 200  # on trial; fewer cannot tell a map from none (800 tell five points nine times in ten)
LEAST_SURE = 0.95  # one-sided, that the trial's gain in log loss is no luck
LEAST_BASE_SQUARES = 0.5  # of a window; the base rate's where all were right is next to none, and no skill beside it
ROUNDS = 30
OFFSET_DIGITS = 4
SMALLEST_OFFSET = 0.005  # of the log odds; smaller ones move no probability by a thousandth


@dataclass(frozen=True, slots=True)
class LogisticMap:
    """A map of probabilities: everyone's intercept and slope, and offsets of the clients, shape (clients,)."""

    a: float
    b: float
    offsets: FloatArray
    client_deviation: float

    def apply(self, said: FloatArray, client: IntArray) -> FloatArray:
        """Map what was said; client indexes offsets, -1 is nobody's own (all clients together)."""
        own = np.append(self.offsets, 0.0)[client]
        mapped: FloatArray = expit(self.a + own + self.b * _log_odds(said))
        return mapped


def _log_odds(said: FloatArray) -> FloatArray:
    odds: FloatArray = logit(np.clip(said, LEAST, MOST))
    return odds


def fit_map(said: FloatArray, right: BoolArray, client: IntArray, n_clients: int) -> LogisticMap:
    """
    Fit the map to claims that are decided.

    Parameters
    ----------
    said, right, client : shape (claims,): probabilities, whether the claim held, and whose it was.

    Returns
    -------
    The posterior mode under the chosen deviation of the clients; the identity where there is no claim.
    """
    x, y = _log_odds(said), right.astype(np.float64)
    tried = [_fit(x, y, client, n_clients, deviation) for deviation in CLIENT_DEVIATIONS]
    # of equals the first: the smaller deviation
    return tried[int(np.argmax([evidence for evidence, _ in tried]))][1]


def _fit(x: FloatArray, y: FloatArray, client: IntArray, n_clients: int, deviation: float) -> tuple[float, LogisticMap]:
    """Newton's method on (a, b, offsets); the offsets' block is diagonal, so they are eliminated from each step."""
    prior = 1 / PRIOR_DEVIATIONS**2
    theta, offsets = np.array([0.0, 1.0]), np.zeros(n_clients)
    design = np.stack([np.ones(len(x)), x])
    # a deviation of zero: offsets so dear that none moves
    dear = 1 / deviation**2 if deviation else 1e12

    def objective(theta: FloatArray, offsets: FloatArray) -> float:
        eta = theta @ design + offsets[client]
        fits = float((y * eta + log_expit(-eta)).sum())
        return fits - 0.5 * float((prior * (theta - [0.0, 1.0]) ** 2).sum()) - 0.5 * dear * float(offsets @ offsets)

    value = objective(theta, offsets)
    for _ in range(ROUNDS):
        p = expit(theta @ design + offsets[client])
        weight = p * (1 - p)
        own = np.bincount(client, weight, n_clients) + dear
        cross = np.stack([np.bincount(client, weight * row, n_clients) for row in design])
        slope = design @ (y - p) - prior * (theta - [0.0, 1.0])
        own_slope = np.bincount(client, y - p, n_clients) - dear * offsets
        curvature = (design * weight) @ design.T + np.diag(prior) - (cross / own) @ cross.T
        step = np.linalg.solve(curvature, slope - cross @ (own_slope / own))
        own_step = (own_slope - cross.T @ step) / own
        length = 1.0
        while length > 1e-4 and objective(theta + length * step, offsets + length * own_step) < value:
            length /= 2
        theta, offsets = theta + length * step, offsets + length * own_step
        before, value = value, objective(theta, offsets)
        if value - before < 1e-9:
            break
    p = expit(theta @ design + offsets[client])
    weight = p * (1 - p)
    own = np.bincount(client, weight, n_clients) + dear
    cross = np.stack([np.bincount(client, weight * row, n_clients) for row in design])
    curvature = (design * weight) @ design.T + np.diag(prior) - (cross / own) @ cross.T
    # log determinants of the posterior's precision over the prior's
    precision = float(np.linalg.slogdet(curvature)[1]) + float(np.log(own / dear).sum())
    return value - 0.5 * precision, LogisticMap(float(theta[0]), float(theta[1]), offsets, deviation)


@dataclass(frozen=True, slots=True)
class Trial:
    """How maps of earlier windows did on later ones; means over the claims held out, NaN where there are none."""

    claims: int
    windows: int  # held out, each by a map of those before it
    brier: float  # of what was said
    brier_mapped: float
    log_loss: float
    log_loss_mapped: float
    sure: float  # one-sided probability, by the clients' scatter, that the log loss gains in the long run

    @property
    def passed(self) -> bool:
        """Whether the map is to be published: both scores gain, and not by luck alone."""
        better = self.brier_mapped < self.brier and self.log_loss_mapped < self.log_loss
        return bool(self.claims >= LEAST_CLAIMS and better and self.sure >= LEAST_SURE)

    @property
    def failed(self) -> bool:
        """Whether the map made both scores worse, on claims enough to say so."""
        return bool(
            self.claims >= LEAST_CLAIMS and self.brier_mapped > self.brier and self.log_loss_mapped > self.log_loss
        )

    def as_json(self) -> dict[str, Any]:
        """Give every number by its name, NaN as null."""
        numbers = {name: getattr(self, name) for name in Trial.__slots__}
        return {name: value if np.isfinite(value) else None for name, value in numbers.items()}


def trial(
    said: FloatArray, right: BoolArray, client: IntArray, window: IntArray, n_clients: int
) -> tuple[Trial, FloatArray]:
    """
    Map each window's claims by what was learned from the windows before it, and compare with what was said.

    Parameters
    ----------
    window : shape (claims,), the instant of each claim; a claim is decided before the next window's are made.

    Returns
    -------
    The comparison; and what the maps make of each claim, shape (claims,), NaN for those of the first window.
    """
    instants = np.unique(window)
    mapped = np.full(len(said), np.nan)
    for instant in instants[1:]:  # a dozen at most
        before, here = window < instant, window == instant
        mapped[here] = fit_map(said[before], right[before], client[before], n_clients).apply(said[here], client[here])
    held_out = np.isfinite(mapped)
    found = compare(said[held_out], mapped[held_out], right[held_out], client[held_out], max(len(instants) - 1, 0))
    return found, mapped


def compare(said: FloatArray, mapped: FloatArray, right: BoolArray, client: IntArray, windows: int) -> Trial:
    """Score what was said and what the map makes of it; the claims of one client count as one draw."""
    n = len(said)
    if n == 0:
        return Trial(0, 0, *(float("nan"),) * 5)
    y = right.astype(np.float64)
    losses = [_log_loss(p, y) for p in (said, mapped)]
    gain = losses[0] - losses[1]
    _, group = np.unique(client, return_inverse=True)
    clusters = int(group.max()) + 1
    sure = float("nan")
    if clusters > 1:
        total = np.bincount(group, gain - gain.mean())
        error = float(np.sqrt((total**2).sum() * clusters / (clusters - 1))) / n
        sure = float(stdtr(clusters - 1, float(gain.mean()) / error)) if error > 0 else float(gain.mean() > 0)
    return Trial(
        claims=n,
        windows=windows,
        brier=float(((said - y) ** 2).mean()),
        brier_mapped=float(((mapped - y) ** 2).mean()),
        log_loss=float(losses[0].mean()),
        log_loss_mapped=float(losses[1].mean()),
        sure=sure,
    )


@dataclass(frozen=True, slots=True)
class WindowSkill:
    """How each window's claims did beside the base rate that the windows before it told; shape (windows,), in order."""

    window: IntArray
    claims: IntArray
    skill: FloatArray  # 1 - Brier / that of the base rate; NaN for the first window, and where outcomes do not vary
    z: FloatArray  # by how many standard errors its Brier lies above that of the base rate; NaN for the first


def skill_by_window(said: FloatArray, right: BoolArray, window: IntArray) -> WindowSkill:
    """Compare each window's claims with the share that was right before; the claims of a window are independent."""
    instants, place, n = np.unique(window, return_inverse=True, return_counts=True)
    k = np.bincount(place, right)
    n_before, k_before = np.cumsum(n) - n, np.cumsum(k) - k
    base = ((k_before + 0.5) / (n_before + 1))[place]
    y = right.astype(np.float64)
    ours, theirs = (np.bincount(place, (p - y) ** 2) for p in (said, base))
    excess = (said - y) ** 2 - (base - y) ** 2
    mean = np.bincount(place, excess) / np.maximum(n, 1)
    scatter = np.bincount(place, (excess - mean[place]) ** 2)
    # where all or nearly all were right the scatter hardly shows: what it would be, were true what was said
    by_chance = np.bincount(place, 4 * (said - base) ** 2 * said * (1 - said))
    error = np.sqrt(np.maximum(scatter, by_chance)) / np.maximum(n, 1)
    known = n_before > 0
    return WindowSkill(
        window=instants,
        claims=n,
        skill=np.where(known & (theirs >= LEAST_BASE_SQUARES), 1 - ours / theirs, np.nan),
        z=np.where(known, mean / np.maximum(error, 1e-12), np.nan),
    )


def _log_loss(p: FloatArray, y: FloatArray) -> FloatArray:
    held = np.clip(p, LEAST, MOST)
    loss: FloatArray = -(y * np.log(held) + (1 - y) * np.log1p(-held))
    return loss


def map_as_json(found: LogisticMap, client_ids: tuple[str | None, ...]) -> dict[str, Any]:
    """Write a map: offsets by client, those too small to move anything left out."""
    rounded = np.round(found.offsets, OFFSET_DIGITS)
    kept = np.flatnonzero(np.abs(rounded) >= SMALLEST_OFFSET).tolist()
    return {
        "a": found.a,
        "b": found.b,
        "client_deviation": found.client_deviation,
        "clients": {str(client_ids[i]): float(rounded[i]) for i in kept},
    }


def map_from_json(kept: Mapping[str, Any], client_ids: tuple[str | None, ...]) -> LogisticMap:
    """Read a map back, offsets in the order of client_ids; a client that it does not know has none of its own."""
    own = kept["clients"]
    offsets = np.array([own.get(client_id, 0.0) for client_id in client_ids], dtype=np.float64)
    return LogisticMap(float(kept["a"]), float(kept["b"]), offsets, float(kept["client_deviation"]))


def apply_map(said: FloatArray, client_ids: tuple[str | None, ...], kept: Mapping[str, Any]) -> FloatArray:
    """
    State probabilities as a stored map says, shape (clients,) each.

    Where the map is silenced (worker/review/learning.py) every client's claim is stated by the base rate. That is how
    often single clients' claims hold, which says nothing of the one about all together (None): the map alone does.
    """
    mapped = map_from_json(kept, client_ids).apply(said, np.arange(len(said)))
    if kept.get("base_rate") is None:
        return mapped
    return np.where([client_id is None for client_id in client_ids], mapped, float(kept["base_rate"]))
