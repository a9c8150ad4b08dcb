"""Split-half replication on leads at hand: what each half is told, whose checks count, and how far back it goes."""

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from worker.accuracy import FEWEST_CHECKS, JOBS, STEP_DAYS, period_ends, replicate_leads
from worker.jobs import load_job, tone_distribution
from worker.jobs.finding import HalfChecks
from worker.leads import DAY, to_microseconds
from worker.simulate.as_leads import build_leads
from worker.statistics.calibration import reliability

AS_OF = datetime(2025, 3, 31, tzinfo=UTC)
CLIENTS = 200


def leads(n=4000, days=150.0, seed=1):
    rng = np.random.default_rng(seed)
    return build_leads(
        rng.integers(0, CLIENTS, n), rng.uniform(0, days, n), AS_OF, CLIENTS, rng, tone=rng.integers(0, 15, n)
    )


def everyone():
    return np.ones(CLIENTS, dtype=bool)


class Says:
    """A job that says p of every client, and whose other halves agree with probability `truth`."""

    NAME, LOOK_BACK_DAYS = "says", 60

    def __init__(self, p, truth):
        self.p, self.truth, self.fits = p, truth, []

    def fit(self, seen, as_of):
        self.fits.append((seen, as_of))
        return {}

    def half_checks(self, seen, _model, _as_of, rng):
        n = len(seen.clients)
        return HalfChecks(np.arange(n), np.full(n, self.p), rng.random(n) < self.truth)


def replicated(job, *, counted=None, periods=3):
    found = replicate_leads(leads(), AS_OF, everyone() if counted is None else counted, {"says": job}, periods=periods)
    return found.jobs[0]


@pytest.mark.parametrize(("p", "verdict"), [(0.8, "fits"), (0.95, "too sure"), (0.55, "too modest")])
def test_the_verdict_is_that_of_the_halves(p, verdict):
    found = replicated(Says(p, 0.8))
    assert found.verdict == verdict
    assert found.reliability.n == 3 * CLIENTS
    assert verdict in str(found)


def test_what_is_learned_is_learned_from_one_half_alone():
    job = Says(0.8, 0.8)
    replicated(job)
    assert [as_of for _, as_of in job.fits] == [AS_OF - timedelta(days=60 * k) for k in range(3)]
    for seen, as_of in job.fits:
        assert len(seen) > 0
        assert not seen.half().any()
        assert seen.last_contact.min() >= to_microseconds(as_of) - (job.LOOK_BACK_DAYS + 1) * DAY


def test_only_the_checks_of_the_clients_asked_for_are_counted():
    some = np.arange(CLIENTS) < 3
    found = replicated(Says(0.8, 0.8), counted=some)
    assert (found.reliability.n, found.clients) == (9, 3)
    assert found.verdict == "too few"
    assert "too few to judge" in str(found)
    assert f"Fewer than {FEWEST_CHECKS} checks" in str(found)


def test_checks_that_nothing_decides_are_void():
    found = replicated(Says(float("nan"), 0.8))
    assert (found.reliability.n, found.reliability.void, found.clients, found.periods) == (0, 3 * CLIENTS, 0, ())
    json.dumps(found.as_json(), allow_nan=False)


def test_periods_go_back_as_far_as_leads_do():
    """Leads of 150 days: the third period, 120 days back, has some; a fourth would have none."""
    assert [(AS_OF - end).days for end in period_ends(leads(), AS_OF, 6)] == [0, 60, 120]
    assert period_ends(leads(), AS_OF, 2) == [AS_OF, AS_OF - timedelta(days=STEP_DAYS)]
    assert len(period_ends(leads(), AS_OF, 10**6)) == 3
    nobody = leads().only(np.zeros(4000, dtype=bool))
    assert period_ends(nobody, AS_OF, 6) == []
    assert "nothing can be checked" in str(replicate_leads(nobody, AS_OF, everyone(), {"says": Says(0.5, 0.5)}))


def test_periods_share_no_hour_when_clocks_are_changed():
    local = AS_OF.astimezone(ZoneInfo("America/Toronto"))
    ends = period_ends(leads(), local, 3)
    assert [end.astimezone(UTC) for end in ends] == [AS_OF - timedelta(days=60 * k) for k in range(3)]
    assert {end.tzinfo for end in ends} == {local.tzinfo}


def test_every_job_answers_and_the_document_is_plain():
    found = replicate_leads(leads(), AS_OF, everyone(), {name: load_job(name) for name in JOBS}, periods=2)
    document = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert [job["job"] for job in document["jobs"]] == list(JOBS)
    for job in document["jobs"]:
        assert {"verdict", "clients", "periods", "n", "void", "mean_said", "mean_right", "gap", "ece", "bins"} <= set(
            job
        )
    assert max(map(len, str(found).splitlines())) <= 80
    again = replicate_leads(leads(), AS_OF, everyone(), {name: load_job(name) for name in JOBS}, periods=2)
    assert again.as_json() == found.as_json()


def test_the_other_half_s_leads_change_no_probability():
    """Told other tones, the second half of the leads changes what happened, not what was said."""
    ours = leads()
    model = tone_distribution.fit(ours.only(~ours.half()), AS_OF)
    value = np.where(ours.half()[ours.tone.lead], (ours.tone.value + 1) % 15, ours.tone.value)
    turned = build_like(ours, value)
    one, other = (
        tone_distribution.half_checks(part, model, AS_OF, np.random.default_rng(1)) for part in (ours, turned)
    )
    assert np.array_equal(one.p, other.p, equal_nan=True)
    assert reliability(one.p, one.agreed).n > FEWEST_CHECKS


def build_like(ours, value):
    from dataclasses import replace

    return replace(ours, tone=replace(ours.tone, value=value))
