"""What every job keeps: no order, no other client, no later event and no absurd row reaches a finding."""

import json
import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from functools import cache
from multiprocessing import get_context

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lead_rows import ALL_JOBS, AS_OF, analysed, days_before, fitted, generator, look_back, only_clients, run, world
from test_reading import ABSURD_LEADS

from worker.arranging import arrange
from worker.histories import ONE_CONTACT, parse_history
from worker.jobs import load_job
from worker.leads import Clients, from_microseconds, to_microseconds
from worker.simulate import PlantedChange, score_world, share_world
from worker.simulate.lead_worlds import score_leads, share_leads
from worker.timetable import JOB_NAMES

CUTS = (days_before(8), days_before(45))  # the planted changes begin 30 days before AS_OF
PLAN = {
    0: PlantedChange(high_share=(0.1, 0.8), leads_per_window=90),
    1: PlantedChange(volume=3.0, leads_per_window=60),
    2: PlantedChange(source=("referral", 0.5), leads_per_window=90),
}


@cache
def company():
    return world(7, plan=PLAN, special_clients=False)


@cache
def leads_and_models():
    about, rows, actions = company()
    leads = arrange(about, rows, actions)
    return leads, {name: fitted(name, leads) for name in ALL_JOBS}


def plain(findings):
    """Write findings to the last bit, as the snapshot does: what JSON cannot hold raises."""
    return [
        json.dumps(asdict(told_out(finding)), sort_keys=True, allow_nan=False, default=datetime.isoformat)
        for finding in findings
    ]


def told_out(finding):
    """Say what a finding's facts would only tell where values are recorded."""
    facts = dict(finding.facts)
    if "winners" in facts:
        facts["winners"] = sorted(facts["winners"].ids)
        facts["candidates"] = [[c.lead, c.at_best] for c in facts["candidates"]]
    return replace(finding, facts=facts)


def of_client(findings, client_id):
    return plain([finding for finding in findings if finding.client_id == client_id])


def test_the_list_of_jobs_is_all_of_them_that_read_leads_alone():
    assert (*ALL_JOBS, "accuracy_review") == JOB_NAMES


@pytest.mark.parametrize("name", ALL_JOBS)
def test_a_run_repeats_to_the_last_bit(name):
    leads, models = leads_and_models()
    first = plain(analysed(name, leads, models[name]))
    assert first
    assert plain(analysed(name, leads, models[name])) == first
    assert json.dumps(fitted(name, leads), sort_keys=True) == json.dumps(models[name], sort_keys=True, allow_nan=False)


@pytest.mark.parametrize("name", ALL_JOBS)
def test_a_stored_model_is_as_good_as_the_fresh_one(name):
    leads, models = leads_and_models()
    stored = json.loads(json.dumps(models[name]))
    assert plain(analysed(name, leads, stored)) == plain(analysed(name, leads, models[name]))


@pytest.mark.parametrize("name", ALL_JOBS)
def test_the_order_of_rows_changes_nothing(name):
    about, rows, actions = company()
    rng = np.random.default_rng(3)
    shuffled = arrange(
        about, [rows[i] for i in rng.permutation(len(rows))], [actions[i] for i in rng.permutation(len(actions))]
    )
    leads, models = leads_and_models()
    assert json.dumps(fitted(name, shuffled)) == json.dumps(models[name])
    assert plain(analysed(name, shuffled, models[name])) == plain(analysed(name, leads, models[name]))


@pytest.mark.parametrize("name", ALL_JOBS)
@given(keep=st.lists(st.booleans(), min_size=4, max_size=4))
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_shards_and_other_clients_change_nothing(name, keep):
    leads, models = leads_and_models()
    whole = plain(analysed(name, leads, models[name]))
    mask = np.array(keep)
    parts = [analysed(name, leads.of_clients(part), models[name]) for part in (mask, ~mask)]
    assert sorted(plain(parts[0]) + plain(parts[1])) == sorted(whole)
    about, rows, actions = company()
    alone = arrange(only_clients(about, keep), rows, actions)
    assert plain(analysed(name, alone, models[name])) == plain(parts[0])


