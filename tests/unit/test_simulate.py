"""The simulated worlds: what they say is true is what their rows show, and the same seed gives the same rows."""

import json
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from worker import vocabulary
from worker.simulate import (
    CHANGE_KINDS,
    SOURCES,
    TONE_FAMILIES,
    TONES,
    URGENCIES,
    URGENCY_WORDS,
    PlantedChange,
    change_class,
    company_world,
    demo_plan,
    score_world,
    share_world,
    tone_world,
    trend_word,
    urgency_plan,
)

AS_OF = datetime(2026, 3, 10, tzinfo=UTC)
WINDOW = timedelta(days=30)


def make_world(n_clients=12, days=60, plan=None, seed=7, as_of=AS_OF, **options):
    return company_world(np.random.default_rng(seed), as_of, n_clients, days, plan, **options)


@pytest.fixture(scope="module")
def demo():
    return company_world(np.random.default_rng(1), AS_OF, plan=demo_plan())


@pytest.fixture(scope="module")
def large():
    """Two clients with some 6,000 leads a window: every true share shows within a point or two."""
    plan = {
        0: PlantedChange(high_share=(0.2, 0.6), tone=("Urgent", 0.3), leads_per_window=6000),
        1: PlantedChange(confidence=0.15, touched=(0.3, 0.8), source=("referral", 0.3), leads_per_window=6000),
    }
    return make_world(2, 60, plan, seed=11)


def leads_of(world, client, window):
    """Leads of the current (0) or previous (1) window by their first contact, without deleted and test ones."""
    inserted = {}
    for action in world.actions:
        if action.action_type == "insert":
            inserted.setdefault(action.lead_id, action.timestamp)
    end = world.as_of - window * WINDOW
    client_id = world.clients[client].client_id
    return [
        lead
        for lead in world.leads
        if lead.client_id == client_id
        and end - WINDOW <= inserted[lead.id] < end
        and not lead.deleted
        and not lead.is_test
    ]


def within_error(observed, share, n):
    return abs(observed - share) <= 4.0 * np.sqrt(max(share * (1 - share), 0.01) / n)


