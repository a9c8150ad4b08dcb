"""
When do leads convert, if at all: a discrete-time hazard in which open leads are censored and other exits compete.

A lead is at risk from its arrival until it converts, leaves otherwise (archived, deleted, lost) or the data end. In
each bin of age the conversion hazard is constant; its logarithm is a sum over the bin and the lead's features
(piecewise exponential model, Friedman 1982; it equals a Poisson regression on grouped exposure). A client's own level
multiplies it, shrunk by a gamma prior (Clayton 1978). A fraction that never converts shows as a hazard that dies out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.special import gammaln

from worker.statistics import BoolArray, FloatArray, IntArray

AGE_EDGES = np.array([0, 1, 2, 3, 5, 7, 10, 14, 21, 30, 45, 60, 90, 120, 180, 270, 365, 730, 1e6])  # days
N_BINS = len(AGE_EDGES) - 1
OPEN, CONVERTED, EXITED = 0, 1, 2
PRIOR_SD = 1.0  # of each coefficient, on the log scale
DEFAULT_LEADS = 10.0  # the default curve counts as this many leads followed to the end
DEFAULT_CONVERTING = 0.10  # of them convert,
DEFAULT_SHAPE, DEFAULT_SCALE = 0.7, 20.0  # after a Weibull delay (days); a common order of magnitude in sales funnels
LEAST_DAYS = 0.25  # under observation, for each conversion
DEFAULT_EXIT_RATE = 0.001  # other exits a day
CLIENT_SHAPES = np.exp(np.linspace(np.log(0.5), np.log(200.0), 40))
DEFAULT_CLIENT_SHAPE, CLIENT_SHAPE_SD = 3.0, 2.0  # clients' levels differ by some 60%; deviation on the log scale
HORIZON_DAYS = 30


@dataclass(frozen=True, slots=True)
class Exposure:
    """Leads under observation; every array has shape (leads,), ages in days since first contact."""

    entry_age: FloatArray
    exit_age: FloatArray
    outcome: IntArray  # OPEN, CONVERTED or EXITED, at exit_age
    features: IntArray  # (leads, features), level codes
    client: IntArray


@dataclass(frozen=True, slots=True)
class HazardModel:
    """What was learned; coefficients are ordered: intercept, age bins, then the levels of each feature in turn."""

    levels: tuple[int, ...]
    coefficients: FloatArray
    covariance: FloatArray
    centre: FloatArray  # mean coefficient of each feature over the exposure: what an average lead has
    exit_hazard: FloatArray  # per day, by age bin
    client_shape: float  # of the gamma prior of the clients' multipliers
    n_events: int
    n_leads: int

    def offset(self, feature: int) -> int:
        """Say where the feature's levels start among the coefficients."""
        return 1 + N_BINS + sum(self.levels[:feature])


def default_curve() -> tuple[FloatArray, FloatArray]:
    """Events and lead-days by age bin of the DEFAULT_LEADS imaginary leads that stand for "no history yet"."""
    age = np.minimum(AGE_EDGES, 730.0)
    open_share = 1 - DEFAULT_CONVERTING * (1 - np.exp(-((age / DEFAULT_SCALE) ** DEFAULT_SHAPE)))
    events = DEFAULT_LEADS * (open_share[:-1] - open_share[1:])
    exposure = DEFAULT_LEADS * (open_share[:-1] + open_share[1:]) / 2 * np.diff(age)
    events[-1], exposure[-1] = events[-2] / 10, exposure[-2]
    return events, exposure


def days_by_bin(exposure: Exposure) -> Iterator[FloatArray]:
    """Give the days that each lead spent under observation in each age bin in turn, shape (leads,)."""
    for low, high in pairwise(AGE_EDGES):
        yield np.maximum(np.minimum(high, exposure.exit_age) - np.maximum(low, exposure.entry_age), 0.0)


def bin_of_age(age: FloatArray) -> IntArray:
    """Give the age bin that holds each age."""
    bins: IntArray = np.clip(np.searchsorted(AGE_EDGES, age, side="right") - 1, 0, N_BINS - 1)
    return bins


