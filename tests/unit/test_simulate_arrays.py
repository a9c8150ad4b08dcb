"""Worlds as arrays: what is true of them, what their counts show, and how their leads depend on one another."""

import numpy as np
import pytest

from worker.simulate import (
    CHANGE_KINDS,
    change_class,
    draw_changes,
    score_world,
    share_world,
    tone_world,
    trend_word,
    walk_back,
)
from worker.simulate.single_leads import draw_burst_lengths

WORLDS = {"share": share_world, "score": score_world, "tone": tone_world}
GROUPED = ("bursts", "duplicates")


def rng(seed=3):
    return np.random.default_rng(seed)


def true_changes(kind):
    """The true changes of a world whose shares are all near one half, so that none is cut off."""
    world = share_world(kind, 10_000, rng(), base=(500, 500))
    return world.true_current - world.true_previous


def correlation_in_groups(leads, values):
    """Correlation of neighbours of one group; the values are deviations from what was expected of each."""
    same = np.flatnonzero(np.diff(leads.group) == 0)
    return np.sum(values[same] * values[same + 1]) / np.sqrt(np.sum(values[same] ** 2) * np.sum(values[same + 1] ** 2))


class TestChanges:
    @pytest.mark.parametrize(
        ("kind", "mean", "deviation"),
        [
            ("still", 0.0, 0.0),
            ("mostly_still", 0.0, 0.12 * np.sqrt(0.4)),
            ("small", 0.0, 0.05),
            ("sparse", 0.0, np.sqrt(0.8 * 0.01**2 + 0.2 * 0.25**2)),
            ("shifted", 0.08, 0.05),
            ("bursts", 0.0, 0.12 * np.sqrt(0.4)),
            ("duplicates", 0.0, 0.12 * np.sqrt(0.4)),
        ],
    )
    def test_mean_and_spread_are_as_said(self, kind, mean, deviation):
        change = draw_changes(kind, 200_000, rng())
        assert change.mean() == pytest.approx(mean, abs=0.001)
        assert change.std() == pytest.approx(deviation, abs=0.001)

    def test_heavy_tails_are_heavier_than_normal_ones(self):
        change = draw_changes("heavy_tails", 200_000, rng())
        assert np.median(np.abs(change)) == pytest.approx(0.04 * 0.7998, abs=0.001)  # quartile of Student's t, 2.5 df
        assert np.mean(np.abs(change) > 0.4) > 0.001  # 10 scales out: 1e-23 of a normal

    def test_a_common_shock_is_one_for_all_and_another_each_time(self):
        shocks = np.array([draw_changes("common_shock", 300, rng(seed)).mean() for seed in range(400)])
        assert shocks.std() == pytest.approx(0.10, abs=0.012)
        assert draw_changes("common_shock", 3000, rng()).std() == pytest.approx(0.03, abs=0.002)

    def test_mostly_still_world_changes_for_two_in_five(self):
        assert 0.38 < np.mean(true_changes("mostly_still") != 0) < 0.42

    def test_sparse_world_jumps_for_one_in_five(self):
        assert 0.18 < np.mean(np.abs(true_changes("sparse")) > 0.2) < 0.22

    def test_a_change_equal_to_the_dead_band_is_stable(self):
        assert change_class(np.array([0.35 - 0.30, 0.051, -0.051]), 0.05).tolist() == [0, 1, -1]
        assert trend_word(-0.2, 0.05) == "decreasing"

    def test_unknown_kind_sizes_and_windows_are_refused(self):
        with pytest.raises(ValueError, match="known are still"):
            share_world("stil", 3, rng())
        with pytest.raises(ValueError, match="pareto"):
            share_world("still", 3, rng(), sizes="small")
        for make in WORLDS.values():
            with pytest.raises(ValueError, match="two windows"):
                make("still", 3, rng(), windows=1)
        with pytest.raises(ValueError, match="mean_burst"):
            share_world("bursts", 3, rng(), mean_burst=1.5)


