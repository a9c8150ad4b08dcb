"""The normal distribution without scipy, beside scipy's."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from worker.statistics.normal import normal_cdf, normal_quantile


def test_probabilities_are_scipys():
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(0, 3, 20_000), [0.0, -0.0, 9.0, -9.0, 40.0, -40.0, np.inf, -np.inf, 1e-300]])
    assert np.abs(normal_cdf(x) - ndtr(x)).max() <= 3e-16
    assert np.isnan(normal_cdf(np.array([np.nan]))).all()
    assert normal_cdf(x[:6].reshape(2, 3)).shape == (2, 3)
    assert normal_cdf(np.zeros((0, 5))).shape == (0, 5)


@pytest.mark.parametrize("p", [1e-9, 0.1, 0.5, 0.9, 0.975, 1 - 1e-9])
def test_quantiles_are_scipys(p):
    assert normal_quantile(p) == pytest.approx(float(ndtri(p)), rel=1e-13, abs=1e-15)


def test_the_engagement_score_is_found_without_scipy():
    """It is what a one-off waits for."""
    text = """
import sys
from datetime import UTC, datetime
import numpy as np
from worker.jobs import engagement_score as job
from worker.simulate import score_world
from worker.simulate.lead_worlds import score_leads
as_of, rng = datetime(2026, 3, 31, tzinfo=UTC), np.random.default_rng(1)
leads = score_leads(score_world("bursts", 9, rng, windows=3), as_of, rng)
assert job.analyse(leads, job.fit(leads, as_of), as_of, rng)
sys.exit("scipy" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", text], check=False).returncode == 0
