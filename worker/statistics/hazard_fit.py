"""
Learn the hazard of worker/statistics/hazard.py: age curve, pace of the months, features and clients' levels together.

A Poisson regression on exposure (Friedman 1982) whose parts have normal or gamma priors as wide as the data say. The
normal equations of levels are sums over rows by pairs of levels, so no design matrix is ever made: a hundred thousand
leads take a second, and the same optimum comes out as from scikit-learn's PoissonRegressor (tested against it).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.linalg import block_diag
from scipy.special import gammaln

from worker.statistics import FloatArray, IntArray
from worker.statistics.hazard import (
    AGE_KNOTS,
    AGE_MIDDLES,
    CONVERTED,
    DEFAULT_EXIT_RATE,
    EXITED,
    N_BINS,
    Exposure,
    HazardModel,
    bin_of_age,
    days_by_bin,
    default_curve,
)

ROUNDS = 8
REFRESHED = (0, 1, 2, 4, 6)  # rounds that count pairs of levels anew; near the optimum the last ones will do
LONGEST_STEP = 2.0  # of a coefficient in one round, on the log scale
LEAST_DAYS = 0.25  # under observation, for each conversion
AGE_STEP_SD, AGE_STEP_WEIGHT = 1.0, 4.0  # between neighbouring knots of age, of the log ratio to the default curve
FEATURE_SD, FEATURE_WEIGHT = 0.3, 2.0  # of a feature's levels before any data; counts as so many levels
DRIFT_SD, DRIFT_WEIGHT = 0.2, 2.0  # of the pace from month to month, on the log scale; counts as so many months
SHOCK_SD, SHOCK_WEIGHT = 0.1, 2.0  # of what moves the pace of one period alone
ROUNDING = 1e-9
LEAST_VARIANCE = 1e-4
CLIENT_SHAPES = np.exp(np.linspace(np.log(0.5), np.log(200.0), 40))
DEFAULT_CLIENT_SHAPE, CLIENT_SHAPE_SD = 3.0, 2.0  # clients' levels differ by some 60%; deviation on the log scale
NO_GAPS: FloatArray = np.zeros(0)


@dataclass(frozen=True, slots=True)
class _Design:
    """
    Levels as columns that are never written out: one of each block is 1 in every row.

    Rows alike in every level are one group; `codes` are the groups', `group` is each row's.
    """

    codes: tuple[IntArray, ...]
    sizes: tuple[int, ...]
    group: IntArray

    @classmethod
    def of_rows(cls, codes: tuple[IntArray, ...], sizes: tuple[int, ...]) -> "_Design":
        """Group the rows, where one number can tell all their combinations apart."""
        if not len(codes[0]) or math.prod(sizes) >= 2**62:
            return cls(codes, sizes, np.arange(len(codes[0])))
        _, first, group = np.unique(np.ravel_multi_index(codes, sizes), return_index=True, return_inverse=True)
        return cls(tuple(c[first] for c in codes), sizes, group)

    @property
    def bounds(self) -> list[slice]:
        """Say where each block's levels stand among the coefficients."""
        ends = np.cumsum((0, *self.sizes)).tolist()
        return [slice(low, high) for low, high in pairwise(ends)]

    @property
    def width(self) -> int:
        return sum(self.sizes)

    def effect(self, coefficients: FloatArray) -> FloatArray:
        """Sum each row's coefficients, shape (rows,)."""
        of_group = np.zeros(len(self.codes[0]))
        for codes, block in zip(self.codes, self.bounds, strict=True):
            of_group += coefficients[block][codes]
        result: FloatArray = of_group[self.group]
        return result

    def sums(self, weights: FloatArray) -> FloatArray:
        """Sum the rows' weights by level, shape (width,)."""
        weights = self._by_group(weights)
        return np.concatenate(
            [np.bincount(c, weights, minlength=size) for c, size in zip(self.codes, self.sizes, strict=True)]
        )

    def information(self, weights: FloatArray) -> FloatArray:
        """Sum the rows' weights by pairs of levels: X' diag(weights) X, shape (width, width)."""
        weights = self._by_group(weights)
        result = np.zeros((self.width, self.width))
        bounds = self.bounds
        for a, block_a in enumerate(bounds):
            result[block_a, block_a] = np.diag(np.bincount(self.codes[a], weights, minlength=self.sizes[a]))
            for b in range(a + 1, len(bounds)):
                pair = self.codes[a] * self.sizes[b] + self.codes[b]
                table = np.bincount(pair, weights, minlength=self.sizes[a] * self.sizes[b])
                result[block_a, bounds[b]] = table.reshape(self.sizes[a], self.sizes[b])
                result[bounds[b], block_a] = result[block_a, bounds[b]].T
        return result

    def _by_group(self, weights: FloatArray) -> FloatArray:
        return np.bincount(self.group, weights, minlength=len(self.codes[0])).astype(np.float64)


