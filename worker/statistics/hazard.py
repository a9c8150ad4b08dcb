"""
When do leads convert, if at all: a discrete-time hazard in which open leads are censored and other exits compete.

A lead is at risk from its arrival until it converts, leaves otherwise (archived, deleted, lost) or the data end. In
each bin of age the conversion hazard is constant; its logarithm is a sum over the bin, the period of the calendar and
the lead's features (piecewise exponential model, Friedman 1982; worker/statistics/hazard_fit.py learns it). A client's
own level multiplies it, shrunk by a gamma prior (Clayton 1978). A fraction that never converts shows as a hazard that
dies out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.statistics import BoolArray, FloatArray, IntArray
from worker.statistics.level_sums import BLOCK_ROWS

AGE_EDGES = np.array(
    [0, 1, 2, 3, 4, 5, 7, 9, 11, 14, 17, 20, 24, 28, 33, 39, 46, 54, 63, 74, 87, 102, 120, 141, 166, 195, 230, 270, 365,
     540, 730, 1e6]
)  # days  # fmt: skip
AGE_MIDDLES = np.append((AGE_EDGES[:-2] + AGE_EDGES[1:-1]) / 2, 1000.0)
AGE_KNOTS = np.array([0.5, 1.5, 2.5, 4, 6, 8, 11, 15, 20, 27, 36, 49, 66, 90, 120, 165, 220, 300, 400, 600])  # days
N_BINS = len(AGE_EDGES) - 1
OPEN, CONVERTED, EXITED = 0, 1, 2
DEFAULT_LEADS = 10.0  # the default curve counts as this many leads followed to the end
DEFAULT_CONVERTING = 0.10  # of them convert,
DEFAULT_SHAPE, DEFAULT_SCALE = 0.7, 20.0  # after a Weibull delay (days); a common order of magnitude in sales funnels
DEFAULT_EXIT_RATE = 0.001  # other exits a day
HORIZON_DAYS = 30
MOST_TOGETHER = 512  # combinations of several features' levels that are looked up as one
LEAST_DAYS = 0.25  # under observation, for each conversion: stamps are not to be trusted to the second


Codes = NDArray[np.integer[Any]]  # levels of features, in integers of any width


@dataclass(frozen=True, slots=True)
class Exposure:
    """Leads under observation; every array has shape (leads,), ages in days since first contact."""

    entry_age: FloatArray
    exit_age: FloatArray
    outcome: IntArray  # OPEN, CONVERTED or EXITED, at exit_age
    features: Codes  # (leads, features)
    client: IntArray
    period: IntArray  # of the calendar, 0 is the latest: a lead has a row for each in which it was under observation


@dataclass(frozen=True, slots=True)
class HazardModel:
    """What was learned; coefficients are ordered: intercept, age bins, then the levels of each feature in turn."""

    levels: tuple[int, ...]
    coefficients: FloatArray
    covariance: FloatArray
    weights: FloatArray  # of the coefficients over all days under observation: 1 a block; what an average lead has
    periods: FloatArray  # log pace of each period beside the latest one, which is 0
    exit_hazard: FloatArray  # per day, by age bin
    client_shape: float  # of the gamma prior of the clients' multipliers
    client_scale: float  # makes their posterior means add up to what happened
    pace: float  # log pace of the coming month beside the average day under observation
    pace_noise: float  # its standard deviation
    n_events: int
    n_leads: int

    def centre_of(self, block: slice) -> float:
        """Mean coefficient of a block over all days under observation."""
        return float((self.weights[block] * self.coefficients[block]).sum())

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


def default_delay_within(days: FloatArray) -> FloatArray:
    """Median, in days, of the default curve's delays that are no longer than so many days; elementwise."""
    within = -np.expm1(-((days / DEFAULT_SCALE) ** DEFAULT_SHAPE))
    median: FloatArray = DEFAULT_SCALE * (-np.log1p(-within / 2)) ** (1 / DEFAULT_SHAPE)
    return median


