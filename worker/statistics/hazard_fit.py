"""
Learn the hazard of worker/statistics/hazard.py: age curve, pace of the months, features and clients' levels together.

A Poisson regression on exposure (Friedman 1982) whose parts have normal or gamma priors as wide as the data say. The
normal equations of levels are sums over rows by pairs of levels, so no design matrix is ever made: a hundred thousand
leads take a second, and the same optimum comes out as from scikit-learn's PoissonRegressor (tested against it).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.linalg import block_diag
from scipy.special import gammaln

from worker.statistics import FloatArray
from worker.statistics.hazard import (
    AGE_KNOTS,
    AGE_MIDDLES,
    DEFAULT_EXIT_RATE,
    EXITED,
    N_BINS,
    Exposure,
    HazardModel,
    default_curve,
)
from worker.statistics.hazard_rows import Rows

ROUNDS = 6
SPREAD_ROUNDS = 6  # of the spreads in one round
REFRESHED = (0, 1, 3)  # rounds that count pairs of levels anew; near the optimum the last ones will do
LONGEST_STEP = 2.0  # of a coefficient in one round, on the log scale
AGE_STEP_SD, AGE_STEP_WEIGHT = 1.0, 4.0  # between neighbouring knots of age, of the log ratio to the default curve
FEATURE_SD, FEATURE_WEIGHT = 0.3, 2.0  # of a feature's levels before any data; counts as so many levels
# What moves with time, standard deviations of the log hazard with their prior medians. Data choose among the values.
DRIFTS, DRIFT = np.array([0.01, 0.03, 0.06, 0.12, 0.25, 0.5]), 0.10  # of everyone's pace, lasting, from month to month
SHOCKS, SHOCK = np.array([0.01, 0.03, 0.06, 0.12, 0.25]), 0.05  # of everyone's pace in one period alone
STEPS, STEP = np.array([0.003, 0.01, 0.03, 0.06]), 0.02  # of those who arrive, from month to month
TRENDS, TREND = np.array([0.003, 0.01, 0.02]), 0.01  # of those who arrive, the same every month: no faster one lasts
TIME_SD = 1.0  # of the logarithms of these four around their medians
ROUNDING = 1e-9
LEAST_VARIANCE = 1e-4
NOTHING = 1e-6  # a variance: what is 0 by definition
CLIENT_SHAPES = np.exp(np.linspace(np.log(0.5), np.log(200.0), 40))
DEFAULT_CLIENT_SHAPE, CLIENT_SHAPE_SD = 3.0, 2.0  # clients' levels differ by some 60%; deviation on the log scale
NO_GAPS: FloatArray = np.zeros(0)


def fit_hazard(
    exposure: Exposure, levels: Sequence[int], gaps: FloatArray = NO_GAPS, arrival_gaps: FloatArray = NO_GAPS
) -> HazardModel:
    """
    Fit everything together, each part as spread out as the data say.

    Parameters
    ----------
    exposure : features' codes lie in [0, levels), periods in [0, len(gaps)].
    levels : how many levels each feature has.
    gaps : months between the middle of each period and that of the next older one, shape (periods - 1,).
    arrival_gaps : the same for blocks of arrival, where the last feature's levels are these, the newest first.

    In turn: the age curve; features, periods and arrivals by a Newton step in which the age curve follows; clients'
    levels by their gamma posterior; every feature's spread as its levels with their errors are likeliest (EM; Dempster,
    Laird & Rubin 1977); and how much periods and arrivals move, weighed by how likely it makes the data (_TimePrior).
    So a feature that tells nothing is drawn to nothing. Age, period and arrival tell one another's trend only by these
    priors (Holford 1983): a steady trend is taken for one of those who arrive, so far as it may last. With no event at
    all the default curve alone speaks, and its width says so. Assumes that leads convert independently given features,
    client, period and arrival.
    """
    levels = tuple(levels)
    n_periods = len(gaps) + 1
    sizes = (n_periods, *levels)
    rows = Rows.of(exposure, sizes)
    exits, n_leads = _exits_by_bin(rows, exposure), len(exposure.client)
    del exposure  # which the rows are a copy of
    blocks = [slice(low, high) for low, high in pairwise(np.cumsum((0, *sizes)).tolist())]
    width = sum(sizes)
    plain = blocks[1:-1] if len(arrival_gaps) else blocks[1:]
    time = _TimePrior.over(gaps, arrival_gaps)
    default_events, default_days = default_curve()
    events, won, observed = rows.conversions()
    n_events = int(observed.sum())
    events += default_events

    knots, age_variance = np.zeros(len(AGE_KNOTS)), AGE_STEP_SD**2
    effects = np.zeros(width)
    own, shape, scale = np.ones(rows.n_clients), DEFAULT_CLIENT_SHAPE, 1.0
    spreads = np.full(len(plain), FEATURE_SD**2)
    information = np.zeros((len(knots) + width,) * 2)
    aged = len(knots)
    for number in range(ROUNDS):
        factors = rows.factors(effects, own)
        knots, age_variance = _fit_age(knots, age_variance, events, rows.days_by_bin(factors) + default_days)
        hazard = np.exp(_log_hazard(knots))
        if number in REFRESHED:
            information = _information(rows, hazard, factors)
        # the age curve follows whatever moves here (its own slope is nought by now): it is profiled out
        follows = np.linalg.solve(information[:aged, :aged] + _age_precision(age_variance), information[:aged, aged:])
        bent = information[aged:, aged:] - information[aged:, :aged] @ follows
        pull = bent @ effects + won - rows.sum_by_level(rows.expected(hazard, factors))
        time = time.learn(bent, pull, _spread_precision(plain, spreads))
        best = effects
        for _ in range(SPREAD_ROUNDS):
            covariance = np.linalg.inv(bent + time.precision(_spread_precision(plain, spreads)))
            best = covariance @ pull
            squares = best**2 + np.diagonal(covariance)
            spreads = np.array([_spread(squares[block]) for block in plain])
        step = best - effects
        step *= min(1.0, LONGEST_STEP / max(float(np.abs(step).max(initial=0.0)), 1e-9))
        effects, knots = effects + step, knots - follows @ step
        hazard = np.exp(_log_hazard(knots))
        of_client = rows.sum_by_client(rows.expected(hazard, rows.factors(effects)))
        shape = _client_shape(observed, of_client)
        own = (shape + observed) / (shape + of_client)
        total = float((own * of_client).sum())
        scale = float(of_client.sum()) / total if total > 0 else 1.0
        own *= scale  # what all share is the age curve's

    information = _information(rows, hazard, rows.factors(effects, own))
    prior = block_diag(_age_precision(age_variance), time.precision(_spread_precision(plain, spreads)))
    inverse = np.linalg.inv(information + prior)
    kept = np.r_[:aged, aged + n_periods : aged + width]  # what a forecast needs: its pace is the coming one
    expand = block_diag(_age_basis(), np.eye(len(kept) - aged))
    covariance = expand @ inverse[np.ix_(kept, kept)] @ expand.T
    full = np.zeros((1 + len(covariance),) * 2)
    full[0, 0] = time.ahead  # the coming month's pace is the latest one's, a step and a shock on
    full[1:, 1:] = (covariance + covariance.T) / 2
    full += ROUNDING * np.eye(len(full))  # there are fewer knots than bins: of itself it has no inverse
    days = rows.days_by_bin()
    by_level = rows.sum_by_level(rows.expected(np.ones(N_BINS), rows.ones()))
    observed_days = max(float(by_level[blocks[0]].sum()), 1e-9)
    weight = by_level / observed_days
    of_periods = weight[:n_periods]
    past_pace = inverse[aged : aged + n_periods, aged : aged + n_periods]
    return HazardModel(
        levels=levels,
        coefficients=np.concatenate([[0.0], _log_hazard(knots), effects[n_periods:]]),
        covariance=full,
        weights=np.concatenate([[1.0], days / observed_days, weight[n_periods:]]),
        periods=effects[blocks[0]],
        exit_hazard=(exits + DEFAULT_EXIT_RATE * default_days) / (days + default_days),
        client_shape=shape,
        client_scale=scale,
        pace=-float(of_periods @ effects[blocks[0]]),
        pace_noise=float(np.sqrt(max(float(of_periods @ past_pace @ of_periods), 0.0) + time.ahead)),
        n_events=n_events,
        n_leads=n_leads,
    )


def _information(rows: Rows, hazard: FloatArray, factors: Sequence[FloatArray]) -> FloatArray:
    """Fisher information of the age's knots and the levels together; hazard: a day, by bin."""
    basis = _age_basis()
    aged, width = basis.shape[1], rows.levels.width
    _, default_days = default_curve()
    result = np.zeros((aged + width,) * 2)
    result[:aged, :aged] = (basis.T * (hazard * (rows.days_by_bin(factors) + default_days))) @ basis
    result[aged:, :aged] = (rows.days_by_level(factors) * hazard) @ basis
    result[:aged, aged:] = result[aged:, :aged].T
    result[aged:, aged:] = rows.information(rows.expected(hazard, factors))
    return result