def fit_hazard(exposure: Exposure, levels: Sequence[int], gaps: FloatArray = NO_GAPS) -> HazardModel:
    """
    Fit everything together, each part as spread out as the data say.

    Parameters
    ----------
    exposure : features' codes lie in [0, levels), periods in [0, len(gaps)].
    levels : how many levels each feature has.
    gaps : months between the middle of each period and that of the next older one, shape (periods - 1,).

    In turn: the age curve; features and periods by a Newton step; clients' levels by their gamma posterior; and every
    feature's spread, and the drift from month to month, as its levels with their errors are likeliest (EM; Dempster,
    Laird & Rubin 1977). So a feature that tells nothing is drawn to nothing. With no event at all the default curve
    alone speaks, and its width says so. Assumes that leads convert independently given features, client and period.
    """
    levels = tuple(levels)
    n_periods = len(gaps) + 1
    sizes = (n_periods, n_periods, *levels)
    design = _Design.of_rows((exposure.period, exposure.period, *np.ascontiguousarray(exposure.features.T)), sizes)
    blocks = design.bounds
    client, n_clients = exposure.client, int(exposure.client.max(initial=-1)) + 1
    days, events = _days_and_events(exposure)
    default_events, default_days = default_curve()
    converted = exposure.outcome == CONVERTED
    won = design.sums(converted.astype(float))
    observed = np.bincount(client[converted], minlength=n_clients).astype(float)

    log_age, knots = _default_log_hazard(), np.zeros(len(AGE_KNOTS))
    effects = np.zeros(design.width)
    age_variance = AGE_STEP_SD**2
    own, shape = np.ones(n_clients), DEFAULT_CLIENT_SHAPE
    spreads, pace = np.full(len(levels), FEATURE_SD**2, dtype=np.float64), (DRIFT_SD**2, SHOCK_SD**2)
    covariance = np.zeros((design.width, design.width))
    information = np.zeros((design.width, design.width))
    for number in range(ROUNDS):
        factor = np.exp(design.effect(effects)) * own[client]
        knots, age_variance = _fit_age(knots, age_variance, events + default_events, days @ factor + default_days)
        log_age = _default_log_hazard() + _age_basis() @ knots
        expected = (np.exp(log_age) @ days) * factor
        margin, precision = design.sums(expected), _precision(levels, spreads, pace, gaps)
        if number in REFRESHED:
            information = design.information(expected)
        # the overall level belongs to the age curve, which moves it in the next round: here it is profiled out
        total = float(expected.sum() + default_events.sum())
        slope = won - margin - precision @ effects - margin * ((converted.sum() - expected.sum()) / total)
        bent = information + precision - np.outer(np.diagonal(information), np.diagonal(information)) / total
        step = np.linalg.solve(bent, slope)
        effects = effects + step * min(1.0, LONGEST_STEP / max(float(np.abs(step).max(initial=0.0)), 1e-9))
        covariance[:] = np.linalg.inv(bent)
        for j, block in enumerate(blocks[2:]):
            squares = float((effects[block] ** 2 + np.diagonal(covariance)[block]).sum())
            spreads[j] = max((squares + FEATURE_WEIGHT * FEATURE_SD**2) / (levels[j] + FEATURE_WEIGHT), LEAST_VARIANCE)
        pace = _estimate_pace(effects, covariance, gaps)
        expected = (np.exp(log_age) @ days) * np.exp(design.effect(effects))
        of_client = np.bincount(client, expected, minlength=n_clients).astype(np.float64)
        shape = _client_shape(observed, of_client)
        own = (shape + observed) / (shape + of_client)
        own *= of_client.sum() / max(float((own * of_client).sum()), 1e-9)  # what all share is the age curve's

    factor = np.exp(design.effect(effects)) * own[client]
    precision = _precision(levels, spreads, pace, gaps)
    covariance = _joint_covariance(
        design,
        days=days,
        log_age=log_age,
        factor=factor,
        age_precision=_age_precision(age_variance),
        precision=precision,
    )
    kept = np.concatenate([np.arange(N_BINS), np.arange(N_BINS + 2 * n_periods, N_BINS + design.width)])
    full = np.zeros((1 + len(kept), 1 + len(kept)))
    full[0, 0] = sum(pace) if len(gaps) else 0.0  # the coming month's pace is the latest one's, a step and a shock on
    full[1:, 1:] = covariance[np.ix_(kept, kept)]
    full += ROUNDING * np.eye(len(full))  # there are fewer knots than bins: of itself it has no inverse
    weight = design.sums(days.sum(axis=0)) / max(float(days.sum()), 1e-9)
    last = bin_of_age(np.maximum(exposure.exit_age - 1e-9, 0.0))
    exits = np.bincount(last[exposure.outcome == EXITED], minlength=N_BINS).astype(float)
    return HazardModel(
        levels=levels,
        coefficients=np.concatenate([[0.0], log_age, effects[2 * n_periods :]]),
        covariance=full,
        centre=np.array([float((weight[block] * effects[block]).sum()) for block in blocks[2:]]),
        periods=effects[blocks[0]] + effects[blocks[1]],
        exit_hazard=(exits + DEFAULT_EXIT_RATE * default_days) / (days.sum(axis=1) + default_days),
        client_shape=shape,
        n_events=int(converted.sum()),
        n_leads=len(client),
    )