@dataclass(frozen=True, slots=True)
class AgeSpans:
    """
    From which age to which each row was under observation, as places in the bins of age; arrays of shape (rows,).

    Sums over a row's bins are differences of running sums, so that no array of rows by bins is ever made.
    """

    first_bin: NDArray[np.uint8]
    first_days: FloatArray  # from the beginning of first_bin
    last_bin: NDArray[np.uint8]
    last_days: FloatArray  # of rows that converted at first sight, some more
    converted: BoolArray

    @classmethod
    def of(cls, exposure: Exposure) -> "AgeSpans":
        """Place every row."""
        end = np.maximum(exposure.exit_age, exposure.entry_age)
        first, last = bin_of_age(exposure.entry_age), bin_of_age(np.maximum(end - 1e-9, exposure.entry_age))
        in_last = end - np.maximum(AGE_EDGES[last], exposure.entry_age)
        converted = exposure.outcome == CONVERTED
        extra = np.where(converted, np.maximum(LEAST_DAYS - in_last, 0.0), 0.0)
        return cls(
            first.astype(np.uint8),
            exposure.entry_age - AGE_EDGES[first],
            last.astype(np.uint8),
            end - AGE_EDGES[last] + extra,
            converted,
        )

    def integrate(self, hazard: FloatArray) -> FloatArray:
        """Sum each row's hazard over its days; hazard: a day, by bin, shape (bins,)."""
        before = np.concatenate([[0.0], np.cumsum(hazard * np.diff(AGE_EDGES))[:-1]])
        result: FloatArray = hazard[self.last_bin] * self.last_days
        result += before[self.last_bin]
        result -= before[self.first_bin]
        result -= hazard[self.first_bin] * self.first_days
        return result

    def ends(self, weights: FloatArray, codes: IntArray | None = None, size: int = 1) -> FloatArray:
        """
        Sum the rows' weights, and their weighted days, by the bin and level in which they end, less where they begin.

        codes: each row's level. What days_of makes of such sums is their days; they can be added up before.
        """

        def add(bins: NDArray[np.uint8], rows: slice | IntArray, days: FloatArray, sign: int) -> None:
            place = bins[rows].astype(np.int64)
            if codes is not None:
                place = place * size + codes[rows]
            weight = weights[rows]
            for number, what in enumerate((weight, weight * days[rows])):
                result[2 * (sign < 0) + number] = np.bincount(place, what, minlength=N_BINS * size)

        result = np.zeros((4, N_BINS * size))
        add(self.last_bin, slice(None), self.last_days, 1)
        # rows that begin at the age of nought, half of them, have nothing that could be taken away
        add(self.first_bin, np.flatnonzero((self.first_bin > 0) | (self.first_days > 0)), self.first_days, -1)
        return result

    def days(self, weights: FloatArray, codes: IntArray | None = None, size: int = 1) -> FloatArray:
        """Sum the rows' weighted days by bin and level, shape (bins, size); codes: each row's level."""
        return days_of(self.ends(weights, codes, size))

    def conversions(self) -> FloatArray:
        """Count the conversions by bin."""
        return np.bincount(self.last_bin[self.converted], minlength=N_BINS).astype(np.float64)


def days_of(ends: FloatArray) -> FloatArray:
    """Turn sums of AgeSpans.ends into days by bin and level, shape (bins, size)."""
    there, partly = ends[::2].reshape(2, N_BINS, -1), ends[1::2].reshape(2, N_BINS, -1)
    beyond = np.cumsum(there[:, ::-1], axis=1)[:, ::-1] - there
    until = np.where(beyond != 0, beyond * np.diff(AGE_EDGES)[:, None], 0.0) + partly
    result: FloatArray = np.maximum(until[0] - until[1], 0.0)
    return result


def bin_of_age(age: FloatArray) -> IntArray:
    """Give the age bin that holds each age."""
    bins: IntArray = np.clip(np.searchsorted(AGE_EDGES, age, side="right") - 1, 0, N_BINS - 1)
    return bins


def hazard_at(model: HazardModel, age: FloatArray) -> FloatArray:
    """Conversion hazard a day of an average lead of no particular features, its logarithm linear between the bins."""
    hazard: FloatArray = np.exp(np.interp(age, AGE_MIDDLES, model.coefficients[0] + model.coefficients[1 : 1 + N_BINS]))
    return hazard


def feature_effect(model: HazardModel, features: Codes) -> FloatArray:
    """Sum of each lead's feature coefficients (log hazard), shape (leads,)."""
    effect = np.zeros(len(features))
    for feature in range(len(model.levels)):
        effect += model.coefficients[model.offset(feature) :][features[:, feature]]
    return effect


def client_totals(model: HazardModel, exposure: Exposure, n_clients: int) -> tuple[FloatArray, FloatArray]:
    """Conversions seen and conversions the model expected for each client, shape (clients,) each."""
    baseline = np.exp(model.coefficients[0] + model.coefficients[1 : 1 + N_BINS])
    expected = np.empty(len(exposure.client))  # summed at one go, lest a client's sum depend on where blocks end
    for low in range(0, len(expected), BLOCK_ROWS):
        part = mask_exposure(exposure, slice(low, low + BLOCK_ROWS))
        effect = feature_effect(model, part.features) + model.periods[part.period]
        expected[low : low + BLOCK_ROWS] = AgeSpans.of(part).integrate(baseline) * np.exp(effect)
    converted = exposure.client[exposure.outcome == CONVERTED]
    observed: FloatArray = np.bincount(converted, minlength=n_clients).astype(float)
    predicted: FloatArray = np.bincount(exposure.client, weights=expected, minlength=n_clients).astype(float)
    return observed, predicted


