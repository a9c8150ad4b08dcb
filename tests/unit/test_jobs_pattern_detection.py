"""pattern_detection: what is asked and reported, and how today's patterns meet the rows of earlier runs."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lead_rows import AS_OF, CLIENT_IDS, arranged, days_before, fitted, generator, lead, micro

from worker.calendar import local_day
from worker.jobs import pattern_detection
from worker.jobs.finding import Check, Claim, Finding
from worker.jobs.pattern_family import Sums, build_family, half_answers, learn_pool
from worker.jobs.pattern_questions import EVERYONE, GROUPS
from worker.jobs.pattern_record import days_since, patterns_on_record, recent_discoveries, reconcile
from worker.jobs.pattern_view import SUBJECTS, View
from worker.jobs.pattern_volume import VolumeModel, volume_family
from worker.plain_json import plain_json
from worker.simulate.pattern_world import pattern_world
from worker.statistics.dispersion import Dispersion

CLIENT = CLIENT_IDS[0]


def among(i, share):
    """Spread the first so many percent over a hundred: neighbours in a row would look like a burst."""
    return i * 37 % 100 < share


def shifted_leads():
    rows = [
        lead(f"{c}-{when}-{i}", days_before(when), CLIENT_IDS[c], urgency="High" if among(i, share) else "Low",
             tone="Direct", source=f"utm-{c}-{i}" if i else "web")
        for c in range(9)
        for when, share in ((45, 20), (15, 70 if c == 0 else 20))
        for i in range(100)
    ]  # fmt: skip
    return arranged(rows, (), 9)


def told(leads, past=(), **first):
    """Say what a run would write, the global patterns included."""
    model = pattern_detection.fit(leads, AS_OF, past=past, **first)
    findings = [
        finding
        for part in (leads, leads.pool())
        for finding in pattern_detection.analyse(part, model, AS_OF, generator())
    ]
    return model, reconcile(findings, past, AS_OF)


def test_a_planted_change_is_found_and_only_it():
    model, findings = told(shifted_leads())
    own = [finding for finding in findings if finding.client_id == CLIENT]
    assert {(f.content["pattern_type"], f.content["value"], f.content["against"]) for f in own} == {
        ("urgency_increasing", "High", "own_past"),
        ("urgency_increasing", "High", "pool"),
    }
    assert {finding.client_id for finding in findings} <= {CLIENT, None}
    found = own[0].content
    assert found["affected_leads"] == 70
    assert found["effect"]["raw"] == pytest.approx(0.5)
    assert 0.2 < found["effect"]["estimate"] < 0.5
    assert found["effect"]["interval"]["low"] < found["effect"]["estimate"] < found["effect"]["interval"]["high"]
    assert found["hypotheses_tested"] == model["hypotheses"]
    assert found["status"] == "new"
    assert [point["leads"] for point in found["data_points"]] == [0, 100, 0, 0, 0, 100, 0, 0]
    assert found["data_points"][5]["share"] == 0.7
    assert found["data_points"][5]["avg_urgency"] == "Medium"
    assert own[0].claim.probability > 0.95
    against_pool = next(f.content for f in own if f.content["against"] == "pool")
    assert against_pool["effect"]["raw"] == pytest.approx(0.5)  # the other eight did not change at all


def test_a_volume_that_triples_is_found():
    rows = [
        lead(f"{when}-{i}", days_before(when - 28 * i / n), urgency="Low")
        for when, n in ((59, 90), (29, 280))
        for i in range(n)
    ]
    _, findings = told(arranged(rows))
    (finding,) = [f for f in findings if f.client_id == CLIENT]  # a client alone has no pool to be compared with
    assert finding.content["pattern_type"] == "volume_increasing"
    assert finding.content["value"] is None
    assert finding.content["affected_leads"] == finding.n
    assert finding.claim_key == "volume_increasing::own_past"
    assert 2 < finding.content["effect"]["estimate"] < 3.2
    assert finding.content["effect"]["interval"]["low"] > 1


def test_a_second_contact_counts_where_its_week_has_passed():
    """Leads younger than seven days cannot tell yet; a contact after the week does not count."""
    world = pattern_world("still", 40, AS_OF, np.random.default_rng(2), sizes=100)
    view = View(world.leads, AS_OF)
    subject = next(subject for subject in view.subjects if SUBJECTS[subject.number] == "repeat_contact")
    age = (view.windows.end - view.leads.arrival) / (24 * 3600 * 1e6)
    assert (subject.code[age < 7] == -1).all()
    assert (subject.code[(age > 30) & (age < 37)] == -1).all()  # when the previous window ended
    assert (subject.code[(age > 7) & (age < 30)] >= 0).all()
    assert subject.code[subject.code >= 0].mean() == pytest.approx(0.2 * (1 - np.exp(-7 / 3)), abs=0.02)


def test_values_that_few_leads_carry_are_never_asked_about():
    leads = shifted_leads()
    model = fitted("pattern_detection", leads)
    assert model["hypotheses"] <= 3 * 2 * 9 + 2
    assert not any("utm" in name for name in model["pool"]["source"])


def family_of(world):
    return learn_pool(View(world.leads, AS_OF))[1]


def test_every_subject_is_asked_about_and_everyone_too():
    family = family_of(pattern_world("still", 200, AS_OF, np.random.default_rng(3), sizes=150))
    assert set(family.group.tolist()) == set(range(len(GROUPS)))
    everyone = family.only(family.client == EVERYONE)
    assert {SUBJECTS[subject] for subject in everyone.subject.tolist()} == set(SUBJECTS)
    assert (everyone.group % 2 == 0).all()  # everyone is not compared with everyone
    assert len(np.unique(family.key)) == len(family)


def test_what_is_asked_does_not_depend_on_the_answer():
    """Leads that swap windows turn the answers round, and neither more nor less is asked."""
    world = pattern_world("mostly_still", 60, AS_OF, np.random.default_rng(4), sizes=60)
    leads = world.leads
    view = View(leads, AS_OF)
    half_way = 30 * 24 * 3600 * 1_000_000
    moved = np.where(view.two.current, -half_way, half_way)
    only_shares = ("urgency", "tone", "source", "language")
    swapped = replace(
        leads,
        arrival=leads.arrival + moved,
        urgency=replace(leads.urgency, time=leads.urgency.time + moved[leads.urgency.lead]),
        tone=replace(leads.tone, time=leads.tone.time + moved[leads.tone.lead]),
        contacts=replace(leads.contacts, time=leads.contacts.time + moved[leads.contacts.lead]),
    )
    # the same likeness of neighbours for both, or rounding decides what is just not asked
    first, second = (learn_pool(View(part, AS_OF))[1] for part in (leads, swapped))

    def own(family):
        part = family.only(
            (family.client != EVERYONE)
            & (family.group % 2 == 0)
            & np.isin(family.subject, [SUBJECTS.index(name) for name in only_shares])
        )
        return part.only(np.argsort(part.client * 10_000 + part.group * 100 + part.code))

    a, b = own(first), own(second)
    same = len(a) == len(b)
    assert same or abs(len(a) - len(b)) < 0.01 * len(a)
    if same:
        assert a.z == pytest.approx(-b.z, abs=0.15)


def test_others_are_the_other_clients_alone():
    """One of two clients changes by 40 points: against the other, it is up and the other is down by as much."""
    rows = [
        lead(f"{c}-{when}-{i}", days_before(when), CLIENT_IDS[c], urgency="High" if among(i, share) else "Low")
        for c in range(2)
        for when, share in ((45, 30), (15, 70 if c == 0 else 30))
        for i in range(100)
    ]
    family = learn_pool(View(arranged(rows, (), 2), AS_OF))[1]
    pool = family.only((family.group == GROUPS.index("urgency|pool")) & (family.client != EVERYONE))
    assert pool.raw == pytest.approx([0.4, -0.4])
    assert pool.z[0] > 3.5
    assert pool.z[1] < -3.5
    assert pool.shift_error == pytest.approx([0.065, 0.071], abs=0.01)


def test_bursts_and_double_submissions_widen_the_errors():
    still = pattern_world("still", 300, AS_OF, np.random.default_rng(5), sizes=60)
    burst = pattern_world("bursts", 300, AS_OF, np.random.default_rng(5), sizes=60)
    learned = [learn_pool(View(world.leads, AS_OF))[0]["serial_correlation"]["urgency"] for world in (still, burst)]
    assert 1 + 2 * sum(learned[0]) < 1.15
    assert 1 + 2 * sum(learned[1]) > 1.6


def test_a_client_whose_weeks_vary_much_gets_a_wider_error():
    calm, wild = [[25, 25, 25, 25], [20, 20, 20, 20]], [[70, 5, 20, 5], [5, 50, 5, 20]]
    weekly = np.array([calm, wild])
    model = VolumeModel(Dispersion(1.0, 0.0, 1.0), (0.0, 0.0))
    family = volume_family(weekly, np.array([80, 80]), model, np.ones(2, dtype=bool))
    own = family.only(family.group % 2 == 0)
    assert own.raw[0] == own.raw[1] < 0
    assert own.error[0] == pytest.approx(np.sqrt(4 / 180))
    assert own.error[1] > 2 * own.error[0]
    assert abs(own.z[1]) < abs(own.z[0]) / 2


def test_the_pools_sums_survive_another_numbering():
    sums = Sums(*(np.array([1.5, 0.0, 2.5]) * factor for factor in (1, 2, 3, 4, 5)))
    kept = sums.as_json(("a", "b", "c"))
    assert set(kept) == {"a", "c"}
    again = Sums.from_json(kept, ("c", "x", "a"))
    assert again.weight.tolist() == [2.5, 0.0, 1.5]
    assert again.change.tolist() == [5.0, 0.0, 3.0]


def test_many_values_are_counted_as_few_are(monkeypatch):
    world = pattern_world("mostly_still", 40, AS_OF, np.random.default_rng(7), sizes=100)
    model = fitted("pattern_detection", world.leads)
    direct = build_family(View(world.leads, AS_OF), model)
    monkeypatch.setattr("worker.jobs.pattern_view.LARGEST_TABLE", 0)
    by_sorting = build_family(View(world.leads, AS_OF), model)
    for name in type(direct).__slots__:
        assert np.array_equal(getattr(direct, name), getattr(by_sorting, name)), name


def test_a_contact_at_the_end_of_the_window_is_not_known_yet():
    """Whatever is known is from strictly before the end, and a lead of exactly a week before is old enough to tell."""
    arrival = days_before(7)
    for contact, again in ((AS_OF, 0), (AS_OF - timedelta(microseconds=1), 1)):
        leads = arranged([lead("a", arrival)])
        times = np.array([micro(arrival), micro(contact)])
        leads = replace(leads, contacts=replace(leads.contacts, lead=np.zeros(2, dtype=np.int64), time=times))
        view = View(leads, AS_OF)
        (subject,) = (part for part in view.subjects if SUBJECTS[part.number] == "repeat_contact")
        assert subject.code.tolist() == [again]


def test_a_model_read_back_gives_the_same_answers():
    """A stored model's keys come back in another order: sorted as text, or, from jsonb, by length."""
    world = pattern_world("planted", 60, AS_OF, np.random.default_rng(11), sizes=120)
    model = pattern_detection.fit(world.leads, AS_OF)
    first = pattern_detection.analyse(world.leads, model, AS_OF, generator())
    assert any(finding.facts["news"] for finding in first)
    sorted_keys = json.loads(plain_json(model))
    by_length = dict(sorted_keys)
    for part in ("groups", "largest_p"):
        by_length[part] = dict(sorted(sorted_keys[part].items(), key=lambda item: (len(item[0]), item[0])))
    for again in (sorted_keys, by_length):
        assert tuple(again["groups"])[: len(GROUPS)] != GROUPS
        assert pattern_detection.analyse(world.leads, again, AS_OF, generator()) == first