def _days_and_events(exposure: Exposure) -> tuple[FloatArray, FloatArray]:
    """Give each row's days in every age bin, shape (bins, rows), and the conversions by bin."""
    days = np.zeros((N_BINS, len(exposure.client)))
    for row, spent in zip(days, days_by_bin(exposure), strict=True):
        row[:] = spent
    rows = np.flatnonzero(exposure.outcome == CONVERTED)
    last = bin_of_age(np.maximum(exposure.exit_age[rows] - 1e-9, 0.0))
    # stamps are not to be trusted to the second: leads that converted at first sight must not make a rate without bound
    days[last, rows] = np.maximum(days[last, rows], LEAST_DAYS)
    return days, np.bincount(last, minlength=N_BINS).astype(float)


def _age_basis() -> FloatArray:
    """Weights of the knots in each age bin: between two of them the log hazard is linear in the log of age."""
    knots = np.log(AGE_KNOTS)
    return np.stack([np.interp(np.log(AGE_MIDDLES), knots, unit) for unit in np.eye(len(knots))], axis=1)


def _fit_age(knots: FloatArray, step_variance: float, events: FloatArray, days: FloatArray) -> tuple[FloatArray, float]:
    """Fit the log ratio to the default curve at the knots of age, a random walk, by some Newton steps on the bins."""
    basis, precision, steps = _age_basis(), _age_precision(step_variance), np.diff(np.eye(len(AGE_KNOTS)), axis=0)
    base = days * np.exp(_default_log_hazard())
    for _ in range(5):
        expected = base * np.exp(basis @ knots)
        information = (basis.T * expected) @ basis + precision
        step = np.linalg.solve(information, basis.T @ (events - expected) - precision @ knots)
        knots = knots + np.clip(step, -LONGEST_STEP, LONGEST_STEP)
    covariance = np.linalg.inv((basis.T * (base * np.exp(basis @ knots))) @ basis + precision)
    squares = float(((steps @ knots) ** 2).sum() + np.trace(steps @ covariance @ steps.T))
    return knots, (squares + AGE_STEP_WEIGHT * AGE_STEP_SD**2) / (len(steps) + AGE_STEP_WEIGHT)