class TestShares:
    @pytest.mark.parametrize("kind", CHANGE_KINDS)
    @pytest.mark.parametrize("sizes", ["pareto", "large"])
    @pytest.mark.parametrize("windows", [2, 8])
    def test_counts_and_truth_fit_together(self, kind, sizes, windows):
        world = share_world(kind, 500, rng(), sizes=sizes, windows=windows)
        assert world.n.shape == world.k.shape == world.true.shape == (windows, 500)
        assert np.all((world.k >= 0) & (world.k <= world.n))
        assert np.all((world.true >= 0) & (world.true <= 1))
        assert np.all(world.n_current >= 1)
        assert (world.leads is not None) == (kind in GROUPED)

    @pytest.mark.parametrize("kind", CHANGE_KINDS)
    def test_counts_show_the_true_shares(self, kind):
        world = share_world(kind, 4000, rng(5), sizes="large")
        assert np.mean(world.k_current / world.n_current) == pytest.approx(np.mean(world.true_current), abs=0.005)

    def test_most_pareto_windows_have_under_thirty_leads(self):
        world = share_world("still", 5000, rng())
        assert 0.7 < np.mean(world.n_current < 30) < 0.95

    def test_large_windows_are_all_alike(self):
        assert set(share_world("small", 50, rng(), sizes="large").n_current.tolist()) == {100}

    def test_still_world_does_not_change(self):
        world = share_world("still", 200, rng(), windows=8)
        assert np.all(world.true == world.true[-1])
        assert not world.true_class.any()


@pytest.mark.parametrize("make", WORLDS.values(), ids=WORLDS)
class TestEveryWorld:
    @pytest.mark.parametrize("kind", ["small", "bursts", "duplicates"])
    def test_same_generator_same_world(self, make, kind):
        one, other, another = (make(kind, 50, rng(seed), windows=3) for seed in (9, 9, 10))
        assert np.array_equal(one.n, other.n)
        assert np.array_equal(one.true, other.true)
        assert not np.array_equal(one.true, another.true)

    @pytest.mark.parametrize("kind", CHANGE_KINDS)
    @pytest.mark.parametrize("n_clients", [1, 30])
    def test_few_clients_and_one_alone(self, make, kind, n_clients):
        world = make(kind, n_clients, rng(), windows=8)
        assert world.n.shape == (8, n_clients)
        assert world.n_current.min() >= 1

    @pytest.mark.parametrize("kind", GROUPED)
    def test_single_leads_are_those_counted(self, make, kind):
        world = make(kind, 200, rng(), windows=3)
        counted = np.zeros_like(world.n)
        np.add.at(counted, (world.leads.window, world.leads.client), 1)
        assert np.array_equal(counted, world.n)

    @pytest.mark.parametrize("kind", GROUPED)
    def test_groups_stand_together_within_a_client_and_window(self, make, kind):
        leads = make(kind, 200, rng(), windows=3).leads
        assert np.all(np.diff(leads.group) >= 0)
        within = np.diff(leads.group) == 0
        assert np.all(np.diff(leads.client)[within] == 0)
        assert np.all(np.diff(leads.window)[within] == 0)

    @pytest.mark.parametrize("mean_burst", [2.0, 3.0, 4.5, 6.0])
    def test_bursts_have_two_to_six_leads_and_the_mean_asked_for(self, make, mean_burst):
        world = make("bursts", 2000, rng(), mean_burst=mean_burst)
        lengths = np.bincount(world.leads.group)
        assert lengths.min() >= 2
        assert lengths.max() <= 6
        assert lengths.mean() == pytest.approx(mean_burst, abs=0.03)

    def test_bursts_do_not_change_how_many_leads_come(self, make):
        alone, bursts = (make(kind, 5000, rng(), sizes="large").n_previous.mean() for kind in ("small", "bursts"))
        assert bursts == pytest.approx(alone, rel=0.02)

    def test_one_lead_in_five_is_recorded_again_right_after_and_alike(self, make):
        leads = make("duplicates", 1000, rng()).leads
        copies = np.bincount(leads.group)
        assert set(copies.tolist()) == {1, 2}
        assert np.mean(copies == 2) == pytest.approx(0.2, abs=0.01)
        copy = np.flatnonzero(np.diff(leads.group) == 0)
        assert np.array_equal(leads.value[copy], leads.value[copy + 1])