class TestArrayWorlds:
    @pytest.mark.parametrize("kind", CHANGE_KINDS)
    @pytest.mark.parametrize("sizes", ["pareto", "large"])
    def test_counts_and_truth_fit_together(self, kind, sizes):
        world = share_world(kind, 500, np.random.default_rng(3), sizes=sizes)
        for n, k, true in (
            (world.n_previous, world.k_previous, world.true_previous),
            (world.n_current, world.k_current, world.true_current),
        ):
            assert n.shape == k.shape == true.shape == (500,)
            assert np.all((k >= 0) & (k <= n))
            assert np.all((true >= 0) & (true <= 1))
        assert np.all(world.n_current >= 1)
        assert (world.leads is not None) == (kind in ("bursts", "duplicates"))

    @pytest.mark.parametrize("kind", CHANGE_KINDS)
    def test_counts_show_the_true_shares(self, kind):
        world = share_world(kind, 4000, np.random.default_rng(5), sizes="large")
        assert np.mean(world.k_current / world.n_current) == pytest.approx(np.mean(world.true_current), abs=0.005)

    def test_same_seed_same_world(self):
        one, other = (share_world("small", 50, np.random.default_rng(9)) for _ in range(2))
        assert np.array_equal(one.k_current, other.k_current)

    def test_most_pareto_windows_have_under_thirty_leads(self):
        world = share_world("still", 5000, np.random.default_rng(3))
        assert 0.7 < np.mean(world.n_current < 30) < 0.95

    def test_large_windows_are_all_alike(self):
        assert set(share_world("small", 50, np.random.default_rng(3), sizes="large").n_current.tolist()) == {100}

    def test_still_world_does_not_change(self):
        world = share_world("still", 200, np.random.default_rng(3))
        assert np.array_equal(world.true_previous, world.true_current)
        assert not world.true_class.any()

    def test_mostly_still_world_changes_for_two_in_five(self):
        world = share_world("mostly_still", 10_000, np.random.default_rng(3))
        assert 0.38 < np.mean(world.true_current != world.true_previous) < 0.42

    def test_sparse_world_jumps_for_one_in_five(self):
        change = np.abs(true_changes("sparse"))
        assert 0.18 < np.mean(change > 0.2) < 0.22

    def test_common_shock_moves_all_together(self):
        assert np.std(true_changes("common_shock")) < 0.05

    @pytest.mark.parametrize("correlation", [0.0, 0.5, 1.0])
    def test_leads_of_a_burst_agree_as_much_as_asked(self, correlation):
        world = share_world(
            "bursts", 300, np.random.default_rng(3), sizes="large", base=(500, 500), burst_correlation=correlation
        )
        leads = world.leads
        assert np.all(np.bincount(leads.group) <= 6)
        neighbours = np.flatnonzero((np.diff(leads.group) == 0) & (leads.window[1:] == 0))
        agreement = np.mean(leads.high[neighbours] == leads.high[neighbours + 1])
        assert agreement == pytest.approx(0.5 + 0.5 * correlation, abs=0.02)

    def test_bursts_stay_within_a_client_and_window(self):
        leads = share_world("bursts", 300, np.random.default_rng(3)).leads
        cells = {(g, c, w) for g, c, w in zip(leads.group, leads.client, leads.window, strict=True)}
        assert len(cells) == len(np.unique(leads.group))

    def test_duplicates_repeat_the_lead_they_copy(self):
        leads = share_world("duplicates", 300, np.random.default_rng(3)).leads
        assert 0.15 < 1 - len(np.unique(leads.group)) / len(leads.group) < 0.19  # 0.2 / 1.2
        assert len({(g, h) for g, h in zip(leads.group, leads.high, strict=True)}) == len(np.unique(leads.group))

    def test_one_client_alone(self):
        assert share_world("small", 1, np.random.default_rng(3)).n_current.shape == (1,)

    def test_score_world_shows_its_means_and_spread(self):
        world = score_world("shifted", 2000, np.random.default_rng(3), sizes="large")
        assert np.mean(world.mean_current - world.true_current) == pytest.approx(0.0, abs=0.2)
        assert np.sqrt(np.mean(world.variance_previous)) == pytest.approx(18.0, abs=0.5)
        assert np.mean(world.true_class == 1) > 0.5

    def test_score_world_has_no_variance_of_a_single_lead(self):
        world = score_world("still", 3000, np.random.default_rng(3))
        assert np.array_equal(np.isnan(world.variance_current), world.n_current < 2)

    def test_tone_world_counts_its_true_shares(self):
        world = tone_world("sparse", 3000, np.random.default_rng(3), sizes="large")
        assert np.all(world.counts_current.sum(axis=1) == 100)
        assert np.allclose(world.true_current.sum(axis=1), 1.0)
        assert np.allclose(world.counts_current.mean(axis=0) / 100, world.true_current.mean(axis=0), atol=0.005)

    def test_a_change_equal_to_the_dead_band_is_stable(self):
        assert change_class(np.array([0.35 - 0.30, 0.051, -0.051]), 0.05).tolist() == [0, 1, -1]
        assert trend_word(-0.2, 0.05) == "decreasing"

    def test_unknown_kind_and_sizes_are_refused(self):
        with pytest.raises(ValueError, match="known are still"):
            share_world("stil", 3, np.random.default_rng(3))
        with pytest.raises(ValueError, match="pareto"):
            share_world("still", 3, np.random.default_rng(3), sizes="small")


def true_changes(kind):
    """The true changes of a world whose shares are all near one half, so that none is cut off."""
    world = share_world(kind, 10_000, np.random.default_rng(3), base=(500, 500))
    return world.true_current - world.true_previous