@dataclass(frozen=True, slots=True)
class Forecast:
    """Each open lead's probability of converting within the horizon, and where in age that risk lies."""

    probability: FloatArray  # (leads,)
    risk_share: FloatArray  # (leads, bins): share of the expected hazard spent in each age bin


def forecast(
    model: HazardModel, age: FloatArray, features: Codes, multiplier: FloatArray, horizon: int = HORIZON_DAYS
) -> Forecast:
    """
    Probability that each open lead converts in the coming `horizon` days, other exits competing.

    age : days since first contact, shape (leads,); multiplier : of the lead's client, shape (leads,).
    Cumulative incidence by daily steps (Fine & Gray 1999 for the notion): S shrinks by both hazards. Open leads crowd
    at other ages of a bin than those that were followed through it, so that a hazard constant in the bin would be too
    high for them where it falls steeply.
    """
    order = np.argsort(age)  # ages in order are placed in their bins at a fraction of the time
    age, features = age[order], features[order]
    own = np.exp(feature_effect(model, features)) * multiplier[order]
    staying = np.ones(len(age))
    risk = np.zeros((len(age), N_BINS))
    flat, first = risk.ravel(), np.arange(len(age)) * N_BINS
    total = np.zeros(len(age))
    for day in range(horizon):
        bins = bin_of_age(age + day + 0.5)
        convert = hazard_at(model, age + day + 0.5) * own
        both = convert + model.exit_hazard[bins]
        leaving = staying * -np.expm1(-both)
        gain = leaving * convert / both
        total += gain
        staying -= leaving
        flat[first + bins] += gain
    risk /= np.maximum(total, 1e-300)[:, None]
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return Forecast(np.clip(total, 1e-9, 1 - 1e-9)[back], risk[back])


def draw_log_shifts(model: HazardModel, outlook: Forecast, features: Codes, deviations: FloatArray) -> FloatArray:
    """
    How far each parameter draw moves each lead's log hazard, shape (leads, draws).

    deviations : shape (draws, coefficients), drawn by draw_deviations.
    """
    by_coefficient = np.ascontiguousarray(deviations.T)
    shifts = np.repeat(by_coefficient[:1], len(features), axis=0)
    for age_bin in range(N_BINS):  # written out: a matrix product would round differently for other row counts
        here = np.flatnonzero(outlook.risk_share[:, age_bin])
        if len(here):
            shifts[here] += outlook.risk_share[here, age_bin, None] * by_coefficient[1 + age_bin]
    for codes, table in _by_several(model, features, by_coefficient):
        shifts += table[codes]
    return shifts


def _by_several(
    model: HazardModel, features: Codes, by_coefficient: FloatArray
) -> Iterator[tuple[IntArray, FloatArray]]:
    """
    Add up some features' rows of a table of coefficients: one code for several features, and the sums by it.

    Which features share a code is the model's alone, so that no lead's sum is rounded otherwise for other leads' sake.
    """
    feature = 0
    while feature < len(model.levels):
        codes = features[:, feature].astype(np.int64)
        table = by_coefficient[model.offset(feature) :][: model.levels[feature]]
        feature += 1
        while feature < len(model.levels) and len(table) * model.levels[feature] <= MOST_TOGETHER:
            own = by_coefficient[model.offset(feature) :][: model.levels[feature]]
            codes = codes * len(own) + features[:, feature]
            table = (table[:, None] + own).reshape(-1, table.shape[1])
            feature += 1
        yield codes, table


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
    baseline = hazard_at(model, np.arange(days, dtype=np.float64) + 0.5) * np.exp(effect)
    staying = np.ones(len(multiplier))
    incidence = np.zeros(len(multiplier))
    total = np.zeros(len(multiplier))
    for day in range(days):
        age_bin = int(bin_of_age(np.array([day + 0.5]))[0])
        convert = baseline[day] * multiplier
        both = convert + model.exit_hazard[age_bin]
        leaving = staying * -np.expm1(-both)
        total += incidence + leaving * convert / both / 2
        incidence = incidence + leaving * convert / both
        staying = staying - leaving
    return total / days


def mask_exposure(exposure: Exposure, keep: BoolArray | slice) -> Exposure:
    """Only some of the rows."""
    return Exposure(
        exposure.entry_age[keep],
        exposure.exit_age[keep],
        exposure.outcome[keep],
        exposure.features[keep],
        exposure.client[keep],
        exposure.period[keep],
    )