def fit_hazard(exposure: Exposure, levels: Sequence[int]) -> HazardModel:
    """
    Fit the model on grouped exposure: one row per age bin and combination of features, however many leads.

    With no event at all the default curve alone speaks, and its width says so. Assumes that leads convert
    independently given their features; the spread of clients' own levels is estimated afterwards, from client_totals.
    """
    from sklearn.linear_model import PoissonRegressor  # noqa: PLC0415 - a second of import, for this job only

    levels = tuple(levels)
    n = len(exposure.client)
    shape = (*levels, N_BINS)
    cells = int(np.prod(levels)) if levels else 1
    cell = np.ravel_multi_index(tuple(exposure.features.T), levels) if levels and n else np.zeros(n, dtype=np.int64)
    days: FloatArray = np.stack([np.bincount(cell, weights=d, minlength=cells) for d in days_by_bin(exposure)], axis=1)
    last = bin_of_age(np.maximum(exposure.exit_age - 1e-9, 0.0))
    converted = exposure.outcome == CONVERTED
    events = np.bincount((cell * N_BINS + last)[converted], minlength=cells * N_BINS).astype(float)
    # stamps are not to be trusted to the second: leads that converted at first sight must not make a rate without bound
    total_days = np.maximum(days.ravel(), LEAST_DAYS * events)
    used = np.flatnonzero(total_days > 0)
    codes: IntArray = np.array(np.unravel_index(used, shape), dtype=np.int64)  # (features + 1, rows), age bin last

    default_events, default_days = default_curve()
    width = 1 + N_BINS + sum(levels)
    design = np.zeros((len(used) + N_BINS, width))
    design[:, 0] = 1
    rows = np.arange(len(used))
    design[rows, 1 + codes[-1]] = 1
    start = 1 + N_BINS
    for feature, size in enumerate(levels):
        design[rows, start + codes[feature]] = 1
        start += size
    design[len(used) + np.arange(N_BINS), 1 + np.arange(N_BINS)] = 1
    all_days = np.concatenate([total_days[used], default_days])
    all_events = np.concatenate([events[used], default_events])

    # sklearn divides the likelihood by the total weight: dividing the penalty too leaves a normal prior of PRIOR_SD.
    regressor = PoissonRegressor(
        alpha=1 / PRIOR_SD**2 / all_days.sum(), fit_intercept=True, solver="newton-cholesky", tol=1e-10, max_iter=300
    )
    # A first Newton step may overshoot to an infinite rate; the line search then sees an infinite loss and halves it.
    with np.errstate(over="ignore", invalid="ignore"):
        regressor.fit(design[:, 1:], all_events / all_days, sample_weight=all_days)
    coefficients = np.concatenate([[regressor.intercept_], regressor.coef_])
    expected = all_days * np.exp(design @ coefficients)
    information = (design * expected[:, None]).T @ design + np.eye(width) / PRIOR_SD**2
    information[0, 0] -= 1 / PRIOR_SD**2  # the intercept has no penalty

    exit_bin = np.bincount(last[exposure.outcome == EXITED], minlength=N_BINS).astype(float)
    exit_hazard = (exit_bin + DEFAULT_EXIT_RATE * default_days) / (days.sum(axis=0) + default_days)

    model = HazardModel(
        levels=levels,
        coefficients=coefficients,
        covariance=np.linalg.inv(information),
        centre=_centres(coefficients, levels, codes, total_days[used]),
        exit_hazard=exit_hazard,
        client_shape=DEFAULT_CLIENT_SHAPE,
        n_events=int(converted.sum()),
        n_leads=n,
    )
    observed, predicted = client_totals(model, exposure, int(exposure.client.max(initial=-1)) + 1)
    return replace(model, client_shape=_client_shape(observed, predicted))


def _centres(coefficients: FloatArray, levels: tuple[int, ...], codes: IntArray, days: FloatArray) -> FloatArray:
    centres = np.zeros(len(levels))
    start = 1 + N_BINS
    for feature, size in enumerate(levels):
        if days.sum() > 0:
            share = np.bincount(codes[feature], weights=days, minlength=size) / days.sum()
            centres[feature] = (share * coefficients[start : start + size]).sum()
        start += size
    return centres


def feature_effect(model: HazardModel, features: IntArray) -> FloatArray:
    """Sum of each lead's feature coefficients (log hazard), shape (leads,)."""
    effect = np.zeros(len(features))
    for feature in range(len(model.levels)):
        effect += model.coefficients[model.offset(feature) + features[:, feature]]
    return effect