class TestBursts:
    @pytest.mark.parametrize("asked", [0.0, 0.3, 0.6, 1.0])
    def test_high_leads_of_a_burst_correlate_as_asked(self, asked):
        world = share_world("bursts", 1500, rng(), sizes="large", burst_correlation=asked)
        leads = world.leads
        deviation = leads.high - world.true[leads.window, leads.client]
        assert correlation_in_groups(leads, deviation) == pytest.approx(asked, abs=0.01)

    @pytest.mark.parametrize("asked", [0.0, 0.3, 0.6, 1.0])
    def test_scores_of_a_burst_correlate_as_asked_and_keep_their_spread(self, asked):
        world = score_world("bursts", 1500, rng(), sizes="large", burst_correlation=asked)
        leads = world.leads
        deviation = leads.value - world.true[leads.window, leads.client]
        assert correlation_in_groups(leads, deviation) == pytest.approx(asked, abs=0.01)
        assert deviation.mean() == pytest.approx(0.0, abs=0.15)
        assert deviation.std() == pytest.approx(18.0, abs=0.2)
        assert np.all((leads.value >= 0) & (leads.value <= 100))

    @pytest.mark.parametrize("asked", [0.0, 0.3, 0.6, 1.0])
    def test_tones_of_a_burst_correlate_as_asked(self, asked):
        world = tone_world("bursts", 1500, rng(), sizes="large", burst_correlation=asked)
        leads = world.leads
        for tone in (0, 3):
            deviation = (leads.value == tone) - world.true[leads.window, leads.client, tone]
            assert correlation_in_groups(leads, deviation) == pytest.approx(asked, abs=0.02)

    def test_a_single_lead_is_high_with_its_clients_own_share(self):
        """Whatever its burst: the variance of the share is wider, its mean is not moved."""
        world = share_world("bursts", 4000, rng(), sizes="large", mean_burst=6.0, burst_correlation=1.0)
        alone = share_world("mostly_still", 4000, rng(), sizes="large")
        error, error_alone = ((w.k_current / w.n_current - w.true_current) for w in (world, alone))
        assert error.mean() == pytest.approx(0.0, abs=0.004)
        assert np.var(error) / np.var(error_alone) == pytest.approx(6.0, abs=0.5)  # the design effect: 1 + (6 - 1) x 1

    def test_burst_lengths_run_from_two_to_six(self):
        lengths = draw_burst_lengths(100_000, 3.0, rng())
        assert set(lengths.tolist()) == {2, 3, 4, 5, 6}
        assert lengths.mean() == pytest.approx(3.0, abs=0.01)