# --- what is news ----------------------------------------------------------------------------------------------------


def row_of(finding, *, first_seen, as_of):
    return {
        "client_id": finding.client_id,
        "claim_key": finding.claim_key,
        "period_key": first_seen,
        "last_seen": local_day(as_of),
        "as_of": as_of,
    }


def test_a_pattern_on_record_goes_on_and_is_not_tested_again():
    leads = shifted_leads()
    model, findings = told(leads)
    before = AS_OF - timedelta(days=1)
    past = [row_of(finding, first_seen="2025-03-20", as_of=before) for finding in findings]
    later_model, later = told(leads, past, last_period=local_day(before))
    assert [f.claim_key for f in later] == [f.claim_key for f in findings]
    assert {f.content["status"] for f in later} == {"continuing"}
    assert {f.content["first_seen"] for f in later} == {"2025-03-20"} == {f.period_key for f in later}
    assert {f.content["last_seen"] for f in later} == {local_day(AS_OF)}
    assert [f.claim.probability for f in later] == [f.claim.probability for f in findings]  # the rows do not say more
    assert later_model["hypotheses"] == model["hypotheses"]
    assert later_model["fresh"] == model["fresh"] - len(findings)


def test_a_weak_pattern_goes_on_but_is_no_news():
    """18 points of 100 leads are not news among nine clients a day after the last run; what is on record goes on."""
    rows = [
        lead(f"{c}-{when}-{i}", days_before(when), CLIENT_IDS[c], urgency="High" if among(i, share) else "Low")
        for c in range(9)
        for when, share in ((45, 30), (15, 52 if c == 0 else 30))
        for i in range(100)
    ]
    leads = arranged(rows, (), 9)
    yesterday = AS_OF - timedelta(days=1)
    _, news = told(leads, last_period=local_day(yesterday))
    assert news == []
    key = "urgency_increasing:High:own_past"
    past = [{"client_id": CLIENT, "claim_key": key, "period_key": "2025-03-25", "last_seen": local_day(yesterday),
             "as_of": yesterday}]  # fmt: skip
    _, going_on = told(leads, past, last_period=local_day(yesterday))
    assert [(f.client_id, f.claim_key, f.content["status"]) for f in going_on] == [(CLIENT, key, "continuing")]
    assert going_on[0].claim.probability >= 0.5
    still = arranged([row for row in rows if row[1] != CLIENT], (), 9)
    assert told(still, past, last_period=local_day(yesterday))[1] == []  # gone: nothing renews its row


