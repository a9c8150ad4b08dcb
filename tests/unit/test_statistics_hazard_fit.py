"""What the fit learns: the same as scikit-learn where no prior speaks, the pace of the months, nothing from nothing."""

import numpy as np
import pytest
from sklearn.linear_model import PoissonRegressor

from worker.statistics import hazard_fit
from worker.statistics.hazard import CONVERTED, N_BINS, OPEN, Exposure, client_totals
from worker.statistics.hazard_fit import NO_GAPS, fit_hazard

GAPS = np.array([1.0, 1.0, 2.0, 5.0])  # months between five periods
DAYS = 30.0  # each row is followed, from the age of 60 days on


def rows(n, rate, rng, features=None, period=None):
    """Leads at a constant rate a day, shape (leads,)."""
    time = rng.exponential(1 / rate, n)
    nothing = np.zeros(n, dtype=np.int64)
    return Exposure(
        np.full(n, 60.0),
        60.0 + np.minimum(time, DAYS),
        np.where(time < DAYS, CONVERTED, OPEN),
        np.zeros((n, 0), dtype=np.int64) if features is None else features,
        nothing,
        nothing if period is None else period,
    )


def test_effects_are_those_of_scikit_learn_where_there_are_many_leads():
    """A Poisson regression without penalty on one row a lead, two features that hang together."""
    rng = np.random.default_rng(1)
    n = 60_000
    a = rng.integers(0, 3, n)
    b = np.where(rng.random(n) < 0.6, a, rng.integers(0, 3, n))
    data = rows(n, 0.01 * np.exp(0.5 * (a == 1) - 0.7 * (b == 2)), rng, np.stack([a, b], axis=1))
    model = fit_hazard(data, [3, 3])
    days = data.exit_age - data.entry_age
    design = np.stack([a == 1, a == 2, b == 1, b == 2], axis=1).astype(float)
    twin = PoissonRegressor(alpha=0.0, solver="newton-cholesky", tol=1e-10)
    twin.fit(design, (data.outcome == CONVERTED) / days, sample_weight=days)
    first, second = (model.coefficients[model.offset(j) :][:3] for j in (0, 1))
    assert np.concatenate([first[1:] - first[0], second[1:] - second[0]]) == pytest.approx(twin.coef_, abs=0.03)


def test_a_feature_that_tells_nothing_is_drawn_to_nothing():
    """Forty levels, a dozen conversions each: by themselves they would scatter by more than a quarter."""
    rng = np.random.default_rng(2)
    level = rng.integers(0, 40, 4_000)
    model = fit_hazard(rows(4_000, np.full(4_000, 0.005), rng, level[:, None]), [40])
    assert model.coefficients[model.offset(0) :].std() < 0.15


def test_a_pace_that_halved_is_followed():
    """Two months at half the pace of the years before: what is foretold is the new pace."""
    rng = np.random.default_rng(3)
    period = rng.integers(0, 5, 40_000)
    data = rows(40_000, np.where(period < 2, 0.004, 0.008), rng, period=period)
    model = fit_hazard(data, [], GAPS)
    bin_of_70_days = 18
    assert np.exp(model.coefficients[1 + bin_of_70_days]) == pytest.approx(0.004, rel=0.12)
    assert model.periods[2:] == pytest.approx(np.full(3, np.log(2)), abs=0.15)
    assert model.covariance[0, 0] > 0.05**2  # and the next month may differ again
    observed, expected = client_totals(model, data, 1)
    assert expected == pytest.approx(observed, rel=0.01)


def test_an_even_pace_is_no_drift():
    rng = np.random.default_rng(4)
    data = rows(40_000, np.full(40_000, 0.006), rng, period=rng.integers(0, 5, 40_000))
    even = fit_hazard(data, [], GAPS)
    assert np.abs(even.periods).max() < 0.1
    assert even.covariance[0, 0] < 0.2**2


