"""Do conversion counts fall into their range as often as said? A world drawn from the model; arrays only, seeded."""

import numpy as np
from scipy import stats

from worker.jobs import conversion_prediction
from worker.statistics.calibration import reliability
from worker.statistics.counts import claim_range, mixed_cdf
from worker.statistics.hazard import (
    CONVERTED,
    EXITED,
    OPEN,
    Exposure,
    client_totals,
    draw_deviations,
    draw_log_shifts,
    forecast,
)
from worker.statistics.hazard_fit import fit_hazard

SEEDS = 6


def conversion_world(seed, n_clients=300):
    """Leads of two years by the model itself: hazards by age and source, gamma levels by client, competing exits."""
    rng = np.random.default_rng(seed)
    client = np.repeat(np.arange(n_clients), 10 + rng.poisson(30 * rng.gamma(1.0, 1.0, n_clients)))
    source = rng.integers(0, 3, len(client))
    age = rng.uniform(0.0, 400.0, len(client))  # days since first contact, were it still open
    own = rng.gamma(3.0, 1 / 3.0, n_clients)[client] * np.exp(np.array([0.0, 0.6, -0.6]))[source]
    steps = np.arange(0.0, 440.0)
    hazard = 0.012 * np.exp(-steps / 60.0) + 0.0008
    cumulative = np.concatenate([[0.0], np.cumsum(hazard)])
    converts = np.interp(rng.exponential(1.0, len(client)) / own, cumulative, np.arange(441.0), right=np.inf)
    leaves = rng.exponential(250.0, len(client))
    end = np.minimum(np.minimum(converts, leaves), age)
    outcome = np.where(end == age, OPEN, np.where(converts < leaves, CONVERTED, EXITED))
    cohort = outcome == OPEN
    later = cohort & (converts <= age + 30) & (converts < leaves)
    exposure = Exposure(np.zeros(len(client)), end, outcome, source[:, None], client, np.zeros_like(client))
    return exposure, cohort, np.bincount(client[later], minlength=n_clients)


def count_claims(seed):
    """What conversion_prediction does with plain arrays; beside it the raw rate, open leads counted as failures."""
    exposure, cohort, happened = conversion_world(seed)
    n_clients = len(happened)
    rng = np.random.default_rng(seed)
    model = fit_hazard(exposure, [3])
    observed, expected = client_totals(model, exposure, n_clients)
    shape, rate = model.client_shape + observed, model.client_shape + expected
    draws = conversion_prediction.DRAWS
    multiplier, drawn = shape / rate, rng.gamma(shape[:, None], 1 / rate[:, None], (n_clients, draws))
    client, codes, age = exposure.client[cohort], exposure.features[cohort], exposure.exit_age[cohort]
    outlook = forecast(model, age, codes, multiplier[client])
    shift = draw_log_shifts(model, outlook, codes, draw_deviations(model, draws, rng))
    total = -np.log1p(-outlook.probability)[:, None] * np.exp(shift) * (drawn / multiplier[:, None])[client]
    p = -np.expm1(-total)
    means, squares = np.zeros((n_clients, draws)), np.zeros((n_clients, draws))
    np.add.at(means, client, p)
    np.add.at(squares, client, p * p)
    _, low, high = claim_range(means.mean(axis=1))
    said = mixed_cdf(high, means, squares) - mixed_cdf(low - 1, means, squares)
    some = np.bincount(client, minlength=n_clients) > 0

    converted = exposure.outcome == CONVERTED
    raw = np.bincount(exposure.client[converted], minlength=n_clients) / np.bincount(exposure.client)
    flat_mean = raw * np.bincount(client, minlength=n_clients)
    _, flat_low, flat_high = claim_range(flat_mean)
    flat_said = stats.poisson.cdf(flat_high, flat_mean) - stats.poisson.cdf(flat_low - 1, flat_mean)
    return (
        (said[some], ((low <= happened) & (happened <= high))[some]),
        (flat_said[some], ((flat_low <= happened) & (happened <= flat_high))[some]),
    )


def test_conversion_counts_fall_in_their_range_as_often_as_said():
    """Said and right within .05; the raw rate that counts open leads as failures is far off."""
    runs = [count_claims(seed) for seed in range(SEEDS)]
    learned, naive = (
        reliability(*(np.concatenate([run[side][part] for run in runs]) for part in (0, 1))) for side in (0, 1)
    )
    assert abs(learned.gap) <= 0.05, f"\n{learned}"
    assert abs(naive.gap) > 0.05, f"\n{naive}"