@cache
def crowd():
    """Enough clients that a sum over a part of them rounds otherwise than over all."""
    return world(3, n_clients=60, plan=PLAN, special_clients=False)


@pytest.mark.parametrize("name", ALL_JOBS)
def test_a_part_of_the_clients_teaches_the_same_whether_cut_out_or_read_alone(name):
    about, rows, actions = crowd()
    kept = np.arange(len(about)) % 3 != 1
    ids = {i for i, keep in zip(about.ids, kept, strict=True) if keep}
    leads_of = {row[0] for row in rows if row[1] in ids}
    alone = arrange(only_clients(about, kept), rows, [action for action in actions if action[0] in leads_of])
    cut_out = arrange(about, rows, actions).of_clients(kept)
    models = [json.dumps(fitted(name, leads), sort_keys=True) for leads in (alone, cut_out)]
    assert models[0] == models[1]


@pytest.mark.parametrize("name", ALL_JOBS)
def test_the_pool_speaks_of_pooled_clients_only(name):
    about, rows, actions = company()
    special = Clients(about.ids, about.language, about.industry, np.array([True, True, True, False]))
    leads = arrange(special, rows, actions)
    alone = arrange(only_clients(special, special.pooled), rows, actions)
    model = fitted(name, alone)
    assert json.dumps(fitted(name, leads)) == json.dumps(model)
    job = load_job(name)

    def of_pool(read):
        return plain(job.analyse(look_back(job, read).pool(), model, AS_OF, generator()))

    assert of_pool(leads) == of_pool(alone)
    assert all('"client_id": null' in text for text in of_pool(leads))


SUMMING_JOBS = [name for name in ALL_JOBS if hasattr(load_job(name), "measure")]


def numbers_in(value):
    """Give every number in a finding's content, in order, and the rest as it is."""
    if isinstance(value, dict):
        return [item for key in sorted(value) for item in (key, *numbers_in(value[key]))]
    if isinstance(value, list):
        return [item for part in value for item in numbers_in(part)]
    return [value]


@pytest.mark.parametrize("name", SUMMING_JOBS)
def test_all_clients_together_are_the_sum_of_their_shares_however_these_were_cut(name):
    about, rows, actions = crowd()
    special = Clients(about.ids, about.language, about.industry, np.arange(len(about)) % 7 != 2)
    leads, job = arrange(special, rows, actions), load_job(name)
    model = fitted(name, leads)

    def of_shares(n):
        share = np.arange(len(about)) * 5 % n
        cut = [look_back(job, leads).of_clients(share == number) for number in range(n)]
        parts = []
        for part in cut:
            measured = job.measure(part, model, AS_OF, generator())
            parts.append(measured.of_pooled(job.analyse(measured, model, AS_OF, generator())))
        sums = type(parts[0]).together(pickle.loads(pickle.dumps(parts)))
        (finding,) = job.analyse(sums, model, AS_OF, generator())
        return finding

    found = [of_shares(n) for n in (1, 2, 7)]
    assert plain(found[:1]) == plain(found[1:2]) == plain(found[2:])
    (whole,) = analysed(name, leads.pool(), model)
    if (
        name == "conversion_prediction"
    ):  # whose draws of the clients' levels are others where nobody knows whose is whose
        assert found[0].content["cohort"] == whole.content["cohort"]
        expected = whole.content["expected_conversions"]
        assert found[0].content["expected_conversions"] == pytest.approx(expected, rel=0.01)
        assert found[0].claim.probability == pytest.approx(whole.claim.probability, abs=0.03)
        listed = [{lead["lead_id"] for lead in f.content["high_value_leads"]} for f in (found[0], whole)]
        assert len(listed[0] & listed[1]) >= 8
        return
    for of_sum, at_once in zip(numbers_in(asdict(found[0])), numbers_in(asdict(whole)), strict=True):
        assert of_sum == (pytest.approx(at_once, abs=1e-9) if isinstance(at_once, float) else at_once)


# --- nothing dated at or after as_of ---------------------------------------------------------------------------------