class TestRows:
    def test_same_seed_and_instant_give_the_same_rows(self):
        one, other = make_world(seed=4), make_world(seed=4)
        assert (one.clients, one.leads, one.actions, one.truths) == (
            other.clients,
            other.leads,
            other.actions,
            other.truths,
        )
        assert make_world(seed=5).leads != one.leads

    @pytest.mark.parametrize("as_of", [AS_OF, AS_OF + timedelta(hours=15, minutes=20)])
    def test_nothing_is_dated_as_of_or_later(self, as_of):
        world = make_world(as_of=as_of, days=90)
        start = as_of - timedelta(days=90)
        stamps = [action.timestamp for action in world.actions]
        for lead in world.leads:
            stamps += [lead.timestamp, lead.last_updated]
            stamps += [s for s in (lead.contacted_at, lead.client_closed_at, lead.no_sale_at) if s is not None]
            for history in (lead.tone_history, lead.urgency_history, lead.confidence_history):
                entries = json.loads(history)
                entries = json.loads(entries) if isinstance(entries, str) else entries
                stamps += [datetime.fromisoformat(e["timestamp"]) for e in entries if isinstance(e, dict)]
        assert start <= min(stamps)
        assert max(stamps) < as_of
        assert max(client.created_at for client in world.clients) < start

    def test_ids_are_unique_and_keys_point_to_rows(self, demo):
        leads, clients = {lead.id for lead in demo.leads}, {client.client_id for client in demo.clients}
        assert len(leads) == len(demo.leads)
        assert len({action.id for action in demo.actions}) == len(demo.actions)
        assert len({client.email for client in demo.clients}) == len({c.business_name for c in demo.clients}) == 40
        assert {lead.client_id for lead in demo.leads} <= clients == set(demo.truths)
        assert {action.lead_id for action in demo.actions} == leads  # each has at least its insert

    def test_the_demo_is_a_year_of_some_twelve_thousand_leads(self, demo):
        assert 10_000 < len(demo.leads) < 15_000
        assert Counter(c.language for c in demo.clients)["fr"] == 16
        assert sum(c.is_test for c in demo.clients) == sum(c.is_internal for c in demo.clients) == 1

    def test_it_has_the_habits_of_real_databases(self, demo):
        tags = Counter(lead.current_tag for lead in demo.leads)
        kinds = Counter(action.action_type for action in demo.actions)
        assert {None, "Converted", "Converti", "Contacté", "Follow-Up", "Not Qualified", "Active"} <= set(tags)
        assert {"insert", "tag", "archive", "delete", "outcome_update"} == set(kinds)
        assert kinds["insert"] > len(demo.leads)  # repeat contacts
        assert {lead.outcome_status for lead in demo.leads} == {None, "client_closed", "no_sale"}
        assert {action.conversion_outcome for action in demo.actions} == {None, True, False}
        assert any(action.reversion_reason for action in demo.actions)
        for name in ("archived", "deleted", "is_test"):
            assert any(getattr(lead, name) for lead in demo.leads)
        for name in ("urgency", "tone", "confidence_score"):
            assert 0.01 < sum(getattr(lead, name) is None for lead in demo.leads) / len(demo.leads) < 0.1
        assert {"High", "high", "Élevée", "Haute", "Moyenne", "Faible"} <= {lead.urgency for lead in demo.leads}

    def test_state_and_actions_agree(self, demo):
        done = {}
        for action in demo.actions:
            done.setdefault(action.lead_id, []).append(action)
        for lead in demo.leads:
            kinds = {action.action_type for action in done[lead.id]}
            tags = [action.tag for action in done[lead.id] if action.action_type == "tag"]
            assert lead.archived == ("archive" in kinds)
            assert lead.deleted == ("delete" in kinds)
            assert lead.current_tag == (tags[-1] if tags else None)
            stamps = [action.timestamp for action in done[lead.id]]
            assert stamps == sorted(stamps) or len([a for a in done[lead.id] if a.action_type == "insert"]) == 2

    def test_timestamp_is_the_last_contact(self, demo):
        inserts = {}
        for action in demo.actions:
            if action.action_type == "insert":
                inserts.setdefault(action.lead_id, []).append(action.timestamp)
        assert all(lead.timestamp == max(inserts[lead.id]) for lead in demo.leads)

    def test_every_word_is_one_the_worker_knows(self):
        for name, words in URGENCY_WORDS.items():
            assert {vocabulary.URGENCY_NAMES[vocabulary.urgency_code(w)] for group in words for w in group} == {name}
        for name, words in TONES.items():
            assert {vocabulary.TONES[vocabulary.tone_code(w)] for group in words for w in group} == {name}

    def test_volumes_follow_the_week(self, demo):
        days = Counter(action.timestamp.weekday() for action in demo.actions if action.tag == "New Lead")
        assert days[1] > 2 * days[6]

    def test_empty_and_absurd_arguments(self):
        assert make_world(1, 1, leads_per_window=0.0).leads == []
        with pytest.raises(ValueError, match="aware"):
            company_world(np.random.default_rng(1), datetime(2026, 1, 1))  # noqa: DTZ001
        with pytest.raises(ValueError, match="there are 3"):
            make_world(3, plan={3: PlantedChange(volume=2.0)})
        with pytest.raises(ValueError, match="none of organic_search"):
            make_world(3, plan={1: PlantedChange(source=("tv", 0.2))})

    def test_it_is_quick(self):
        started = time.perf_counter()
        company_world(np.random.default_rng(1), AS_OF, plan=demo_plan())
        assert time.perf_counter() - started < 5.0  # 0.6 s here; slow machines have room