class TestWindows:
    @pytest.mark.parametrize("kind", CHANGE_KINDS)
    def test_every_period_changes_as_the_last_one_does(self, kind):
        level = np.full(60_000, 0.5)
        true, there = walk_back(kind, level, rng(), windows=3)
        assert there.mean() > 0.97
        changes = np.where(there[:-1], np.diff(true, axis=0), np.nan)
        if kind == "common_shock":  # a shock a period
            assert np.ptp(np.nanmean(changes, axis=1)) > 0.01
            changes = changes - np.nanmean(changes, axis=1, keepdims=True)
        for quantile in (0.05, 0.25, 0.5, 0.75, 0.95):  # at 0.1 a sparse world jumps
            before, last = np.nanquantile(changes, quantile, axis=1)
            assert before == pytest.approx(last, abs=0.005), quantile

    @pytest.mark.parametrize("windows", [3, 8])
    def test_the_last_two_windows_are_as_if_there_were_no_others(self, windows):
        for kind in ("mostly_still", "shifted"):
            two, more = (share_world(kind, 500, rng(), windows=w) for w in (2, windows))
            assert np.array_equal(two.true, more.true[-2:])

    @pytest.mark.parametrize("kind", CHANGE_KINDS)
    def test_who_would_have_come_from_out_of_bounds_was_not_there_yet(self, kind):
        true, there = walk_back(kind, rng().beta(3, 6, 2000), rng(4), windows=8)
        assert np.all((true >= 0) & (true <= 1))
        assert np.all(there[-2:])
        assert np.all(there[1:] >= there[:-1])  # once there, always there
        began = np.argmax(there, axis=0)
        first_level = true[began, np.arange(2000)]
        assert np.all(np.where(there, first_level, true) == first_level)

    def test_a_client_has_no_leads_before_it_is_there(self):
        world = share_world("shifted", 2000, rng(), sizes="large", windows=8)
        assert set(world.n.ravel().tolist()) == {0, 100}
        assert (world.n[-2:] == 100).all()
        both = (world.n[1:] > 0) & (world.n[:-1] > 0)
        change = np.diff(world.true, axis=0)
        for period in range(4, 7):  # the further back, the more only those remain that rose by little
            assert change[period][both[period]].mean() == pytest.approx(0.08, abs=0.012)

    def test_scores_keep_their_bounds(self):
        world = score_world("shifted", 2000, rng(), windows=8)
        assert np.all((world.true >= 2) & (world.true <= 98))
        assert np.diff(world.true, axis=0)[-2].mean() == pytest.approx(4.8, abs=0.3)  # 60 times .08

    def test_tones_sum_to_one_in_every_window(self):
        world = tone_world("sparse", 1000, rng(), windows=8)
        assert np.allclose(world.true.sum(axis=2), 1.0)
        assert np.all(world.true >= 0)
        moved = np.abs(np.diff(world.true, axis=0)).sum(axis=2) / 2
        assert np.all((moved > 0.1).mean(axis=1) > 0.08)  # in each period; half the jumps are losses, often of little


class TestScoresAndTones:
    @pytest.mark.parametrize("kind", CHANGE_KINDS)
    def test_score_world_shows_its_means_and_spread(self, kind):
        world = score_world(kind, 2000, rng(), sizes="large")
        assert np.mean(world.mean_current - world.true_current) == pytest.approx(0.0, abs=0.3)
        between = np.var(world.leads.value - world.true[world.leads.window, world.leads.client])
        assert np.sqrt(between) == pytest.approx(18.0, abs=0.5)

    def test_score_world_counts_its_own_leads(self):
        world = score_world("small", 40, rng())
        leads = world.leads
        for client in range(40):
            own = leads.value[(leads.client == client) & (leads.window == 1)]
            assert world.mean_current[client] == pytest.approx(own.mean())
            if len(own) > 1:
                assert world.variance_current[client] == pytest.approx(own.var(ddof=1))

    def test_score_world_has_no_variance_of_a_single_lead(self):
        world = score_world("still", 3000, rng())
        assert np.array_equal(np.isnan(world.variance_current), world.n_current < 2)

    def test_most_of_a_shifted_score_world_rises(self):
        assert np.mean(score_world("shifted", 2000, rng()).true_class == 1) > 0.5

    @pytest.mark.parametrize("kind", CHANGE_KINDS)
    def test_tone_world_counts_its_true_shares(self, kind):
        world = tone_world(kind, 3000, rng(), sizes="large")
        assert np.array_equal(world.counts.sum(axis=2), world.n)
        assert np.allclose(world.true_current.sum(axis=1), 1.0)
        shown = world.counts_current / world.n_current[:, None]
        assert np.allclose(shown.mean(axis=0), world.true_current.mean(axis=0), atol=0.005)