def erased(rows, actions, cut):
    """Give the rows as they stood at the cut, as far as they can tell: what was overwritten since is null."""
    end = to_microseconds(cut)
    actions = [row for row in actions if row[1] < end]
    by_lead = {}
    for row in sorted(actions, key=lambda row: row[1:3]):
        by_lead.setdefault(row[0], []).append(row)
    result = []
    for row in rows:
        own = by_lead.get(row[0], [])
        rewritten = row[2] >= end
        histories = [
            [
                (when, value)
                for i, (when, value) in enumerate(parse_history(text))
                if _was_there(when, i, end, rewritten)
            ]
            for text in row[16:19]
        ]
        stamps = [when for entries in histories for when, _ in entries if when is not None]
        stamps += [a[1] for a in own if a[3] == "insert"] + [row[2]] * (row[2] < end)
        if row[0].startswith("lead_"):
            stamps.append(int(row[0].split("_")[1]) * 1000)
        if min(stamps, default=end) >= end:
            continue
        last = max(stamp for stamp in stamps if stamp < end)
        new = list(row)
        if rewritten:
            new[2] = last
            for column, entries in zip((3, 4, 5), histories, strict=True):
                new[column] = entries[-1][1] if entries else None
            new[7] = None
        new[9] = _last(own, ("tag",), 4)
        new[10] = _last(own, ("archive", "reactivate"), 3) == "archive"
        new[11] = _last(own, ("delete", "reactivate"), 3) == "delete"
        new[13] = max([new[2], *(a[1] for a in own)])
        new[15] = _last(own, ("outcome_update",), 4)
        for column in (14, 19):
            new[column] = row[column] if row[column] is not None and row[column] < end else None
        new[16:19] = [json.dumps([_entry(*entry) for entry in entries]) for entries in histories]
        result.append(tuple(new))
    return result, actions


def _was_there(when, place, end, rewritten):
    """Tell whether a history's entry was there; of undated ones only the first is sure to have been."""
    return when < end if when is not None else place == 0 or not rewritten


def _entry(when, value):
    return value if when is None else {"value": value, "timestamp": from_microseconds(when).isoformat()}


def _last(actions, kinds, column):
    found = [row[column] for row in actions if row[3] in kinds]
    return found[-1] if found else None


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", ALL_JOBS)
def test_nothing_from_the_cut_off_on_reaches_a_finding(name, cut):
    about, rows, actions = company()
    earlier_rows, earlier_actions = erased(rows, actions, cut)
    assert len(earlier_rows) < len(rows)
    assert len(earlier_actions) < len(actions)
    assert any(row[2] >= to_microseconds(cut) + ONE_CONTACT for row in rows if row[0] in {r[0] for r in earlier_rows})
    now = arrange(about, rows, actions)
    then = arrange(about, earlier_rows, earlier_actions)
    model = fitted(name, then, cut)
    assert json.dumps(fitted(name, now, cut)) == json.dumps(model)
    findings = plain(analysed(name, then, model, cut))
    assert findings or (name, cut) == ("pattern_detection", CUTS[1])
    assert plain(analysed(name, now, model, cut)) == findings


@pytest.mark.parametrize("name", ALL_JOBS)
@given(row=ABSURD_LEADS)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_absurd_lead_raises_nothing_and_moves_no_other_client(name, row):
    about, rows, actions = company()
    leads, models = leads_and_models()
    victim, others = about.ids[1], [about.ids[0], *about.ids[2:]]
    absurd = (row[0], victim, *row[2:])
    strange = arrange(about, [*rows, absurd], [*actions, *((row[0], t, "x", "🔥", None, False, "") for t in (None, 0))])
    findings = analysed(name, strange, models[name])
    plain(findings)
    before = analysed(name, leads, models[name])
    for client_id in others:
        assert of_client(findings, client_id) == of_client(before, client_id)
    plain(load_job(name).analyse(strange.pool(), fitted(name, strange), AS_OF, generator()))


@pytest.mark.parametrize("name", ALL_JOBS)
def test_no_lead_at_all_is_an_outcome(name):
    about, _, _ = company()
    leads = arrange(about, [], [])
    model = fitted(name, leads)
    json.dumps(model, allow_nan=False)
    assert analysed(name, leads, model) == []
    assert analysed(name, leads.pool(), model) == []
    nobody = arrange(replace(about, pooled=np.zeros(4, dtype=bool)), *company()[1:])
    assert fitted(name, nobody) == model


