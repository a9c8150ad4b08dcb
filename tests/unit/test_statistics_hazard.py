"""When leads convert: closed-form rates, parameters recovered, competing exits, parameter draws."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from worker.statistics.hazard import (
    AGE_EDGES,
    CONVERTED,
    EXITED,
    N_BINS,
    OPEN,
    AgeSpans,
    Exposure,
    bin_of_age,
    client_totals,
    default_curve,
    draw_deviations,
    draw_log_shifts,
    expected_share_within,
    forecast,
    mask_exposure,
)
from worker.statistics.hazard_fit import fit_hazard


def leads(exit_age, outcome, features=None, client=None, entry_age=0.0):
    n = len(exit_age)
    return Exposure(
        np.broadcast_to(np.asarray(entry_age, dtype=float), n).copy(),
        np.asarray(exit_age, dtype=float),
        np.asarray(outcome, dtype=np.int64),
        np.zeros((n, 0), dtype=np.int64) if features is None else np.asarray(features, dtype=np.int64),
        np.zeros(n, dtype=np.int64) if client is None else np.asarray(client, dtype=np.int64),
        np.zeros(n, dtype=np.int64),
    )


def simulate(n, rate, exit_rate, rng, follow=90.0, features=None, client=None):
    """Constant hazards, followed for `follow` days."""
    convert, leave = rng.exponential(1 / rate, n), rng.exponential(1 / exit_rate, n)
    end = np.minimum(np.minimum(convert, leave), follow)
    outcome = np.where(end == follow, OPEN, np.where(convert < leave, CONVERTED, EXITED))
    return leads(end, outcome, features, client)


def stack(parts):
    return Exposure(*(np.concatenate([getattr(p, name) for p in parts]) for name in Exposure.__slots__))


NOBODY = leads([], [])


def days_by_bin(exposure):
    """Days of every row in every bin, shape (rows, bins): what AgeSpans sums without ever writing it out."""
    low, high = AGE_EDGES[:-1], AGE_EDGES[1:]
    return np.maximum(np.minimum(high, exposure.exit_age[:, None]) - np.maximum(low, exposure.entry_age[:, None]), 0.0)


def test_days_in_each_bin():
    days = days_by_bin(leads([4.0, 0.5, 0.0], [OPEN] * 3, entry_age=[0.0, 0.25, 0.0]))
    assert days[0, :5].tolist() == [1.0, 1.0, 1.0, 1.0, 0.0]
    assert days[1, :2].tolist() == [0.25, 0.0]
    assert days.sum(axis=1).tolist() == [4.0, 0.25, 0.0]
    assert bin_of_age(np.array([0.0, 0.99, 1.0, 6.9, 1e7])).tolist() == [0, 0, 1, 5, N_BINS - 1]


def test_sums_over_bins_are_those_of_the_table_of_days():
    rng = np.random.default_rng(11)
    n = 500
    entry = rng.choice([0.0, 1.0, 28.0, 33.3, 400.0], n)
    data = leads(entry + rng.choice([0.0, 0.1, 1.0, 47.0, 900.0], n), rng.integers(0, 3, n), entry_age=entry)
    spans, days = AgeSpans.of(data), days_by_bin(data)
    last = bin_of_age(np.maximum(data.exit_age - 1e-9, data.entry_age))
    won = np.flatnonzero(data.outcome == CONVERTED)
    days[won, last[won]] = np.maximum(days[won, last[won]], 0.25)  # a conversion at first sight
    hazard, weights, codes = rng.gamma(1.0, 0.01, N_BINS), rng.gamma(1.0, 1.0, n), rng.integers(0, 3, n)
    assert spans.integrate(hazard) == pytest.approx(days @ hazard, abs=1e-10)
    assert spans.days(weights)[:, 0] == pytest.approx(weights @ days, abs=1e-7)
    by_level = np.stack([(weights * (codes == level)) @ days for level in range(3)], axis=1)
    assert spans.days(weights, codes, 3) == pytest.approx(by_level, abs=1e-7)
    assert spans.conversions().tolist() == np.bincount(last[won], minlength=N_BINS).tolist()


def test_rates_without_features_are_events_over_days():
    """With much data the default curve fades, and neighbouring bins together have the closed-form rate."""
    rng = np.random.default_rng(1)
    data = simulate(60_000, 0.02, 0.005, rng)
    model = fit_hazard(data, [])
    days = days_by_bin(data).sum(axis=0)
    events = np.bincount(bin_of_age(data.exit_age)[data.outcome == CONVERTED], minlength=N_BINS)
    default_events, default_days = default_curve()
    fitted = np.exp(model.coefficients[0] + model.coefficients[1 : 1 + N_BINS])
    seen = events > 500
    assert seen.sum() >= 6
    assert fitted[seen] == pytest.approx(np.full(seen.sum(), 0.02), rel=0.08)
    expected = (fitted * days).sum() + (fitted * default_days).sum()
    assert expected == pytest.approx(events.sum() + default_events.sum(), rel=1e-3)
    assert model.exit_hazard[seen] == pytest.approx(np.full(seen.sum(), 0.005), rel=0.15)


def test_feature_effects_are_recovered():
    rng = np.random.default_rng(2)
    effect = np.array([0.0, np.log(2.0), np.log(0.5)])
    level = rng.integers(0, 3, 30_000)
    data = simulate(30_000, 0.01 * np.exp(effect[level]), 0.004, rng, features=level[:, None])
    model = fit_hazard(data, [3])
    fitted = model.coefficients[model.offset(0) :][:3]
    sd = np.sqrt(np.diag(model.covariance))[model.offset(0) :]
    assert fitted - fitted[0] == pytest.approx(effect, abs=0.08)
    assert (sd > 0).all()
    difference = np.array([-1.0, 1.0, 0.0])
    part = model.covariance[model.offset(0) :, model.offset(0) :]
    events = np.bincount(level[data.outcome == CONVERTED])
    assert np.sqrt(difference @ part @ difference) == pytest.approx(np.sqrt(1 / events[0] + 1 / events[1]), rel=0.1)


def test_open_leads_are_not_failures():
    """Half of the leads seen for 5 days only: the rate does not fall."""
    rng = np.random.default_rng(3)
    both = stack([simulate(20_000, 0.02, 0.001, rng, follow=5.0), simulate(20_000, 0.02, 0.001, rng)])
    model = fit_hazard(both, [])
    fitted = np.exp(model.coefficients[0] + model.coefficients[1 : 1 + N_BINS])
    assert fitted[:9] == pytest.approx(np.full(9, 0.02), rel=0.25)


def test_spread_between_clients_is_recovered():
    rng = np.random.default_rng(4)
    client = np.repeat(np.arange(400), 60)
    level = rng.gamma(4.0, 1 / 4.0, 400)
    data = simulate(len(client), 0.01 * level[client], 0.003, rng, client=client)
    model = fit_hazard(data, [])
    assert model.client_shape == pytest.approx(4.0, rel=0.4)
    observed, expected = client_totals(model, data, 400)
    assert observed.sum() == (data.outcome == CONVERTED).sum()
    assert expected.sum() == pytest.approx(observed.sum(), rel=0.05)
    shrunken = (model.client_shape + observed) / (model.client_shape + expected)
    assert np.corrcoef(shrunken, level)[0, 1] > 0.8


def test_without_history_the_default_curve_speaks_and_is_wide():
    """About a tenth converts within two years, and nobody can say it within a factor of two."""
    model = fit_hazard(NOBODY, [])
    assert model.client_shape == 3.0
    share = forecast(model, np.zeros(1), np.zeros((1, 0), dtype=np.int64), np.ones(1), 730).probability[0]
    assert 0.03 < share < 0.25
    shift = draw_log_shifts(
        model,
        forecast(model, np.zeros(1), np.zeros((1, 0), dtype=np.int64), np.ones(1)),
        np.zeros((1, 0), dtype=np.int64),
        draw_deviations(model, 2000, np.random.default_rng(1)),
    )
    assert shift.std() > 0.5


@pytest.mark.parametrize(
    "data",
    [
        leads([0.0], [CONVERTED], [[1, 0]]),
        leads([0.0], [OPEN], [[0, 0]]),
        leads([400.0] * 50, [OPEN] * 50, [[1, 2]] * 50),
        leads([0.0] * 500, [CONVERTED] * 500, [[0, 1]] * 500, np.arange(500)),
        leads([3000.0] * 3, [CONVERTED, EXITED, OPEN], [[0, 0], [1, 1], [1, 2]], [0, 1, 2]),
        leads([], [], np.zeros((0, 2))),
    ],
    ids=["one at once", "one just come", "none ever", "all at once", "very old", "nobody"],
)
def test_strange_histories_give_finite_models(data):
    model = fit_hazard(data, [2, 3])
    assert np.isfinite(model.coefficients).all()
    assert np.isfinite(np.linalg.cholesky(model.covariance)).all()
    assert (model.exit_hazard > 0).all()
    age, codes = np.array([0.0, 10.0, 5000.0]), np.array([[0, 0], [1, 2], [1, 1]])
    outlook = forecast(model, age, codes, np.array([1.0, 0.1, 30.0]))
    assert ((outlook.probability > 0) & (outlook.probability < 1)).all()
    assert outlook.risk_share.sum(axis=1) == pytest.approx(1.0)


def test_forecast_of_constant_hazards_is_the_closed_form():
    """Cumulative incidence with exits competing: c / (c + x) (1 - exp(-30 (c + x)))."""
    model = fit_hazard(NOBODY, [])
    c, x = 0.02, 0.01
    coefficients = np.zeros_like(model.coefficients)
    coefficients[0] = np.log(c)
    model = replace(model, coefficients=coefficients, exit_hazard=np.full(N_BINS, x))
    outlook = forecast(model, np.array([0.0, 44.3, 900.0]), np.zeros((3, 0), dtype=np.int64), np.ones(3))
    exact = c / (c + x) * (1 - np.exp(-30 * (c + x)))
    assert outlook.probability == pytest.approx(np.full(3, exact), rel=1e-12)
    doubled = forecast(model, np.zeros(1), np.zeros((1, 0), dtype=np.int64), np.full(1, 2.0)).probability[0]
    assert doubled == pytest.approx(2 * c / (2 * c + x) * (1 - np.exp(-30 * (2 * c + x))))
    arrival = np.linspace(0, 30, 20_001)
    mean = (c / (c + x) * (1 - np.exp(-arrival * (c + x)))).mean()
    assert expected_share_within(model, 0.0, np.ones(1), 30)[0] == pytest.approx(mean, rel=0.002)


def test_forecast_follows_a_cure_fraction():
    """Leads that were going to convert have done so: what is old converts less."""
    rng = np.random.default_rng(6)
    n = 30_000
    converts = rng.random(n) < 0.3
    time = np.where(converts, stats.weibull_min.rvs(0.8, scale=15.0, size=n, random_state=rng), np.inf)
    end = np.minimum(time, 300.0)
    model = fit_hazard(leads(end, np.where(time <= 300, CONVERTED, OPEN)), [])
    p = forecast(model, np.array([0.0, 30.0, 120.0]), np.zeros((3, 0), dtype=np.int64), np.ones(3)).probability

    def truth(age):
        return (
            0.3
            * (stats.weibull_min.cdf(age + 30, 0.8, scale=15.0) - stats.weibull_min.cdf(age, 0.8, scale=15.0))
            / (1 - 0.3 * stats.weibull_min.cdf(age, 0.8, scale=15.0))
        )

    assert p[:2] == pytest.approx([truth(0.0), truth(30.0)], rel=0.08)
    assert p[2] < 0.01


def test_parameter_draws_have_the_models_covariance():
    rng = np.random.default_rng(7)
    model = fit_hazard(simulate(300, 0.02, 0.01, rng, features=rng.integers(0, 2, (300, 1))), [2])
    draws = draw_deviations(model, 20_000, rng)
    assert draws.mean(axis=0) == pytest.approx(np.zeros(draws.shape[1]), abs=1e-9)
    scale = np.sqrt(np.diag(model.covariance))
    assert draws.T @ draws / len(draws) / np.outer(scale, scale) == pytest.approx(
        model.covariance / np.outer(scale, scale), abs=0.04
    )


def test_shift_is_the_risk_weighted_sum_of_deviations():
    """The matrix product that the function writes out."""
    rng = np.random.default_rng(8)
    codes = rng.integers(0, 3, (40, 1))
    model = fit_hazard(simulate(40, 0.02, 0.01, rng, features=codes), [3])
    outlook = forecast(model, rng.uniform(0, 100, 40), codes, np.ones(40))
    deviations = draw_deviations(model, 64, rng)
    expected = deviations[:, [0]].T + outlook.risk_share @ deviations[:, 1 : 1 + N_BINS].T
    expected = expected + deviations[:, model.offset(0) :].T[codes[:, 0]]
    assert draw_log_shifts(model, outlook, codes, deviations) == pytest.approx(expected)


def test_a_row_does_not_depend_on_its_neighbours_to_the_last_bit():
    rng = np.random.default_rng(9)
    codes = rng.integers(0, 3, (101, 1))
    data = simulate(101, 0.02, 0.01, rng, features=codes, client=np.arange(101))
    model = fit_hazard(data, [3])
    age, multiplier = rng.uniform(0, 400, 101), rng.gamma(3.0, 0.3, 101)
    deviations = draw_deviations(model, 64, np.random.default_rng(1))
    whole = forecast(model, age, codes, multiplier)
    shifts = draw_log_shifts(model, whole, codes, deviations)
    expected = client_totals(model, data, 101)[1]
    share = expected_share_within(model, 0.1, multiplier, 30)
    for rows in (slice(0, 1), slice(50, 53), slice(60, 101)):
        part = forecast(model, age[rows], codes[rows], multiplier[rows])
        assert np.array_equal(part.probability, whole.probability[rows])
        assert np.array_equal(part.risk_share, whole.risk_share[rows])
        assert np.array_equal(draw_log_shifts(model, part, codes[rows], deviations), shifts[rows])
        assert np.array_equal(expected_share_within(model, 0.1, multiplier[rows], 30), share[rows])
        keep = np.zeros(101, dtype=bool)
        keep[rows] = True
        assert np.array_equal(client_totals(model, mask_exposure(data, keep), 101)[1][rows], expected[rows])


def test_order_of_leads_does_not_matter():
    rng = np.random.default_rng(10)
    codes = rng.integers(0, 2, (500, 1))
    data = simulate(500, 0.02, 0.01, rng, features=codes, client=rng.integers(0, 9, 500))
    order = rng.permutation(500)
    there, back = fit_hazard(data, [2]), fit_hazard(mask_exposure(data, order), [2])
    assert there.coefficients == pytest.approx(back.coefficients, abs=1e-7)
    assert there.client_shape == back.client_shape


def test_bins_cover_every_age():
    assert AGE_EDGES[0] == 0
    assert (np.diff(AGE_EDGES) > 0).all()
    events, days = default_curve()
    assert ((events > 0) & (days > 0)).all()