def test_a_run_spends_what_the_days_since_the_last_have_earned():
    leads = shifted_leads()
    level = {days: told(leads, last_period=local_day(AS_OF - timedelta(days=days)))[0]["level"] for days in (1, 2, 20)}
    assert level[2] == pytest.approx(2 * level[1])
    assert level[20] == pytest.approx(20 * level[1])
    assert told(leads)[0]["level"] == 0.10
    _, findings = told(leads)
    past = [row_of(findings[0], first_seen="2025-03-20", as_of=AS_OF - timedelta(days=1))]
    earned = told(leads, past, last_period=local_day(AS_OF - timedelta(days=1)))[0]["level"]
    assert earned == pytest.approx(level[1] + 0.10 / 30)


def test_what_goes_on_keeps_what_earlier_windows_said():
    leads = shifted_leads()
    _, findings = told(leads)
    weak = next(f for f in findings if f.client_id == CLIENT)
    weak = replace(weak, claim=replace(weak.claim, probability=0.7))
    row = row_of(weak, first_seen="2025-03-20", as_of=AS_OF - timedelta(days=1))
    z = weak.content["effect"]["z"]

    def carried(**known):
        (finding,) = reconcile([weak], [row | known], AS_OF)
        return finding.claim.probability

    assert carried() == 0.7
    assert carried(probability="0.97", z=str(z)) > 0.95
    assert carried(probability="0.6", z=str(z)) >= 0.7  # never less than today's windows say
    assert carried(probability="0.97", z=str(2 * z)) < carried(probability="0.97", z=str(z))
    for odd in (
        {"probability": "1.5", "z": "3"},
        {"probability": "much", "z": "3"},
        {"probability": "0.9", "z": "nan"},
    ):
        assert carried(**odd) == 0.7