@pytest.mark.parametrize("name", [name for name in ALL_JOBS if name not in ("pattern_detection", "conversion_events")])
def test_one_lead_is_enough_for_an_honest_word(name):
    about, rows, _ = company()
    one = max(rows, key=lambda row: row[2])
    leads = arrange(about, [(*one[:9], None, False, False, *one[12:15], None, *one[16:])], [])
    (finding,) = analysed(name, leads, fitted(name, leads))
    assert finding.n == 1
    assert 0 < finding.claim.probability <= 1  # that none or one of one lead converts is certain
    if finding.claim.kind == "change_class":
        assert finding.claim.parameters["class"] == "stable"


@pytest.mark.parametrize("name", ALL_JOBS)
def test_every_finding_is_plain_dated_and_probable(name):
    leads, models = leads_and_models()
    for finding in analysed(name, leads, models[name]):
        assert 0 <= finding.claim.probability <= 1
        assert finding.check.p is None or 0 <= finding.check.p <= 1
        assert finding.check.resolve_at.tzinfo is not None
        assert finding.created_at is None or finding.created_at < AS_OF
        assert finding.check.resolve_at <= AS_OF + timedelta(days=90)
        assert finding.claim.text.endswith(".")
    plain(analysed(name, leads, models[name]))


# --- changes learned over many clients and periods -------------------------------------------------------------------

CHANGE_JOBS = {"engagement_score": (score_world, score_leads), "urgency_trend": (share_world, share_leads)}
MANY_CLIENTS, MANY_WINDOWS = 60, 8  # all that these jobs look back on


@cache
def many(name, windows=MANY_WINDOWS, as_of=AS_OF):
    """Draw leads of so many windows, bursts among them, and learn from them what the job does."""
    draw, as_leads = CHANGE_JOBS[name]
    rng = np.random.default_rng([5, windows])
    return as_leads(draw("bursts", MANY_CLIENTS, rng, windows=windows), as_of, rng)


@cache
def learned_of_many(name):
    return json.loads(json.dumps(load_job(name).fit(many(name), AS_OF), allow_nan=False))


@cache
def said_of_many(name):
    return plain(analyse_part(name, many(name), learned_of_many(name)))


def analyse_part(name, leads, model):
    """Analyse some leads; also what another process does."""
    return load_job(name).analyse(leads, model, AS_OF, generator())


def fit_and_analyse(name, leads, shards):
    """Do it all at once, in whatever process this is."""
    model = load_job(name).fit(leads, AS_OF)
    return json.dumps(model, sort_keys=True), [
        text for part in shards for text in plain(analyse_part(name, part, model))
    ]


def cut_into(leads, n):
    """Deal the clients out to n shards."""
    return [leads.of_clients(np.arange(len(leads.clients)) % n == shard) for shard in range(n)]


@pytest.mark.parametrize("shards", [1, 2, 7, MANY_CLIENTS])
@pytest.mark.parametrize("name", CHANGE_JOBS)
def test_shards_of_many_clients_say_the_same_to_the_last_bit(name, shards):
    leads, model = many(name), learned_of_many(name)
    assert len(said_of_many(name)) == MANY_CLIENTS
    parts = [text for part in cut_into(leads, shards) for text in plain(analyse_part(name, part, model))]
    assert sorted(parts) == sorted(said_of_many(name))


@pytest.mark.parametrize("name", CHANGE_JOBS)
def test_other_processes_say_the_same_to_the_last_bit(name):
    """Two processes, started anew; one of them learns as well."""
    leads, model = many(name), learned_of_many(name)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        whole = pool.submit(fit_and_analyse, name, leads, cut_into(leads, 2))
        parts = [pool.submit(analyse_part, name, part, model) for part in cut_into(leads, 3)]
        found = [text for part in parts for text in plain(part.result())]
        learned, said = whole.result()
    assert sorted(found) == sorted(said) == sorted(said_of_many(name))
    assert learned == json.dumps(model, sort_keys=True)