def client_totals(model: HazardModel, exposure: Exposure, n_clients: int) -> tuple[FloatArray, FloatArray]:
    """Conversions seen and conversions the model expected for each client, shape (clients,) each."""
    baseline = np.exp(model.coefficients[0] + model.coefficients[1 : 1 + N_BINS])
    cumulative = np.zeros(len(exposure.client))
    for hazard, days in zip(baseline, days_by_bin(exposure), strict=True):
        cumulative += hazard * days
    expected = cumulative * np.exp(feature_effect(model, exposure.features))
    converted = exposure.client[exposure.outcome == CONVERTED]
    observed: FloatArray = np.bincount(converted, minlength=n_clients).astype(float)
    predicted: FloatArray = np.bincount(exposure.client, weights=expected, minlength=n_clients).astype(float)
    return observed, predicted


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


@dataclass(frozen=True, slots=True)
class Forecast:
    """Each open lead's probability of converting within the horizon, and where in age that risk lies."""

    probability: FloatArray  # (leads,)
    risk_share: FloatArray  # (leads, bins): share of the expected hazard spent in each age bin


def forecast(
    model: HazardModel, age: FloatArray, features: IntArray, multiplier: FloatArray, horizon: int = HORIZON_DAYS
) -> Forecast:
    """
    Probability that each open lead converts in the coming `horizon` days, other exits competing.

    age : days since first contact, shape (leads,); multiplier : of the lead's client, shape (leads,).
    Cumulative incidence by daily steps (Fine & Gray 1999 for the notion): S shrinks by both hazards.
    """
    baseline = np.exp(model.coefficients[0] + model.coefficients[1 : 1 + N_BINS])
    own = np.exp(feature_effect(model, features)) * multiplier
    staying = np.ones(len(age))
    probability = np.zeros(len(age))
    risk = np.zeros((len(age), N_BINS))
    rows = np.arange(len(age))
    for day in range(horizon):
        bins = bin_of_age(age + day + 0.5)
        convert = baseline[bins] * own
        both = convert + model.exit_hazard[bins]
        leaving = staying * -np.expm1(-both)
        gain = leaving * convert / both
        probability += gain
        staying -= leaving
        risk[rows, bins] += gain
    return Forecast(np.clip(probability, 1e-9, 1 - 1e-9), risk / np.maximum(probability, 1e-300)[:, None])


def draw_log_shifts(model: HazardModel, outlook: Forecast, features: IntArray, deviations: FloatArray) -> FloatArray:
    """
    How far each parameter draw moves each lead's log hazard, shape (leads, draws).

    deviations : shape (draws, coefficients), drawn by draw_deviations.
    """
    shifts = np.repeat(deviations[:, 0][None, :], len(features), axis=0)
    for age_bin in range(N_BINS):  # written out: a matrix product would round differently for other row counts
        shifts += outlook.risk_share[:, age_bin, None] * deviations[None, :, 1 + age_bin]
    for feature in range(len(model.levels)):
        shifts += deviations[:, model.offset(feature) + features[:, feature]].T
    return shifts


def draw_deviations(model: HazardModel, draws: int, rng: np.random.Generator) -> FloatArray:
    """Draw the coefficients' deviations from their estimate, shape (draws, coefficients), in opposite pairs."""
    root = np.linalg.cholesky(model.covariance + 1e-12 * np.eye(len(model.coefficients)))
    normal = rng.standard_normal((draws // 2, len(model.coefficients)))
    half = normal @ root.T
    return np.concatenate([half, -half])


def expected_share_within(model: HazardModel, effect: float, multiplier: FloatArray, days: int) -> FloatArray:
    """
    Mean over arrival times in the coming `days` of the probability that a lead yet to arrive converts before they end.

    effect : log hazard of an average lead's features; multiplier : shape (clients,).
    """
    baseline = np.exp(model.coefficients[0] + model.coefficients[1 : 1 + N_BINS] + effect)
    staying = np.ones(len(multiplier))
    incidence = np.zeros(len(multiplier))
    total = np.zeros(len(multiplier))
    for day in range(days):
        age_bin = int(bin_of_age(np.array([day + 0.5]))[0])
        convert = baseline[age_bin] * multiplier
        both = convert + model.exit_hazard[age_bin]
        leaving = staying * -np.expm1(-both)
        total += incidence + leaving * convert / both / 2
        incidence = incidence + leaving * convert / both
        staying = staying - leaving
    return total / days


def mask_exposure(exposure: Exposure, keep: BoolArray) -> Exposure:
    """Only the leads where keep is true."""
    return Exposure(
        exposure.entry_age[keep],
        exposure.exit_age[keep],
        exposure.outcome[keep],
        exposure.features[keep],
        exposure.client[keep],
    )