def test_a_rerun_starts_from_what_earlier_periods_said():
    """What a run of this very period said is no evidence: with other data the confidence can fall again."""
    leads = shifted_leads()
    finding = next(f for f in told(leads)[1] if f.client_id == CLIENT)
    z = finding.content["effect"]["z"]
    before = AS_OF - timedelta(days=1)
    row = row_of(finding, first_seen="2025-03-20", as_of=before) | {"probability": "0.9", "z": str(z)}

    def weak(share):
        effect = finding.content["effect"] | {"z": share * z}
        claim = replace(finding.claim, probability=0.7)
        return replace(finding, claim=claim, content={**finding.content, "effect": effect})

    def stored(said):
        effect, claim = said.content["effect"], said.claim
        known = {"probability": str(claim.probability), "z": str(effect["z"])}
        kept = json.loads(plain_json(said.content["carried_from"]))
        return row_of(said, first_seen=said.period_key, as_of=AS_OF) | known | {"carried_from": kept}

    (strong,) = reconcile([weak(1.0)], [row], AS_OF)
    assert strong.content["carried_from"] == {"probability": 0.9, "z": z, "as_of": before.isoformat()}
    assert reconcile([weak(1.0)], [stored(strong)], AS_OF) == [strong]
    (fallen,) = reconcile([weak(0.5)], [stored(strong)], AS_OF)
    assert [fallen] == reconcile([weak(0.5)], [row], AS_OF)
    assert fallen.claim.probability < strong.claim.probability - 0.1
    # an earlier instant of the same local day is the same period, whatever zone the row's instant is told in
    zone = timezone(timedelta(hours=-5))
    noon, evening = (datetime(2025, 3, 30, hour, tzinfo=zone) for hour in (12, 22))
    (at_noon,) = reconcile([weak(1.0)], [row], noon)
    again = stored(at_noon) | {"as_of": noon.astimezone(UTC)}
    assert reconcile([weak(0.5)], [again], evening) == reconcile([weak(0.5)], [row], evening)
    # the next period carries on from what this one said
    (later,) = reconcile([weak(1.0)], [stored(strong)], AS_OF + timedelta(days=1))
    assert later.content["carried_from"]["probability"] == strong.claim.probability
    assert all(f.content["carried_from"] is None for f in told(leads)[1])
    for odd in (None, 3, {}, {"probability": 2, "z": 3, "as_of": before.isoformat()},
                {"probability": 0.9, "z": 3, "as_of": "2025-03-29"}):  # fmt: skip
        (alone,) = reconcile([weak(1.0)], [stored(strong) | {"carried_from": odd}], AS_OF)
        assert (alone.claim.probability, alone.content["carried_from"]) == (0.7, None)