@pytest.mark.parametrize("name", CHANGE_JOBS)
def test_other_clients_reach_a_finding_through_the_model_alone(name):
    """With other leads of everybody else, and the same model, a client is told the same."""
    leads, model = many(name), learned_of_many(name)
    mine = leads.client == 7
    rng = np.random.default_rng(6)

    def scrambled(observations):
        others = np.flatnonzero(~mine[observations.lead])
        value = observations.value.copy()
        value[others] = value[rng.permutation(others)]
        return replace(observations, value=value)

    kept = mine | (rng.random(len(leads)) < 0.7)
    other = replace(leads, urgency=scrambled(leads.urgency), confidence=scrambled(leads.confidence)).only(kept)
    assert plain(analyse_part(name, other, model)) != said_of_many(name)
    own = leads.clients.ids[7]
    assert of_client(analyse_part(name, other, model), own) == of_client(analyse_part(name, leads, model), own)


@pytest.mark.parametrize("name", CHANGE_JOBS)
def test_leads_older_than_the_look_back_change_nothing(name):
    leads = many(name, MANY_WINDOWS + 2)
    job = load_job(name)
    seen = leads.only(leads.arrival >= to_microseconds(AS_OF - timedelta(days=job.LOOK_BACK_DAYS)))
    assert 0 < len(seen) < len(leads)
    model = job.fit(leads, AS_OF)
    assert json.dumps(job.fit(seen, AS_OF)) == json.dumps(model)
    assert plain(analyse_part(name, seen, model)) == plain(analyse_part(name, leads, model))


@pytest.mark.parametrize("name", CHANGE_JOBS)
def test_leads_of_the_future_change_nothing(name):
    later = AS_OF + timedelta(days=45)
    leads = many(name, MANY_WINDOWS, later)
    seen = leads.only(leads.arrival < to_microseconds(AS_OF))
    assert 0 < len(seen) < len(leads)
    job = load_job(name)
    model = job.fit(leads, AS_OF)
    assert json.dumps(job.fit(seen, AS_OF)) == json.dumps(model)
    assert plain(analyse_part(name, leads, model)) == plain(analyse_part(name, seen, model))


@pytest.mark.parametrize("name", CHANGE_JOBS)
def test_the_past_is_learned_from(name):
    """Six periods before the present one, each as its windows stood at their own ends."""
    learned = learned_of_many(name)["learned_from"]
    assert len(learned) == MANY_WINDOWS - 1
    assert all(0 < clients <= MANY_CLIENTS for clients in learned)
    recent = many(name).only(many(name).arrival >= to_microseconds(AS_OF - timedelta(days=60)))
    assert load_job(name).fit(recent, AS_OF)["learned_from"] == learned[:1]


@pytest.mark.parametrize("name", CHANGE_JOBS)
def test_leads_in_one_window_alone_are_an_outcome(name):
    """Only the current window, only the previous one, only one client: nothing is NaN, nothing warns."""
    leads = many(name)
    month = to_microseconds(AS_OF - timedelta(days=30))
    for part in (leads.only(leads.arrival >= month), leads.only(leads.arrival < month), leads.only(leads.client == 3)):
        learned, said = fit_and_analyse(name, part, [part, part.pool()])
        assert "NaN" not in learned
        present = np.unique(part.client[part.arrival >= month])
        assert len(said) == len(present) + bool(len(present))


@pytest.mark.parametrize("name", ["engagement_score", "urgency_trend", "tone_distribution"])
def test_a_job_looks_at_no_detail_that_it_does_not_read(name):
    """What it says is the same where all the rest is unknown, as where only READS were read."""
    about, rows, actions = world(5)
    place = {"urgency": 3, "tone": 4, "confidence": 5, "source": 6, "intent": 7, "language": 8}
    unread = [k for detail, k in place.items() if detail not in load_job(name).READS]
    blank = [tuple(None if k in unread else value for k, value in enumerate(row)) for row in rows]
    assert run(name, arrange(about, blank, actions)) == run(name, arrange(about, rows, actions))
    assert blank != rows
