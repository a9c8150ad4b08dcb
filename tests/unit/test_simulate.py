"""The simulated worlds: what they say is true is what their rows show, and the same seed gives the same rows."""

import json
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from worker import vocabulary
from worker.commands.demo import WORLDS
from worker.simulate import (
    CHANGE_KINDS,
    SOURCES,
    TONE_FAMILIES,
    TONES,
    URGENCIES,
    URGENCY_WORDS,
    PlantedChange,
    change_plan,
    company_world,
    demo_plan,
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
        started = time.process_time()  # whatever else the machine is doing
        company_world(np.random.default_rng(1), AS_OF, plan=demo_plan())
        assert time.process_time() - started < 5.0  # 0.6 s here; slow machines have room


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

    @pytest.mark.parametrize("kind", CHANGE_KINDS)
    def test_clients_change_as_the_kind_says(self, kind):
        plan = change_plan(kind, 30, np.random.default_rng(3), leads_per_window=20.0)
        world = make_world(30, 60, plan)
        for i, client in enumerate(world.clients):
            truth, planted = world.truths[client.client_id], plan[i]
            assert (truth.high_share_previous, truth.high_share_current) == planted.high_share
            gained = {tone: truth.tone_shares[tone] - truth.tone_shares_previous[tone] for tone in TONE_FAMILIES}
            if planted.tone is None:
                assert max(map(abs, gained.values())) < 1e-12
            else:
                name, gain = planted.tone
                assert gained[name] == pytest.approx(max(gain, -truth.tone_shares_previous[name]))
                assert all(change * gain <= 1e-12 for tone, change in gained.items() if tone != name)

    def test_what_a_tone_cannot_lose_is_not_said_to_be_lost(self):
        world = make_world(2, 60, {0: PlantedChange(tone=("Neutral", -0.9), leads_per_window=20.0)})
        truth = world.truths[world.clients[0].client_id]
        assert truth.planted == f"tone Neutral -{100 * truth.tone_shares_previous['Neutral']:.0f} points"

    def test_what_is_planted_wins_over_the_kind(self):
        world = make_world(12, 60, {3: PlantedChange(volume=2.0)}, kind="shifted")
        said = [world.truths[client.client_id].planted for client in world.clients]
        assert said[3] == "volume x 2"
        assert sum("High urgency" in text for text in said) > 8

    @pytest.mark.parametrize("kind", CHANGE_KINDS)
    def test_rows_of_every_kind_show_their_truth(self, kind):
        """Pooled over two hundred clients: High, tones and volume of the current window."""
        world = make_world(200, 60, kind=kind, leads_per_window=30.0, special_clients=False)
        truths = list(world.truths.values())
        inserted = first_contacts(world)
        now = [lead for lead in world.leads if inserted[lead.id] >= AS_OF - WINDOW]
        expected = sum(truth.leads_expected_current for truth in truths)
        assert len(now) == pytest.approx(expected, rel=0.08)
        level = np.array([vocabulary.urgency_code(lead.urgency) for lead in now])
        share = np.mean(level[level >= 0] == vocabulary.URGENCY_HIGH)
        of_client = {client_id: truth.high_share_current for client_id, truth in world.truths.items()}
        known = [lead for lead, code in zip(now, level, strict=True) if code >= 0]
        assert share == pytest.approx(np.mean([of_client[lead.client_id] for lead in known]), abs=0.025)
        tone = np.array([vocabulary.tone_code(lead.tone) for lead in now])
        for family in ("Professional", "Urgent"):
            shown = np.mean(tone[tone >= 0] == vocabulary.TONES.index(family))
            true = [world.truths[lead.client_id].tone_shares[family] for lead in now]
            assert shown == pytest.approx(np.mean(true), abs=0.025), family

    def test_still_is_the_world_without_a_kind(self):
        assert make_world(kind="still").leads == make_world().leads


def first_contacts(world):
    inserted = {}
    for action in world.actions:
        if action.action_type == "insert":
            inserted[action.lead_id] = min(action.timestamp, inserted.get(action.lead_id, action.timestamp))
    return inserted


class TestGroupedRows:
    """Bursts and duplicates as rows of the application's tables."""

    def test_leads_of_a_burst_come_within_minutes_and_mostly_agree(self):
        world = make_world(
            1,
            60,
            kind="bursts",
            leads_per_window=300.0,
            burst_correlation=0.8,
            mean_burst=3.0,
            plan={0: PlantedChange()},
        )
        inserted = first_contacts(world)
        leads = sorted(world.leads, key=lambda lead: inserted[lead.id])
        gaps = np.diff([inserted[lead.id].timestamp() for lead in leads])
        urgency = np.array([vocabulary.urgency_code(lead.urgency) for lead in leads])
        tone = np.array([vocabulary.tone_code(lead.tone) for lead in leads])
        near, far = gaps < 600, gaps > 3600
        assert 0.55 < near.mean() < 0.75  # bursts of three: two gaps in three lie within one
        for code, alone in ((urgency, 0.36), (tone, 0.12)):
            both = (code[1:] >= 0) & (code[:-1] >= 0)
            same = code[1:] == code[:-1]
            assert same[near & both].mean() > same[far & both].mean() + 0.2
            assert same[far & both].mean() == pytest.approx(alone, abs=0.15)

    def test_a_duplicate_says_the_same_again_under_another_id(self):
        world = make_world(20, 60, kind="duplicates", leads_per_window=60.0)
        inserted = first_contacts(world)
        by_email = {}
        for lead in sorted(world.leads, key=lambda lead: inserted[lead.id]):
            by_email.setdefault(lead.email, []).append(lead)
        copies = [leads for leads in by_email.values() if len(leads) > 1]
        assert len(copies) / len(by_email) == pytest.approx(0.2, abs=0.04)
        for first, second in copies:
            assert first.id != second.id
            assert 0 <= (inserted[second.id] - inserted[first.id]).total_seconds() < 3600
            for name in ("client_id", "name", "message", "language", "ai_summary", "intent", "source", "is_test"):
                assert getattr(first, name) == getattr(second, name), name
            if not (repeated(world, first) or repeated(world, second)):
                for name in ("urgency", "tone", "confidence_score"):
                    assert getattr(first, name) == getattr(second, name), name

    @pytest.mark.parametrize("kind", ["bursts", "duplicates"])
    @pytest.mark.parametrize("as_of", [AS_OF, AS_OF + timedelta(hours=15, minutes=20)])
    def test_no_member_of_a_group_comes_too_late(self, kind, as_of):
        world = make_world(30, 40, kind=kind, as_of=as_of, leads_per_window=200.0, mean_burst=6.0)
        assert max(first_contacts(world).values()) < as_of

    def test_same_seed_same_rows(self):
        one, other = (make_world(kind="bursts") for _ in range(2))
        assert one.leads == other.leads


def repeated(world, lead):
    return sum(a.lead_id == lead.id and a.action_type == "insert" for a in world.actions) > 1


class TestWords:
    def test_the_command_line_offers_every_kind(self):
        assert WORLDS == CHANGE_KINDS

    def test_urgency_words_cover_the_levels(self):
        assert tuple(URGENCY_WORDS) == URGENCIES
