"""Array worlds as leads: the jobs see exactly the world's counts, and its leads arrive as the world says."""

import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from worker.jobs import load_job
from worker.leads import DAY, MICROSECONDS, to_microseconds
from worker.simulate import CHANGE_KINDS, TONE_FAMILIES, score_world, share_world, tone_world
from worker.simulate.lead_worlds import days_before, score_leads, share_leads, tone_leads

AS_OF = datetime(2026, 3, 10, tzinfo=UTC)
MAKERS = {"share": (share_world, share_leads), "score": (score_world, score_leads), "tone": (tone_world, tone_leads)}
KINDS = ("mostly_still", "bursts", "duplicates")  # independent leads, and both ways to depend


def rng(seed=3):
    return np.random.default_rng(seed)


def findings(job_name, leads):
    job = load_job(job_name)
    model = job.fit(leads, AS_OF)
    return {finding.client_id: finding for finding in job.analyse(leads, model, AS_OF, rng())}


def name(client):
    return f"client-{client:05d}"


class TestJobsSeeTheWorld:
    @pytest.mark.parametrize("windows", [2, 4])
    @pytest.mark.parametrize("kind", KINDS)
    def test_urgency_trend(self, kind, windows):
        world = share_world(kind, 60, rng(), windows=windows)
        found = findings("urgency_trend", share_leads(world, AS_OF, rng(4)))
        assert len(found) == 60
        for client in range(60):
            finding = found[name(client)]
            assert (finding.n, finding.n_previous) == (world.n_current[client], world.n_previous[client])
            assert finding.content["counts"]["High"] == world.k_current[client]
            assert finding.content["counts"]["unknown"] == 0
            if world.n_previous[client]:
                share = world.k_previous[client] / world.n_previous[client]
                assert finding.content["previous_high_urgency_pct"] == pytest.approx(share)

    @pytest.mark.parametrize("windows", [2, 4])
    @pytest.mark.parametrize("kind", KINDS)
    def test_engagement_score(self, kind, windows):
        world = score_world(kind, 60, rng(), windows=windows)
        found = findings("engagement_score", score_leads(world, AS_OF, rng(4)))
        for client in range(60):
            finding = found[name(client)]
            assert (finding.n, finding.n_previous) == (world.n_current[client], world.n_previous[client])
            assert finding.content["score"]["raw"] == pytest.approx(world.mean_current[client])
            if world.n_previous[client]:
                assert finding.content["previous"]["raw"] == pytest.approx(world.mean_previous[client])

    @pytest.mark.parametrize("windows", [2, 4])
    @pytest.mark.parametrize("kind", KINDS)
    def test_tone_distribution(self, kind, windows):
        world = tone_world(kind, 60, rng(), windows=windows)
        found = findings("tone_distribution", tone_leads(world, AS_OF, rng(4)))
        for client in range(60):
            counts = found[name(client)].content["counts"]
            counted = [counts[family] for family in TONE_FAMILIES]
            assert counted == world.counts_current[client].tolist()
            assert counts["Other"] == counts["unknown"] == 0


@pytest.mark.parametrize("what", MAKERS)
class TestLeads:
    @pytest.mark.parametrize("kind", CHANGE_KINDS)
    def test_every_window_holds_its_leads(self, what, kind):
        make_world, make_leads = MAKERS[what]
        world = make_world(kind, 40, rng(), windows=8)
        leads = make_leads(world, AS_OF, rng(4))
        end = to_microseconds(AS_OF)
        for window in range(8):
            start = end - (8 - window) * 30 * DAY
            seen = leads.per_client(leads.arrived(start, start + 30 * DAY))
            assert np.array_equal(seen, world.n[window])
        assert len(leads) == world.n.sum()

    def test_same_generator_same_leads(self, what):
        make_world, make_leads = MAKERS[what]
        world = make_world("bursts", 10, rng())
        one, other = (make_leads(world, AS_OF, rng(4)) for _ in range(2))
        assert np.array_equal(one.arrival, other.arrival)
        assert np.array_equal(one.in_half, other.in_half)

    def test_leads_stand_by_client_and_id_which_say_nothing_of_time(self, what):
        make_world, make_leads = MAKERS[what]
        leads = make_leads(make_world("small", 40, rng()), AS_OF, rng(4))
        assert np.all(np.diff(leads.client) >= 0)
        assert leads.id.tolist() == sorted(leads.id.tolist())
        same = np.diff(leads.client) == 0
        assert np.mean(np.diff(leads.arrival)[same] > 0) == pytest.approx(0.5, abs=0.05)

    def test_a_thousand_clients_with_eight_windows_are_quick(self, what):
        make_world, make_leads = MAKERS[what]
        world = make_world("bursts", 1000, rng(), windows=8)
        started = time.perf_counter()
        leads = make_leads(world, AS_OF, rng(4))
        assert time.perf_counter() - started < 2.0  # 0.15 s here; slow machines have room
        assert len(leads) > 100_000


class TestArrivals:
    def test_leads_of_a_group_arrive_in_order_minutes_apart(self):
        world = share_world("bursts", 100, rng(), mean_burst=3.0, windows=3)
        leads = world.leads
        before = days_before(leads, 3, rng(4))
        same = np.diff(leads.group) == 0
        minutes = -np.diff(before)[same] * 24 * 60
        assert minutes.min() >= 1 / 60 - 1e-6
        assert minutes.mean() == pytest.approx(3.0, abs=0.2)
        assert np.all(before > (2 - leads.window) * 30)
        assert np.all(before <= (3 - leads.window) * 30)

    def test_groups_arrive_at_any_time_of_their_window(self):
        leads = share_world("duplicates", 400, rng(), windows=2).leads
        day = days_before(leads, 2, rng(4)) % 30
        assert np.histogram(day, bins=10, range=(0, 30))[0] / len(day) == pytest.approx(np.full(10, 0.1), abs=0.01)

    def test_neighbours_in_time_are_the_leads_of_one_burst(self):
        """What a design effect is estimated from: High leads next to each other in time agree."""
        world = share_world("bursts", 300, rng(), mean_burst=3.0, burst_correlation=0.6)
        leads = share_leads(world, AS_OF, rng(4))
        urgency = leads.urgency.latest_before(to_microseconds(AS_OF), len(leads), -1)
        order = np.lexsort((leads.arrival, leads.client))
        high, arrival = (urgency[order] == 2).astype(float), leads.arrival[order]
        near = (np.diff(arrival) < 1800 * MICROSECONDS) & (np.diff(leads.client[order]) == 0)
        far = (np.diff(arrival) > 7200 * MICROSECONDS) & (np.diff(leads.client[order]) == 0)
        agree = high[1:] == high[:-1]
        assert agree[near].mean() > agree[far].mean() + 0.15

    def test_medium_and_low_are_as_many(self):
        leads = share_leads(share_world("still", 300, rng(), base=(1, 50)), AS_OF, rng(4))
        levels = np.bincount(leads.urgency.value.astype(int), minlength=3)
        assert levels[0] / levels[1] == pytest.approx(1.0, abs=0.05)

    def test_a_later_as_of_moves_all_leads(self):
        world = share_world("small", 10, rng())
        one = share_leads(world, AS_OF, rng(4))
        other = share_leads(world, AS_OF + timedelta(days=3), rng(4))
        assert np.all(other.arrival - one.arrival == 3 * DAY)