def test_what_a_run_of_the_same_period_said_is_no_turn():
    table = Table()
    table.run(0, "increasing")
    table.run(5, "increasing")
    past = list(table.rows.values())
    turned = past[0] | {"claim_key": pattern("decreasing").claim_key, "period_key": name(5)}
    turned["as_of"] = day(5) + timedelta(hours=4)
    (finding,) = reconcile([pattern("increasing")], [*past, turned], day(5) + timedelta(hours=8))
    assert finding.period_key == name(0)


def test_rows_of_the_run_itself_change_nothing():
    """The same as_of again, with what it wrote on the table: the same model, the same findings."""
    leads = shifted_leads()
    model, findings = told(leads)
    written = [row_of(finding, first_seen=finding.period_key, as_of=AS_OF) for finding in findings]
    assert told(leads, written) == (model, findings)
    renewed = [row_of(finding, first_seen="2025-03-20", as_of=AS_OF) for finding in findings]
    older = [row_of(finding, first_seen="2025-03-20", as_of=AS_OF - timedelta(days=1)) for finding in findings]
    assert told(leads, renewed) == told(leads, older)


def test_rows_that_somebody_else_wrote_harm_nothing():
    leads = shifted_leads()
    row = row_of(told(leads)[1][0], first_seen="2025-03-20", as_of=AS_OF - timedelta(days=1))
    odd = [
        row | change
        for change in (
            {"claim_key": None},
            {"claim_key": "no key"},
            {"claim_key": "weather_increasing:x:own_past"},
            {"claim_key": "tone_increasing:No such tone:own_past"},
            {"period_key": "yesterday"},
            {"last_seen": "2025-02-30"},
            {"as_of": None},
            {"client_id": "nobody"},
        )
    ]
    model, findings = told(leads, odd, last_period="2025-03-29")
    assert model["fresh"] == model["hypotheses"]
    assert {finding.content["status"] for finding in findings} == {"new"}