def _exits_by_bin(rows: Rows, exposure: Exposure) -> FloatArray:
    """Count by age bin those that left without converting."""
    left = exposure.outcome == EXITED
    last_bin = np.concatenate([np.zeros(0, np.uint8), *(block.spans.last_bin for block in rows.blocks)])
    return np.bincount(last_bin[left], minlength=N_BINS).astype(np.float64)


@dataclass(frozen=True, slots=True)
class _TimePrior:
    """
    What is thought of the periods' and the arrivals' log hazards: a weighted mean of many priors' covariances.

    Each is a random walk back from the newest of them, which is what the others are measured from, with shocks of the
    periods and a steady trend of the arrivals beside.
    """

    periods: FloatArray  # (choices, periods, periods), covariances
    arrivals: FloatArray  # (choices, arrivals, arrivals)
    next_variance: FloatArray  # (choices,) of the coming month's pace
    log_prior: FloatArray  # (period choices, arrival choices)
    weights: FloatArray  # the same shape, adding up to 1

    @classmethod
    def over(cls, gaps: FloatArray, arrival_gaps: FloatArray) -> "_TimePrior":
        """Lay out the choices, weighted as they are before any data."""

        def unlikely(values: FloatArray, median: float) -> FloatArray:
            return -0.5 * (np.log(values / median) / TIME_SD) ** 2

        back = np.concatenate([[0.0], np.cumsum(gaps)])
        drift, shock = (x.ravel()[:, None, None] for x in np.meshgrid(DRIFTS, SHOCKS, indexing="ij"))
        periods = drift**2 * np.minimum.outer(back, back) + shock**2 * np.eye(len(back))
        if not len(gaps):
            drift, shock, periods = drift * 0, shock * 0, np.full_like(periods, NOTHING)
        came = np.concatenate([[0.0], np.cumsum(arrival_gaps)])
        step, trend = (x.ravel()[:, None, None] for x in np.meshgrid(STEPS, TRENDS, indexing="ij"))
        arrivals = (
            step**2 * np.minimum.outer(came, came) + trend**2 * np.outer(came, came) + NOTHING * np.eye(len(came))
        )
        log_prior = np.add.outer(
            np.add.outer(unlikely(DRIFTS, DRIFT), unlikely(SHOCKS, SHOCK)).ravel(),
            np.add.outer(unlikely(STEPS, STEP), unlikely(TRENDS, TREND)).ravel(),
        )
        if not len(arrival_gaps):
            arrivals = np.zeros((arrivals.shape[0], 0, 0))
        weights = np.exp(log_prior - log_prior.max())
        return cls(periods, arrivals, (drift**2 + shock**2).ravel(), log_prior, weights / weights.sum())

    @property
    def ahead(self) -> float:
        """Variance of the coming month's pace beside the latest one's."""
        return float(self.weights.sum(axis=1) @ self.next_variance)

    def precision(self, spreads: FloatArray) -> FloatArray:
        """Put the mean prior's precision around that of the features."""
        periods = np.einsum("i,ijk->jk", self.weights.sum(axis=1), self.periods)
        arrivals = np.einsum("i,ijk->jk", self.weights.sum(axis=0), self.arrivals)
        return block_diag(np.linalg.inv(periods), spreads, *([np.linalg.inv(arrivals)] if arrivals.size else []))

    def learn(self, bent: FloatArray, pull: FloatArray, spreads: FloatArray) -> "_TimePrior":
        """Weigh the choices by how likely they make the data (a normal approximation; MacKay 1992)."""
        n, m = self.periods.shape[1], self.arrivals.shape[1]
        width = len(pull)
        timed = np.r_[:n, width - m : width]
        rest = np.arange(n, width - m)
        cross = np.linalg.solve(bent[np.ix_(rest, rest)] + spreads, np.c_[bent[np.ix_(rest, timed)], pull[rest]])
        a = bent[np.ix_(timed, timed)] - bent[np.ix_(timed, rest)] @ cross[:, :-1]
        b = pull[timed] - bent[np.ix_(timed, rest)] @ cross[:, -1]
        both = np.zeros((len(self.periods), len(self.arrivals), n + m, n + m))
        both[..., :n, :n] = np.linalg.inv(self.periods)[:, None]
        if m:
            both[..., n:, n:] = np.linalg.inv(self.arrivals)[None]
        total = both + a
        fit = (np.linalg.solve(total, np.broadcast_to(b[:, None], (*total.shape[:-1], 1)))[..., 0] * b).sum(axis=-1)
        score = self.log_prior + (fit + np.linalg.slogdet(both)[1] - np.linalg.slogdet(total)[1]) / 2
        weights = np.exp(score - score.max())
        return replace(self, weights=weights / weights.sum())


def _spread_precision(blocks: Sequence[slice], spreads: FloatArray) -> FloatArray:
    """Prior precision of the features' levels, shape (levels, levels)."""
    widths = [block.stop - block.start for block in blocks]
    result: FloatArray = np.diag(np.repeat(1 / spreads, widths))
    return result


def _spread(squares: FloatArray) -> float:
    """Variance of a feature's levels, of which these are the expected squares."""
    total = float(squares.sum()) + FEATURE_WEIGHT * FEATURE_SD**2
    return max(total / (len(squares) + FEATURE_WEIGHT), LEAST_VARIANCE)


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


def _log_hazard(knots: FloatArray) -> FloatArray:
    """Log hazard of each age bin."""
    result: FloatArray = _default_log_hazard() + _age_basis() @ knots
    return result


def _default_log_hazard() -> FloatArray:
    events, days = default_curve()
    result: FloatArray = np.log(events / days)
    return result


def _age_precision(step_variance: float) -> FloatArray:
    steps = np.diff(np.eye(len(AGE_KNOTS)), axis=0)
    result: FloatArray = steps.T @ steps / step_variance
    return result


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