def cohorts(n, rng, share, months=12.0):
    """Leads of a year, of whom those who come later convert more or less often, by months of arrival."""
    age = rng.uniform(0.0, 30.0 * months, n)
    block = np.minimum((age // 30.0).astype(np.int64), 11)
    time = np.where(rng.random(n) < share(age / 30.0), rng.exponential(25.0, n), np.inf)
    nothing = np.zeros(n, dtype=np.int64)
    end = np.minimum(time, age)
    return Exposure(
        np.zeros(n), end, np.where(time < age, CONVERTED, OPEN), block[:, None], nothing, nothing
    )  # fmt: skip


@pytest.mark.parametrize("change", [-0.05, 0.0, 0.05])
def test_a_change_of_those_who_arrive_is_not_mistaken_for_age(change):
    """Half as many or twice as many of the newest leads convert as of those a year older: expected as true."""
    rng = np.random.default_rng(5)
    data = cohorts(40_000, rng, lambda months: 0.1 * np.exp(-change * (months - 6)))
    model = fit_hazard(data, [12], NO_GAPS, np.ones(11))
    came = model.coefficients[model.offset(0) :]
    assert came[0] - came[10] == pytest.approx(10 * change, abs=0.12)
    days = np.array([0.5, 1.5, 2.5, 3.5, 4.5])
    newest = 0.1 * np.exp(change * 5.5)  # of whom the others are measured
    left = 1 - newest * (1 - np.exp(-days / 25.0))
    true = np.log(newest / 25.0 * np.exp(-days / 25.0) / left)
    assert (model.coefficients[1:6] - true).mean() == pytest.approx(0, abs=0.1)


def test_the_rounds_are_enough(monkeypatch):
    """Many more of them, each counting everything anew, move no coefficient by a hundredth."""
    rng = np.random.default_rng(7)
    period = rng.integers(0, 5, 8_000)
    level = rng.integers(0, 6, 8_000)
    data = rows(8_000, np.where(period < 2, 0.004, 0.012) * np.exp(0.4 * (level > 3)), rng, level[:, None], period)
    few = fit_hazard(data, [6], GAPS)
    monkeypatch.setattr(hazard_fit, "ROUNDS", 30)
    monkeypatch.setattr(hazard_fit, "REFRESHED", range(30))
    many = fit_hazard(data, [6], GAPS)
    seen = slice(19, 22)  # bins of the ages at which these leads were followed
    assert few.coefficients[seen] == pytest.approx(many.coefficients[seen], abs=0.01)
    assert few.periods == pytest.approx(many.periods, abs=0.01)


def test_a_few_leads_say_nothing_of_a_change():
    data = cohorts(60, np.random.default_rng(6), lambda months: np.where(months < 2, 0.3, 0.1))
    came = fit_hazard(data, [12], NO_GAPS, np.ones(11)).coefficients[-12:]
    assert np.abs(came).max() < 0.3


@pytest.mark.parametrize("days", [0.0, 1e-11, 1e-8, 1e-5])
def test_hardly_any_time_under_observation_leaves_the_default_curve(days):
    """Leads that came this very moment: clients' levels have nothing to add up to, and stay 1."""
    n, nothing = 20, np.zeros(20, dtype=np.int64)
    age = np.linspace(0.0, 600.0, n)
    model = fit_hazard(Exposure(age, age + days, nothing, np.zeros((n, 0), dtype=np.int64), nothing, nothing), [])
    assert model.client_scale == pytest.approx(1.0, abs=0.01)


def test_rows_may_be_cut_at_periods_without_changing_the_curve():
    """A lead's month in two rows is the same exposure as in one."""
    rng = np.random.default_rng(5)
    whole = rows(5_000, np.full(5_000, 0.01), rng)
    middle = np.minimum(whole.exit_age, 70.0)
    late = whole.exit_age > 70.0
    cut = Exposure(
        np.concatenate([whole.entry_age, np.full(late.sum(), 70.0)]),
        np.concatenate([middle, whole.exit_age[late]]),
        np.concatenate([np.where(late, OPEN, whole.outcome), whole.outcome[late]]),
        np.zeros((5_000 + late.sum(), 0), dtype=np.int64),
        np.zeros(5_000 + late.sum(), dtype=np.int64),
        np.zeros(5_000 + late.sum(), dtype=np.int64),
    )
    one, two = fit_hazard(whole, []), fit_hazard(cut, [])
    assert two.coefficients[1 : 1 + N_BINS] == pytest.approx(
        one.coefficients[1 : 1 + N_BINS], abs=1e-4
    )  # but for LEAST_DAYS