# --- the other half --------------------------------------------------------------------------------------------------


def test_halves_foretell_each_other():
    """What one half alone makes likely, the other half shows about as often as said."""
    said, agreed = [], []
    for seed in range(2):
        world = pattern_world("planted", 400, AS_OF, np.random.default_rng(seed), sizes=120)
        model = pattern_detection.fit(world.leads.only(~world.leads.half()), AS_OF)
        checks = pattern_detection.half_checks(world.leads, model, AS_OF, generator())
        decided = np.isfinite(checks.p)
        said += checks.p[decided].tolist()
        agreed += checks.agreed[decided].tolist()
    assert len(said) > 200
    assert np.mean(said) == pytest.approx(np.mean(agreed), abs=0.05)


def test_the_other_half_reaches_nothing_that_is_said_of_it():
    world = pattern_world("mostly_still", 100, AS_OF, np.random.default_rng(9), sizes=120)
    leads, aside = world.leads, world.leads.half()
    model = pattern_detection.fit(leads.only(~aside), AS_OF)
    turned = replace(leads, source=np.where(aside, 0, leads.source), language=np.where(aside, 1, leads.language))
    first, second = (pattern_detection.half_checks(part, model, AS_OF, generator()) for part in (leads, turned))
    assert np.array_equal(first.client, second.client)
    both = np.isfinite(first.p) & np.isfinite(second.p)
    assert np.array_equal(first.p[both], second.p[both])