def _default_log_hazard() -> FloatArray:
    events, days = default_curve()
    result: FloatArray = np.log(events / days)
    return result


def _age_precision(step_variance: float) -> FloatArray:
    steps = np.diff(np.eye(len(AGE_KNOTS)), axis=0)
    result: FloatArray = steps.T @ steps / step_variance
    return result


def _precision(levels: Sequence[int], spreads: FloatArray, pace: tuple[float, float], gaps: FloatArray) -> FloatArray:
    """Prior precision of the pace's level (a random walk back from now, where it is 0), its shocks and the features."""
    drift, shock = pace
    n_periods = len(gaps) + 1
    steps = np.diff(np.eye(n_periods), axis=0)
    level = steps.T @ (steps / (drift * gaps)[:, None])
    level[0, 0] += 1e8  # the latest period is what the others are measured from
    return block_diag(level, np.eye(n_periods) / shock, np.diag(np.repeat(1 / spreads, levels)))


def _estimate_pace(effects: FloatArray, covariance: FloatArray, gaps: FloatArray) -> tuple[float, float]:
    """Variance of the log pace's lasting change from month to month, and of each period's shock that does not last."""
    if not len(gaps):
        return DRIFT_SD**2, SHOCK_SD**2
    n = len(gaps) + 1
    moments = np.outer(effects[: 2 * n], effects[: 2 * n]) + covariance[: 2 * n, : 2 * n]
    steps = np.diff(np.eye(n), axis=0)
    squares = np.einsum("ij,jk,ik->i", steps, moments[:n, :n], steps)
    drift = ((squares / gaps).sum() + DRIFT_WEIGHT * DRIFT_SD**2) / (n - 1 + DRIFT_WEIGHT)
    shock = (np.trace(moments[n:, n:]) + SHOCK_WEIGHT * SHOCK_SD**2) / (n + SHOCK_WEIGHT)
    return float(drift), float(shock)


def _joint_covariance(
    design: _Design,
    *,
    days: FloatArray,
    log_age: FloatArray,
    factor: FloatArray,
    age_precision: FloatArray,
    precision: FloatArray,
) -> FloatArray:
    """Covariance of the age bins, periods and features together, at the optimum."""
    width = N_BINS + design.width
    result = np.zeros((width, width))
    total = np.zeros(days.shape[1])
    _, default_days = default_curve()
    for k in range(N_BINS):
        expected = days[k] * (np.exp(log_age[k]) * factor)
        result[k, N_BINS:] = design.sums(expected)
        result[k, k] = expected.sum() + default_days[k] * np.exp(log_age[k])
        total += expected
    result[N_BINS:, :N_BINS] = result[:N_BINS, N_BINS:].T
    result[N_BINS:, N_BINS:] = design.information(total)
    # from bins to the knots that are estimated, and back
    expand = block_diag(_age_basis(), np.eye(design.width))
    prior = block_diag(age_precision, precision)
    inverse: FloatArray = expand @ np.linalg.inv(expand.T @ result @ expand + prior) @ expand.T
    symmetric: FloatArray = (inverse + inverse.T) / 2
    return symmetric


def _client_shape(observed: FloatArray, expected: FloatArray) -> float:
    """Estimate the gamma shape of the clients' levels by maximum likelihood on a grid, drawn weakly to the default."""
    seen = expected > 0
    o, e = observed[seen], expected[seen]
    if len(o) < 3:  # one or two clients cannot say how much clients differ
        return DEFAULT_CLIENT_SHAPE
    a = CLIENT_SHAPES[:, None]
    log_likelihood = (gammaln(a + o) - gammaln(a) + a * np.log(a) - (a + o) * np.log(a + e)).sum(axis=1)
    log_prior = -0.5 * (np.log(CLIENT_SHAPES / DEFAULT_CLIENT_SHAPE) / CLIENT_SHAPE_SD) ** 2
    return float(CLIENT_SHAPES[int(np.argmax(log_likelihood + log_prior))])