class TestTruth:
    def test_high_shares_show(self, large):
        for client, shares in ((0, (0.6, 0.2)), (1, None)):
            truth = large.truths[large.clients[client].client_id]
            for window, share in enumerate((truth.high_share_current, truth.high_share_previous)):
                assert shares is None or share == pytest.approx(shares[window])
                codes = [vocabulary.urgency_code(lead.urgency) for lead in leads_of(large, client, window)]
                known = [code for code in codes if code >= 0]
                observed = known.count(vocabulary.URGENCY_HIGH) / len(known)
                assert within_error(observed, share, len(known))

    def test_tone_and_source_shares_show(self, large):
        for client in (0, 1):
            truth = large.truths[large.clients[client].client_id]
            for window, tones, sources in (
                (0, truth.tone_shares, truth.source_shares),
                (1, truth.tone_shares_previous, truth.source_shares_previous),
            ):
                leads = leads_of(large, client, window)
                known = [c for c in (vocabulary.tone_code(lead.tone) for lead in leads) if c >= 0]
                counted = Counter(vocabulary.TONES[code] for code in known)
                for tone in TONE_FAMILIES:
                    assert within_error(counted[tone] / len(known), tones[tone], len(known)), tone
                counted = Counter(lead.source for lead in leads)
                for source in SOURCES:
                    assert within_error(counted[source] / len(leads), sources[source], len(leads)), source

    def test_planted_shares_are_the_ones_asked_for(self, large):
        truth = large.truths[large.clients[0].client_id]
        assert truth.tone_shares["Urgent"] - truth.tone_shares_previous["Urgent"] == pytest.approx(0.3)
        assert sum(truth.tone_shares.values()) == pytest.approx(1.0)
        assert truth.planted == "High urgency 20% -> 60%; tone Urgent +30 points"
        assert (truth.urgency_class, truth.score_class) == ("increasing", "increasing")

    @pytest.mark.parametrize("client", [0, 1])
    @pytest.mark.parametrize("window", [0, 1])
    def test_expected_score_is_the_mean_over_leads(self, large, client, window):
        """Against the score's rule, worked out lead by lead as things stood at the window's end."""
        end = large.as_of - window * WINDOW
        done = {}
        for action in large.actions:
            done.setdefault(action.lead_id, []).append(action.timestamp)
        scores = []
        for lead in leads_of(large, client, window):
            arrival = min(done[lead.id])
            seen_until = min(end, arrival + timedelta(days=7))
            touched = sum(stamp < seen_until for stamp in done[lead.id]) > 1
            level = vocabulary.urgency_code(lead.urgency)
            parts = []
            if lead.confidence_score is not None:
                parts.append((0.4, lead.confidence_score))
            if level >= 0:
                parts.append((0.3, level / 2))
            if touched or end - arrival >= timedelta(days=7):
                parts.append((0.3, float(touched)))
            if parts:
                scores.append(100 * sum(w * v for w, v in parts) / sum(w for w, _ in parts))
        truth = large.truths[large.clients[client].client_id]
        expected = truth.score_previous if window else truth.score_current
        assert np.mean(scores) == pytest.approx(expected, abs=0.3 + 4 * np.std(scores) / np.sqrt(len(scores)))

    def test_expected_conversions_are_right_on_average(self):
        worlds = [make_world(40, 200, seed=seed, leads_per_window=60.0) for seed in range(4)]
        truths = [truth for world in worlds for truth in world.truths.values()]
        expected = sum(truth.conversions_expected for truth in truths)
        drawn = sum(truth.conversions_drawn for truth in truths)
        assert expected > 500
        assert abs(drawn - expected) < 4 * np.sqrt(expected)

    def test_open_leads_are_counted_from_the_rows(self, demo):
        lost = {"Not Qualified", "Non Qualifié", "Converted", "Converti"}
        counted = Counter(
            lead.client_id
            for lead in demo.leads
            if not (lead.archived or lead.deleted or lead.is_test)
            and lead.outcome_status not in ("client_closed", "no_sale")
            and lead.current_tag not in lost
        )
        assert {client_id: truth.open_leads for client_id, truth in demo.truths.items()} == {
            client_id: counted[client_id] for client_id in demo.truths
        }

    def test_volume_and_conversion_factors_show(self):
        plan = {0: PlantedChange(volume=2.0, conversion=2.0, leads_per_window=3000)}
        world = make_world(1, 60, plan)
        truth = world.truths[world.clients[0].client_id]
        assert truth.leads_expected_current == pytest.approx(2 * truth.leads_expected_previous)
        assert len(leads_of(world, 0, 0)) / len(leads_of(world, 0, 1)) == pytest.approx(2.0, abs=0.15)

    def test_clients_without_a_plan_do_not_change(self, demo):
        still = [t for t in demo.truths.values() if t.planted == "nothing changes"]
        assert len(still) == 40 - len(demo_plan())
        assert {(t.urgency_class, t.score_class) for t in still} == {("stable", "stable")}
        assert all(t.score_previous == pytest.approx(t.score_current) for t in still)

    def test_facts_are_plain_json(self, demo):
        truth = next(iter(demo.truths.values()))
        facts = json.loads(json.dumps(truth.facts(), allow_nan=False))
        assert facts["planted"] == truth.planted
        assert datetime.fromisoformat(facts["as_of"]) == AS_OF

    def test_urgency_plan_gives_an_array_world_as_rows(self):
        plan = urgency_plan("sparse", 30, np.random.default_rng(3), leads_per_window=20.0)
        world = make_world(30, 60, plan)
        truths = [world.truths[client.client_id] for client in world.clients]
        assert [t.high_share_current for t in truths] == [plan[i].high_share[1] for i in range(30)]
        assert any(abs(t.high_share_current - t.high_share_previous) > 0.2 for t in truths)

    def test_urgency_words_cover_the_levels(self):
        assert tuple(URGENCY_WORDS) == URGENCIES