def shown_by_half(leads, model, findings):
    """Say which sign the half set aside shows of each client's pattern: NaN where it shows none."""
    view = View(leads, AS_OF)
    family = build_family(view, model)
    names = {subject.number: subject.names if subject.named else None for subject in view.subjects}
    place = {}
    for h, (client, group, code) in enumerate(zip(family.client, family.group, family.code, strict=True)):
        value = names.get(group // 2)
        place[leads.clients.ids[client], GROUPS[group], value and value[code]] = h
    rows = []
    for finding in findings:
        subject = finding.content["pattern_type"].rsplit("_", 1)[0]
        group = f"{subject}|{finding.content['against']}"
        rows.append(place[finding.client_id, group, finding.content["value"]])
    raw = half_answers(view, model, view.leads.half(), family.only(np.array(rows))).raw
    return np.where(raw == 0, np.nan, np.sign(raw))


@pytest.mark.parametrize(
    ("kind", "n_clients", "sizes"), [("planted", 400, 40), ("mostly_still", 1200, 40), ("bursts", 400, 90)]
)
def test_the_half_set_aside_shows_the_sign_as_often_as_the_snapshots_say(kind, n_clients, sizes):
    """Told patterns are selected by all leads; their checks must be right as often as they say all the same."""
    said, agreed = [], []
    for seed in range(4):
        world = pattern_world(kind, n_clients, AS_OF, np.random.default_rng([seed, n_clients]), sizes=sizes)
        model = pattern_detection.fit(world.leads, AS_OF)
        findings = pattern_detection.analyse(world.leads, model, AS_OF, generator())  # what would go on as well
        signs = np.array([finding.claim.parameters["sign"] for finding in findings])
        assert [finding.check.parameters["sign"] for finding in findings] == signs.tolist()
        p = np.array([np.nan if finding.check.p is None else finding.check.p for finding in findings])
        seen = shown_by_half(world.leads, model, findings)
        decided = np.isfinite(seen)
        assert np.isfinite(p[decided]).all()
        said += p[decided].tolist()
        agreed += (seen == signs)[decided].tolist()
    assert len(said) > 100
    assert np.mean(said) == pytest.approx(np.mean(agreed), abs=0.03)


@pytest.mark.parametrize("kind", ["still", "bursts"])
@pytest.mark.parametrize(("low", "high"), [(0.2, 0.8), (0.8, 1.5), (1.5, 2.2)])
def test_the_half_set_aside_is_foretold_whatever_the_z(kind, low, high):
    """Weak answers too, that are never told: there a probability near one would be wrong."""
    world = pattern_world(kind, 300, AS_OF, np.random.default_rng(12), sizes=300)
    view = View(world.leads, AS_OF)
    model, family = learn_pool(view)
    chosen = (family.client != EVERYONE) & (np.abs(family.z) > low) & (np.abs(family.z) < high)
    family = family.only(chosen)
    p = pattern_detection.half_shows(view, model, family)
    raw = half_answers(view, model, view.leads.half(), family).raw
    decided = np.isfinite(p) & (raw != 0)
    agreed = np.sign(raw[decided]) == np.sign(family.z[decided])
    assert decided.sum() > 500
    assert p[decided].mean() == pytest.approx(agreed.mean(), abs=0.03)


def test_a_half_without_leads_in_a_window_is_asked_nothing():
    leads = shifted_leads()
    view = View(leads, AS_OF)
    aside = view.leads.half() & (view.window == 0)
    lacking = view.leads.only(~aside)
    _, findings = told(lacking)
    shares = [f for f in findings if f.client_id == CLIENT and f.content["pattern_type"].startswith("urgency")]
    assert shares
    assert [finding.check.p for finding in shares] == [None] * len(shares)
    assert all(f.check.p is not None for f in told(leads)[1] if f.client_id == CLIENT)


# --- the rows of earlier runs ----------------------------------------------------------------------------------------


def day(number):
    return datetime(2025, 1, 1, 3, 30, tzinfo=UTC) + timedelta(days=number)


def pattern(direction, value="High", *, news=True):
    key = f"urgency_{direction}:{value}:own_past"
    claim = Claim("effect_sign", 0.9, "Real.", {"sign": 1})
    content = {"pattern_type": f"urgency_{direction}", "value": value, "first_seen": "", "last_seen": ""}
    check = Check("split_half", AS_OF, 0.9)
    return Finding(CLIENT, "pattern_detected", content, claim, check, 100, claim_key=key, facts={"news": news})


class Table:
    """The pattern rows of growth_brain, as runs leave them."""

    def __init__(self):
        self.rows = {}

    def run(self, number, *directions):
        """Run once, as of that day; return (first_seen, last_seen) of what was said."""
        as_of = day(number)
        past = [dict(row) for row in self.rows.values()]
        found = reconcile([pattern(direction) for direction in directions], past, as_of)
        for finding in found:
            assert finding.period_key == finding.content["first_seen"]
            self.rows[finding.period_key, finding.claim_key] = {
                "client_id": finding.client_id,
                "period_key": finding.period_key,
                "claim_key": finding.claim_key,
                "last_seen": finding.content["last_seen"],
                "as_of": as_of,
            }
        return [(finding.content["first_seen"], finding.content["last_seen"]) for finding in found]


def name(number):
    return local_day(day(number))


def test_a_pattern_that_goes_on_keeps_its_row():
    table = Table()
    assert table.run(0, "increasing") == [(name(0), name(0))]
    assert table.run(1, "increasing") == [(name(0), name(1))]
    assert table.run(30, "increasing") == [(name(0), name(30))]  # 29 days unseen: not a full window
    assert len(table.rows) == 1


def test_what_is_neither_news_nor_on_record_is_not_told():
    table = Table()
    assert reconcile([pattern("increasing", news=False)], [], day(0)) == []
    table.run(0, "increasing")
    (finding,) = reconcile([pattern("increasing", news=False)], list(table.rows.values()), day(1))
    assert finding.content["status"] == "continuing"
    assert finding.period_key == name(0)
    assert reconcile([pattern("increasing", news=False)], list(table.rows.values()), day(30)) == []
    assert reconcile([pattern("increasing", news=False)], list(table.rows.values()), day(0)) == []


def test_the_record_knows_what_goes_on_and_what_is_recent():
    table = Table()
    table.run(0, "increasing")
    table.run(3, "increasing")
    key = (CLIENT, "urgency_increasing:High:own_past")
    past = list(table.rows.values())
    assert patterns_on_record(past, day(0)) == {}
    assert patterns_on_record(past, day(4)) == {key: name(0)}
    assert patterns_on_record(past, day(33)) == {}
    table.run(5, "decreasing")
    past = list(table.rows.values())
    assert patterns_on_record(past, day(6)) == {(CLIENT, "urgency_decreasing:High:own_past"): name(5)}
    assert [recent_discoveries(past, day(number)) for number in (0, 1, 5, 6, 30, 31, 36)] == [0, 1, 1, 2, 2, 1, 0]
    assert days_since(None, day(3)) is None
    assert days_since(name(1), day(3)) == 2.0


def test_a_rerun_after_a_turn_finds_the_same_record():
    """The turn's row is renewed by the first run of the day; the second still sees that it turned."""
    table = Table()
    table.run(0, "increasing")
    table.run(5, "decreasing")
    before = patterns_on_record(list(table.rows.values()), day(6))
    table.run(6, "decreasing")
    assert patterns_on_record(list(table.rows.values()), day(6)) == before
    assert before == {(CLIENT, "urgency_decreasing:High:own_past"): name(5)}


def test_a_return_after_a_full_window_is_a_new_row():
    table = Table()
    table.run(0, "increasing")
    assert table.run(30, "increasing") == [(name(30), name(30))]
    assert len(table.rows) == 2


def test_a_turn_of_direction_is_a_new_row_and_so_is_the_turn_back():
    table = Table()
    table.run(0, "increasing")
    assert table.run(5, "decreasing") == [(name(5), name(5))]
    assert table.run(10, "increasing") == [(name(10), name(10))]
    assert table.run(11, "increasing") == [(name(10), name(11))]
    assert len(table.rows) == 3


def test_an_older_run_never_touches_a_newer_row():
    table = Table()
    table.run(0, "increasing")
    table.run(10, "increasing")
    before = dict(table.rows)
    assert table.run(5, "increasing") == []
    assert table.rows == before
    table = Table()
    table.run(10, "increasing")
    assert table.run(5, "increasing") == [(name(5), name(5))]  # before the row began: one of its own
    assert table.run(12, "increasing") == [(name(10), name(12))]


@pytest.mark.parametrize("numbers", [(0,), (0, 3), (0, 3, 40), (0, 10, 3)])
def test_the_same_as_of_again_gives_the_same(numbers):
    table = Table()
    for number in numbers:
        table.run(number, "increasing")
    before = dict(table.rows)
    last = max(numbers)
    once = table.run(last, "increasing")
    assert table.run(last, "increasing") == once
    assert table.rows == before


def test_other_clients_and_values_have_rows_of_their_own():
    table = Table()
    table.run(0, "increasing")
    other = replace(pattern("increasing"), client_id=CLIENT_IDS[1])
    assert [
        f.period_key for f in reconcile([other, pattern("increasing", "a:b")], list(table.rows.values()), day(5))
    ] == [
        name(5),
        name(5),
    ]


@given(st.lists(st.tuples(st.integers(0, 90), st.sampled_from(["increasing", "decreasing", None])), max_size=14))
@settings(deadline=None)
def test_rows_are_never_left_newer_than_they_were(runs):
    """Whatever the order of runs: last_seen and as_of of a row only grow, and first_seen is never after last_seen."""
    table = Table()
    for number, direction in runs:
        before = {key: row["as_of"] for key, row in table.rows.items()}
        table.run(number, *([direction] if direction else []))
        for key, row in table.rows.items():
            assert row["as_of"] >= before.get(key, row["as_of"])
            assert row["period_key"] <= row["last_seen"] == local_day(row["as_of"])
