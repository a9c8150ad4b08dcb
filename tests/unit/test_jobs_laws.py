"""What every job keeps: no order, no other client, no later event and no absurd row reaches a finding."""

import json
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lead_rows import ALL_JOBS, AS_OF, analysed, days_before, fitted, generator, look_back, only_clients, world
from test_reading import ABSURD_LEADS

from worker.jobs import JOB_NAMES, load_job
from worker.leads import Clients, from_microseconds, to_microseconds
from worker.reading import ONE_CONTACT, _parse_history, arrange
from worker.simulate import PlantedChange

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
        json.dumps(asdict(finding), sort_keys=True, allow_nan=False, default=datetime.isoformat) for finding in findings
    ]


def of_client(findings, client_id):
    return plain([finding for finding in findings if finding.client_id == client_id])


def test_the_list_of_jobs_is_all_of_them():
    assert ALL_JOBS == JOB_NAMES


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
                for i, (when, value) in enumerate(_parse_history(text))
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
