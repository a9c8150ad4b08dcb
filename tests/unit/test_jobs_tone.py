"""tone_distribution: what is learned of leads that resemble their neighbours, and what one half says of the other."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest

from worker.jobs import tone_distribution as job
from worker.simulate import tone_world
from worker.simulate.as_leads import build_leads
from worker.simulate.lead_worlds import tone_leads
from worker.statistics.dependence import design_effect
from worker.vocabulary import TONES

AS_OF = datetime(2025, 3, 31, tzinfo=UTC)


def generator(seed=0):
    return np.random.default_rng(seed)


def simulated(kind, seed=1, n_clients=200, **options):
    rng = generator(seed)
    return tone_leads(tone_world(kind, n_clients, rng, **options), AS_OF, rng)


def effect_on_100(model, name="serial_correlation"):
    return float(design_effect(np.array([100]), np.array(model[name]))[0])


@pytest.mark.parametrize(
    ("kind", "low", "high"), [("still", 1.0, 1.06), ("bursts", 2.2, 3.8), ("duplicates", 1.2, 1.5)]
)
def test_bursts_and_leads_sent_twice_are_found(kind, low, high):
    """Bursts of 2 to 6 at correlation .6, a lead in six a copy: their design effects; independent leads have none."""
    model = job.fit(simulated(kind, sizes="large"), AS_OF)
    assert low <= effect_on_100(model) <= high
    # of one half the neighbours are seldom neighbours of the whole
    assert 1 <= effect_on_100(model, "serial_correlation_of_half") <= max(1.06, (1 + effect_on_100(model)) / 2 + 0.3)


def test_dependent_leads_say_less():
    leads = simulated("bursts", sizes="large")
    model = job.fit(leads, AS_OF)
    independent = {**model, "serial_correlation": [0.0] * len(model["serial_correlation"])}
    told, untold = (job.analyse(leads, m, AS_OF, generator()) for m in (model, independent))
    for one, other in zip(told, untold, strict=True):
        assert one.content["counts"] == other.content["counts"]
        assert one.claim.probability < other.claim.probability


def test_what_the_snapshot_s_check_says_is_what_half_checks_says():
    leads = simulated("mostly_still")
    model = job.fit(leads, AS_OF)
    findings = job.analyse(leads, model, AS_OF, generator())
    checks = job.half_checks(leads, model, AS_OF, generator())
    assert len(findings) == len(checks.p) == len(checks.agreed)
    ids = [leads.clients.ids[c] for c in checks.client]
    assert [finding.client_id for finding in findings] == ids
    for finding, p in zip(findings, checks.p, strict=True):
        assert (finding.check.p is None) == bool(np.isnan(p))
        assert finding.check.p is None or finding.check.p == pytest.approx(p, abs=0.15)  # other draws


def test_the_model_learned_from_one_half_is_the_same_whatever_the_other_says():
    leads = simulated("still")
    half = leads.only(~leads.half())
    assert job.fit(half, AS_OF)["serial_correlation"] == job.fit(half, AS_OF)["serial_correlation_of_half"]
    assert job.fit(leads, AS_OF)["serial_correlation_of_half"] == job.fit(half, AS_OF)["serial_correlation"]


def test_a_client_without_a_known_tone_in_a_half_has_no_check():
    rng = generator(3)
    leads = build_leads(np.zeros(1, dtype=np.int64), np.array([3.0]), AS_OF, 1, rng, tone=np.array([2]))
    (finding,) = job.analyse(leads, job.fit(leads, AS_OF), AS_OF, rng)
    alone = bool(leads.half()[0])
    assert (finding.check.p is None) == (not alone)
    assert finding.content["counts"][TONES[2]] == 1
    assert finding.content["estimate"][TONES[2]] > 1 / len(TONES)
    json.dumps(finding.content, allow_nan=False)
